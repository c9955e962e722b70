// What has been chosen and not sent yet: a list in the upload form, of files and of web addresses, each with a
// title and tags of its own if there are several. A file that is in the library already says so.
import { tooLarge } from "./queue.js";
import { jsonHeaders as headers, root } from "./root.js";

const SEVERAL = 2;
const list = document.getElementById("chosen");
const sample = document.getElementById("chosen-one").content.firstElementChild;
let items = [], onChange = () => {};

/** What is called whenever something has been chosen or removed. */
export function whenChosen(call) { onChange = call; }

export const chosenItems = () => items;
export const areSeveral = () => items.length >= SEVERAL;

/** Add files to the list, each perhaps with a title and tags that somebody has typed. */
export function choose(files, typed = {}) {
  for (const file of files) {
    const row = sample.cloneNode(true);
    const [title, tags] = row.querySelectorAll("input");
    const item = { file, name: file.name, row, title, tags };
    const name = row.querySelector("b");
    name.textContent = name.title = file.name;
    row.querySelector("small").textContent = sizeOf(file.size);
    title.placeholder = file.name.replace(/\.[^.]*$/, "");
    title.value = typed.title ?? "";
    tags.value = typed.tags ?? "";
    title.setAttribute("aria-label", `Title of ${file.name}`);
    tags.setAttribute("aria-label", `Tags of ${file.name}`);
    const remove = row.querySelector("button");
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => dropOut(item));
    items.push(item);
    list.append(row);
    say(item, tooLarge(file) && `${tooLarge(file)} Remove it.`, "failed");
    preview(item);
  }
  changed();
  compare(items.filter(({ sha256, file }) => sha256 === undefined && !tooLarge(file)));
}

/** Empty the list. Returns what was in it. */
export function takeAll() {
  const taken = items;
  items = [];
  list.replaceChildren();
  changed();
  return taken;
}

function dropOut(item) {
  const next = item.row.nextElementSibling ?? item.row.previousElementSibling;
  items = items.filter((other) => other !== item);
  item.row.remove();
  changed();
  (next?.querySelector("button") ?? document.getElementById("image")).focus();
}

function changed() {
  list.classList.toggle("several", areSeveral());
  onChange();
}

const sizeOf = (bytes) =>
  bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

function say({ row }, text, kind, link) {
  const place = row.querySelector(".state");
  place.textContent = text;
  place.className = `state ${kind}`;
  place.hidden = !text;
  if (link) place.append(" ", link);
}

// A still of the picture, as the policy lets a page show no file by its address. Films have none.
async function preview({ file, row }) {
  const canvas = row.querySelector("canvas");
  try {
    const picture = await createImageBitmap(file, { resizeWidth: 128, resizeQuality: "medium" });
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
    canvas.classList.add("drawn");
  } catch { /* a film, or nothing that this browser can show */ }
}

// Browsers have hashes only where the page came by HTTPS, or from this machine. Without them, the card of an
// upload says that the file is in the library already.
async function compare(fresh) {
  if (!crypto.subtle || !fresh.length) return;
  try {
    for (const item of fresh) item.sha256 = await hashOf(item.file);
    const asked = { sha256: [...new Set(fresh.map((item) => item.sha256))].slice(0, 100) };
    const answer = await fetch(`${root}/duplicates`, { method: "POST", body: JSON.stringify(asked), headers });
    if (!answer.ok) return;
    const { found } = await answer.json();
    for (const item of fresh) {
      const same = found[item.sha256];
      const twice = items.find((other) => other !== item && other.sha256 === item.sha256);
      if (same) say(item, "This file is in the library already:", "same", linkTo(same));
      else if (twice && items.indexOf(twice) < items.indexOf(item)) say(item, "You have chosen this file twice.", "same");
    }
  } catch { /* nobody answers now: the upload itself will tell */ }
}

async function hashOf(file) {
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function linkTo({ id, title }) {
  const link = document.createElement("a");
  link.href = `${root}/gifs/${id}`;
  link.target = "_blank";
  link.dir = "auto";
  link.textContent = title;
  return link;
}
