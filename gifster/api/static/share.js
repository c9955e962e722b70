// Sharing: a menu for each GIF that copies its link, its address or code with it, and the picture; downloads
// the file; and opens the system's share sheet. What is copied counts as a use of the GIF.
import { answerTo, said } from "./jobs/follow.js";
import { home, proof, root } from "./root.js";

const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** The GIF whose card or page an element is in, by its id; null if it has no picture yet. */
export function gifAt(element) {
  const around = element?.closest("[data-gif]");
  return around?.querySelector("[data-share]") ? around.dataset.gif : null;
}

/** Copy the link of a GIF's page. */
export const copyLink = (id) => copyText(id, `${home}/g/${id}`);

const image = ({ file, alt, width, height }) =>
  `<img src="${escaped(file)}" alt="${escaped(alt)}" width="${width}" height="${height}">`;
const frame = ({ embed, alt, width, height }) => `<iframe src="${escaped(embed)}" width="${width}" `
  + `height="${height}" title="${escaped(alt)}" style="border: 0" loading="lazy"></iframe>`;
const TEXTS = {
  "Copy link": ({ link }) => link,
  "Copy file address": ({ file }) => file,
  "Copy Markdown": ({ alt, file }) => `![${alt.replace(/[[\]\\]/g, "\\$&")}](${file})`,
  "Copy HTML code": image,
  "Copy BBCode": ({ file }) => `[img]${file}[/img]`,
  "Copy embed code": frame,
};

async function copyText(id, text) {
  if (await written(text)) {
    tell(`Copied: ${text}`);
    used(id);
  } else {
    tell(`This browser does not let the page copy. Copy it by hand: ${text}`);
  }
}

async function copySecret(shown) {
  const done = await written(shown.value ?? shown.innerText.trim());
  tell(done ? "Copied." : "This browser does not let the page copy. Copy it by hand.");
}

async function written(text) {
  try {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(text);
      return true;
    }
  } catch (error) {
    console.debug(error); // not allowed: perhaps the older way is
  }
  return writtenBySelection(text);
}

// Without TLS, as in many networks at home, a page has no Clipboard API.
function writtenBySelection(text) {
  const field = Object.assign(document.createElement("textarea"), { value: text, readOnly: true, className: "hidden" });
  const focused = document.activeElement;
  (menu.open ? menu : document.body).append(field); // all else is inert while the menu is open
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus({ preventScroll: true });
  return done;
}

// Browsers take only PNG pictures. What moves is copied as HTML, which mails and documents show as a picture.
async function copyPicture(gif) {
  if (!navigator.clipboard?.write) return copyText(gif.id, gif.file);
  const blob = (text, type) => new Blob([text], { type });
  try {
    // Safari wants the promise itself: after an `await` it forgets that somebody has clicked.
    const item = gif.moves
      ? { "text/html": blob(image(gif), "text/html"), "text/plain": blob(gif.file, "text/plain") }
      : { "image/png": asPng(gif) };
    await navigator.clipboard.write([new ClipboardItem(item)]);
    tell(gif.moves
      ? "Copied as HTML, with the address as text: browsers cannot copy a picture that moves."
      : "Copied the picture as PNG.");
    used(gif.id);
  } catch (error) {
    console.debug(error);
    await copyText(gif.id, gif.file);
  }
}

async function asPng(gif) {
  const blob = await content(gif);
  if (blob.type === "image/png") return blob;
  const picture = await createImageBitmap(blob);
  const canvas = Object.assign(document.createElement("canvas"), { width: picture.width, height: picture.height });
  canvas.getContext("2d").drawImage(picture, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// A script may not read the files of a bucket, so it asks for a download, which comes from here.
const download = ({ file }) => `${new URL(file).pathname}?download=1`;
const content = async (gif) => (await answerTo(download(gif))).blob();

async function shareSheet(gif) {
  try {
    const blob = await content(gif);
    const files = [new File([blob], gif.name, { type: blob.type })];
    const asFile = navigator.canShare?.({ files });
    await navigator.share(asFile ? { files, title: gif.title } : { url: gif.link, title: gif.title });
    used(gif.id);
  } catch (error) {
    if (error.name !== "AbortError") tell(`The system’s share sheet did not open: ${error.message}`);
  }
}

// Popular GIFs come first in searches, and the words with which somebody found this one count for it.
function used(id) {
  const q = new URLSearchParams(location.search).get("q") ?? "";
  const body = new URLSearchParams({ q });
  fetch(`${root}/gifs/${id}/share`, { method: "POST", keepalive: true, headers: proof, body }).catch(console.debug);
}

// The menu, one for the page.
const menu = document.createElement("dialog");
let shared = null;

function build() {
  const part = (name, fields, ...children) => {
    const made = Object.assign(document.createElement(name), fields);
    made.append(...children);
    return made;
  };
  const action = (label, act) => part("button", { type: "button", textContent: label, onclick: () => act(shared) });
  const texts = Object.entries(TEXTS).map(([label, text]) => action(label, (gif) => copyText(gif.id, text(gif))));
  const load = part("a", { className: "download", textContent: "Download", onclick: () => used(shared.id) });
  load.setAttribute("download", "");
  const picture = action("", copyPicture);
  picture.className = "of-picture";
  const items = [texts[0], texts[1], picture, ...texts.slice(2), load];
  if (navigator.share) items.push(action("Share…", shareSheet));
  const close = part("button", { type: "button", className: "plain", textContent: "Close", onclick: () => menu.close() });
  const heading = part("h2", { id: "share-title", dir: "auto" });
  menu.append(heading, part("ul", {}, ...items.map((item) => part("li", {}, item))),
    part("output", { id: "copied" }), close);
  menu.className = "share-menu";
  menu.setAttribute("aria-labelledby", "share-title");
  menu.addEventListener("click", (event) => { if (event.target === menu) menu.close(); }); // beside it
  document.body.append(menu);
}

/** Open the menu for a GIF. */
export async function openMenu(id) {
  if (!menu.isConnected) build();
  try {
    shared = { id, ...await (await answerTo(`${root}/gifs/${id}/share`)).json() };
  } catch (error) {
    console.debug(error);
    tell("The server does not answer. Try again.");
    return;
  }
  menu.querySelector("h2").textContent = `Share “${shared.title}”`;
  menu.querySelector(".of-picture").textContent = shared.moves ? "Copy for mails and documents" : "Copy picture";
  menu.querySelector(".download").href = download(shared);
  menu.querySelector("output").textContent = shared.by_anybody ? "" : "Only you and admins can see this GIF.";
  menu.showModal();
}

const toast = Object.assign(document.createElement("p"), { className: "toast", hidden: true });
let timer = null;

/** Show a sentence to all: in the menu if it is open, else at the edge of the page for some seconds. */
export function tell(sentence) {
  if (menu.open) {
    menu.querySelector("output").textContent = sentence;
    return;
  }
  said("told", sentence); // a screen reader finds it there
  if (!toast.isConnected) {
    toast.setAttribute("aria-hidden", "true");
    document.body.append(toast);
  }
  toast.textContent = sentence;
  toast.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => { toast.hidden = true; }, 4000);
}

document.addEventListener("click", (event) => {
  const id = event.target.closest("[data-share]") && gifAt(event.target);
  if (id) openMenu(id);
  // A secret, which the page shows once.
  const copied = event.target.closest("[data-copy]")?.dataset.copy;
  if (copied) copySecret(document.getElementById(copied));
});
