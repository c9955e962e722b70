// The upload form: files come in by its field, by a drop anywhere on the page, or from the clipboard; pictures of
// other sites by their addresses. They wait in a list (chosen.js) until somebody sends them (queue.js). Nothing
// that was typed is lost without a question.
import { areSeveral, choose, chosenItems, takeAll, whenChosen } from "./chosen.js";
import { add, isBusy, prepareQueue, tooLarge } from "./queue.js";

const form = document.getElementById("upload");
const behind = document.getElementById("add");
const { image, title, tags, remote_image_url: addresses } = form.elements;
const commonTags = tags.closest("label").firstChild, tagsAlone = commonTags.textContent;
// The server keeps the file of a form that it refuses.
const kept = Boolean(form.elements.image_cache);
// What an extension of the browser adds later is not ours, and the server refuses names that it does not know.
const ours = new Set([...form.elements].map((field) => field.name));
let leaving = false;

const namesIn = (text) => text.split(",").map((tag) => tag.trim().toLowerCase()).filter(Boolean);
// One a line; several in a line if each has its scheme. An address may have spaces in it.
const addressesIn = (text) => text.split(/\s*[\r\n]\s*|\s+(?=https?:\/\/)/i).map((url) => url.trim()).filter(Boolean);
const urls = () => addressesIn(addresses.value);
const areMany = () => chosenItems().length + urls().length > 1;

function show() {
  image.required = !kept && !chosenItems().length && !urls().length;
  // One title does not suit several files.
  title.closest("label").hidden = areMany();
  commonTags.textContent = areMany() ? "Tags of all " : tagsAlone;
}

function take(files, typed) {
  if (!files.length) return;
  behind.open = true;
  choose(files, typed);
}

function takeText(text) {
  const found = text.split(/\s+/).filter((word) => /^https?:\/\//.test(word));
  if (!found.length) return false;
  behind.open = true;
  addresses.value = [...urls(), ...found].join("\n");
  show();
  return true;
}

function tagsAreFine() {
  const { maxTags, maxTag } = tags.dataset;
  const fields = areSeveral() ? chosenItems().map((item) => item.tags) : [tags];
  for (const field of areMany() ? [tags, ...fields] : fields) {
    const names = new Set([...namesIn(tags.value), ...namesIn(field.value)]);
    const long = [...names].some((name) => name.length > Number(maxTag));
    field.setCustomValidity(
      names.size > Number(maxTags) ? `Give at most ${maxTags} tags.` : long ? `A tag has at most ${maxTag} characters.` : "");
    if (!field.reportValidity()) return false;
  }
  return true;
}

function send() {
  const many = areMany(), several = areSeveral();
  // The token goes in a header: it is no part of what is uploaded, and no page after a log-in has the same.
  const own = ["image", "image_cache", "remote_image_url", "title", "tags", "form_token"];
  // A text about one picture does not suit several.
  const alone = many ? ["alt_text"] : [];
  const others = [...new FormData(form)].filter(([name]) => ours.has(name) && ![...own, ...alone].includes(name));
  const fieldsOf = (ownTitle, ownTags) => [
    ...others,
    ["title", many ? ownTitle : title.value],
    ["tags", [tags.value, ownTags].filter((text) => text.trim()).join(", ")],
  ].filter(([name, value]) => value || !own.includes(name));
  const fetched = urls().map((url) => ({ name: url, url, fields: fieldsOf("", "") }));
  const files = chosenItems().map((item) => ({
    name: item.name, file: item.file,
    fields: several ? fieldsOf(item.title.value, item.tags.value) : fieldsOf("", ""),
  }));
  takeAll();
  form.reset();
  show();
  behind.open = false;
  behind.firstElementChild.focus({ preventScroll: true }); // not on the button that is gone
  add([...files, ...fetched]);
}

// What an upload was refused for can be corrected in the form.
prepareQueue(({ file, url, fields }) => {
  const { title: oldTitle = "", tags: oldTags = "", ...others } = Object.fromEntries(fields);
  for (const [name, value] of Object.entries(others)) form.elements[name].value ||= value;
  const alone = !chosenItems().length && !urls().length;
  if (alone && !title.value && !tags.value) {
    title.value = oldTitle;
    tags.value = oldTags;
    if (file) take([file]);
  } else if (file) {
    take([file], { title: oldTitle, tags: oldTags });
  }
  if (url) takeText(url);
  if (!file && !url) {
    // Its file is refused: only what was typed comes back.
    title.value ||= oldTitle;
    tags.value ||= oldTags;
    behind.open = true;
    image.focus();
  }
  (file || url) && (areSeveral() ? chosenItems().at(-1).tags : tags).focus();
});

whenChosen(show);
image.multiple = true;
image.addEventListener("change", () => {
  const files = [...image.files];
  image.value = "";
  take(files);
});
form.addEventListener("input", (event) => {
  event.target.setCustomValidity("");
  show();
});
form.addEventListener("submit", (event) => {
  // The server has kept the file of a refused form, so the form is sent as it is.
  if (!chosenItems().length && !urls().length) {
    leaving = true;
    return;
  }
  event.preventDefault();
  const large = chosenItems().find((item) => tooLarge(item.file));
  if (large) large.row.querySelector("button").focus(); // its row says why
  else if (tagsAreFine()) send();
});
// A link or picture of this page: a click with a slip, or on its way to another window. While something is dragged, no
// pointer moves; so this also ends a drag whose element has gone meanwhile, and which nobody tells the end of.
let fromHere = false;
addEventListener("dragstart", () => { fromHere = true; });
["dragend", "pointermove"].forEach((kind) => addEventListener(kind, () => { fromHere = false; }));
["dragover", "dragleave", "drop"].forEach((kind) => addEventListener(kind, (event) => {
  const { types, files } = event.dataTransfer;
  const ours = types.includes("Files") || (types.includes("text/uri-list") && !event.target.closest?.("input, textarea"));
  if (!ours || fromHere) return;
  event.preventDefault();
  document.documentElement.classList.toggle("dropping", kind === "dragover");
  if (kind !== "drop") return;
  if (files.length) take([...files]);
  else takeText(event.dataTransfer.getData("text/uri-list"));
}));
addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files], text = event.clipboardData.getData("text/plain");
  const typing = event.target.closest?.("input, textarea, [contenteditable]");
  if (typing && text) return; // an office program copies a picture of its text, too
  if (files.length) take(files);
  else if (!takeText(text)) return;
  event.preventDefault();
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !behind.open || event.defaultPrevented) return;
  behind.open = false;
  behind.firstElementChild.focus();
});
addEventListener("beforeunload", (event) => {
  const typed = [...form.elements].some((field) => "defaultValue" in field && field.value !== field.defaultValue);
  const refused = document.getElementById("refusal");
  if (isBusy() || (!leaving && (typed || refused || chosenItems().length))) event.preventDefault();
});
// A link to the form from another page, in a browser that opens no <details> for it.
if (location.hash === "#upload") behind.open = true;
document.querySelectorAll("a[href='#upload']").forEach((link) => link.addEventListener("click", () => {
  behind.open = true;
}));
show();
