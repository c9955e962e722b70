// Uploads: files wait in a queue, and a few go to the server at a time. Each file on its way has a row with a
// progress bar. A refused file keeps its row, with the reason, until somebody dismisses it. While the server
// is out of reach or asks for a pause, the queue waits; then it goes on by itself.
import { appear } from "./cards.js";
import { said } from "./jobs/follow.js";

const AT_ONCE = 3;
// A connection without progress for so long is dead, as after a laptop's sleep. The server answers sooner.
const STALL_MS = 120_000;
// With these statuses nothing was stored, and a later attempt may succeed.
const LATER = [429, 502, 503];
// With these, the same file gets the same answer again.
const FOR_GOOD = [413, 415, 422];
const GONE = "The file cannot be read any more. Choose it again.";
const CUT = "The connection was lost. Nothing was stored.";
const UNSURE = "The connection was lost before the answer came. Check whether the GIF is there before you try again.";

const form = document.getElementById("upload");
const byId = (id) => document.getElementById(id);
const behind = byId("add");
const queue = [];
let running = 0, chosen = 0, accepted = 0, failures = 0, heldUntil = 0, timer = null;

function add(files, fields) {
  if (!running && !queue.length) chosen = accepted = 0;
  chosen += files.length;
  queue.push(...files.map((file) => ({ file, fields })));
  goOn();
}

function goOn() {
  clearTimeout(timer);
  const wait = heldUntil - Date.now();
  if (wait > 0) timer = setTimeout(goOn, wait);
  else while (running < AT_ONCE && queue.length) begin(queue.shift());
  showSum();
}

async function begin(upload) {
  running += 1;
  upload.row ??= newRow(upload.file);
  upload.row.querySelector("p")?.remove();
  const answer = await sent(upload);
  running -= 1;
  const wait = waitAfter(answer);
  if (answer.status === 202) {
    failures = 0;
    accepted += 1;
    upload.row.remove();
    if (byId("new-card")) appear(answer);
    else said("told", `“${answer.title}” is uploaded.`);
  } else if (wait && !answer.unsure) {
    queue.unshift(upload);
    note(upload.row, `${answer.detail} Trying again automatically.`);
  } else {
    refuse(upload, answer);
  }
  if (wait) heldUntil = Math.max(heldUntil, Date.now() + 1000 * wait);
  goOn();
}

// How long the whole queue waits (seconds), 0 if the next file may go.
function waitAfter({ status, local, retryAfter }) {
  if (local || (status && !LATER.includes(status))) return 0;
  failures += 1;
  return retryAfter || Math.min(2 ** Math.ceil(failures / AT_ONCE), 30);
}

async function sent({ file, fields, row }) {
  const limit = Number(form.image.dataset.maxBytes);
  if (file.size > limit) return { status: 413, local: true, detail: `The file is larger than ${limit / 1048576} MiB.` };
  try {
    const reader = file.stream().getReader();
    await reader.read();
    reader.cancel();
  } catch {
    return { status: 0, local: true, detail: GONE };
  }
  const body = new FormData();
  fields.forEach(([name, value]) => body.append(name, value));
  body.append("image", file);
  const bar = row.querySelector("progress");
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    let whole = false, stall;
    const moves = () => {
      clearTimeout(stall);
      stall = setTimeout(() => request.abort(), STALL_MS);
    };
    request.upload.addEventListener("progress", (event) => {
      bar.value = event.loaded / event.total;
      moves();
    });
    request.upload.addEventListener("load", () => { whole = true; });
    request.addEventListener("loadend", () => {
      clearTimeout(stall);
      const { status } = request, unsure = whole && !status;
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { /* a proxy's page, or nothing */ }
      const reason = status ? `The server answered with ${status}.` : unsure ? UNSURE : CUT;
      const retryAfter = Number(status && request.getResponseHeader("Retry-After"));
      resolve({ detail: reason, ...told, status, unsure, retryAfter });
    });
    request.open("POST", "/api/gifs");
    request.send(body);
    moves();
  });
}

