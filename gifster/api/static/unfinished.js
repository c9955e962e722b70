// The large uploads that stopped before their end, since their page was closed or the browser crashed. A page
// cannot read a file again by itself: somebody chooses it once more, and the upload goes on where it was.
import { said } from "./jobs/follow.js";
import { add } from "./queue.js";
import { endUpload, unfinishedUploads } from "./resume.js";

const list = document.getElementById("unfinished");
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

unfinishedUploads().then((found) => {
  list.append(...found.map(rowOf));
});

function rowOf(upload) {
  const row = document.createElement("li"), name = document.createElement("span"), state = document.createElement("p");
  name.textContent = name.title = upload.name;
  name.dir = "auto";
  state.className = "state";
  state.textContent = `${megabytes(upload.received)} of ${megabytes(upload.size)} are uploaded. Choose the file again to go on.`;
  const field = document.createElement("input");
  field.type = "file";
  field.setAttribute("aria-label", `Choose ${upload.name} again`);
  field.addEventListener("change", () => goOn(upload, field, row, state));
  const end = document.createElement("button");
  end.type = "button";
  end.className = "plain";
  end.textContent = "End it";
  end.setAttribute("aria-label", `End it: the upload of ${upload.name}`);
  end.addEventListener("click", async () => {
    const wrong = await endUpload(upload);
    if (wrong) refuse(state, wrong);
    else leave(row, `The upload of ${upload.name} has ended.`);
  });
  row.append(name, state, field, end);
  return row;
}

function goOn({ name, size, lastModified, fields }, field, row, state) {
  const [file] = field.files;
  if (!file) return;
  field.value = "";
  if (file.name === name && file.size === size && file.lastModified === lastModified) {
    leave(row);
    add([{ name, file, fields }]);
  } else if (file.name === name) {
    refuse(state, `This ${name} is another file, or was changed since. Choose the former one, or end the upload.`);
  } else {
    refuse(state, `That is ${file.name}. Choose ${name}.`);
  }
}

function refuse(state, text) {
  state.textContent = text;
  state.classList.add("failed");
  state.setAttribute("role", "alert");
}

function leave(row, text = "") {
  const next = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  (next?.querySelector("input") ?? document.querySelector("#add summary")).focus();
  if (text) said("told", text);
}