function newRow(file) {
  const row = document.createElement("li");
  const name = document.createElement("span");
  name.textContent = name.title = file.name;
  const bar = document.createElement("progress");
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", `Uploading ${file.name}`);
  row.append(name, bar);
  byId("progress").append(row);
  return row;
}

function note(row, text) {
  row.querySelector("p")?.remove();
  const place = document.createElement("p");
  place.className = "state";
  place.textContent = text;
  row.append(place);
  return place;
}

function refuse(upload, { status, local, detail }) {
  const reason = note(upload.row, detail);
  reason.classList.add("failed");
  reason.setAttribute("role", "alert");
  upload.row.querySelector("progress").hidden = true;
  upload.row.classList.add("refused");
  if (!local && !FOR_GOOD.includes(status)) {
    upload.row.append(button("Try again", upload.file.name, () => {
      leave(upload.row);
      queue.push({ file: upload.file, fields: upload.fields });
      heldUntil = 0;
      goOn();
    }));
  }
  upload.row.append(button("Dismiss", upload.file.name, () => leave(upload.row)));
}

function button(label, name, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "plain";
  made.textContent = label;
  made.setAttribute("aria-label", `${label}: ${name}`);
  made.addEventListener("click", act);
  return made;
}

// Remove the row of a refused file; the focus moves to the next one.
function leave(row) {
  const next = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  (next?.querySelector("button") ?? behind.firstElementChild).focus();
  showSum();
}

const stay = (event) => event.preventDefault();

function showSum() {
  const busy = running + queue.length > 0;
  const text = `${accepted} of ${chosen} files uploaded`;
  byId("uploads").setAttribute("aria-busy", String(busy));
  byId("sum").hidden = !busy || chosen < 2;
  byId("sum").querySelector("span").textContent = text;
  byId("sum").querySelector("progress").max = chosen || 1;
  byId("sum").querySelector("progress").value = accepted;
  byId("dismiss").hidden = document.querySelectorAll("#progress .refused").length < 2;
  if (busy) addEventListener("beforeunload", stay);
  else removeEventListener("beforeunload", stay);
  if (!busy && chosen > 1) said("told", `${text}.`);
}

function tagsAreFine() {
  const { tags } = form.elements;
  const names = new Set(tags.value.split(",").map((tag) => tag.trim().toLowerCase()).filter(Boolean));
  const { maxTags, maxTag } = tags.dataset;
  const long = [...names].some((name) => name.length > Number(maxTag));
  tags.setCustomValidity(
    names.size > Number(maxTags) ? `Give at most ${maxTags} tags.` : long ? `A tag has at most ${maxTag} characters.` : "");
  return tags.reportValidity();
}

function upload(files) {
  if (!tagsAreFine()) return;
  // All fields of the form but its file, which may be another one; one title does not suit several files.
  const without = ["image", "image_cache", ...(files.length === 1 ? [] : ["title"])];
  add(files, [...new FormData(form)].filter(([name]) => !without.includes(name)));
  form.reset();
  behind.open = false;
}

form.image.multiple = true;
form.image.addEventListener("change", () => { behind.open = true; });
form.elements.tags.addEventListener("input", (event) => event.target.setCustomValidity(""));
form.addEventListener("submit", (event) => {
  // The server has kept the file of a refused form, so the form is sent as it is.
  if (!form.image.files.length) return;
  event.preventDefault();
  upload([...form.image.files]);
});
["dragover", "dragleave", "drop"].forEach((kind) => addEventListener(kind, (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  document.documentElement.classList.toggle("dropping", kind === "dragover");
  if (kind === "drop") upload([...event.dataTransfer.files]);
}));
byId("dismiss").addEventListener("click", () => {
  document.querySelectorAll("#progress .refused").forEach((row) => row.remove());
  behind.firstElementChild.focus();
  showSum();
});
addEventListener("online", () => { heldUntil = 0; goOn(); });
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !behind.open || event.defaultPrevented) return;
  behind.open = false;
  behind.firstElementChild.focus();
});
