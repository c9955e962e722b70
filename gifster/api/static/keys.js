// Keys: "/" goes to the search, the arrows from one result to the next, "c" copies the link of the GIF that has
// the focus, "s" opens its menu, "?" tells all this. No key is taken from a field, a dialog or a screen reader,
// and whoever types by voice can switch them off (WCAG 2.1, 2.1.4).
import { copyLink, gifAt, openMenu } from "./share.js";

const OFF = "gifster-keys-off";
const KEYS = [
  ["/", "go to the search"],
  ["Enter", "in the search: go to the first result"],
  ["← ↑ ↓ →", "go from one GIF to the next"],
  ["c", "copy the link of the GIF that has the focus"],
  ["s", "open its share menu"],
  ["Enter", "on a GIF: open its page"],
  ["?", "show these keys"],
];

const cards = () => [...document.querySelectorAll("article.card")].filter((card) => card.querySelector("h3 a"));
const focus = (card) => card?.querySelector("h3 a").focus();
const searchField = () => document.querySelector("form[role=search] input[type=search]");

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = fromSearch(event) ?? fromPage(event);
  if (act) {
    event.preventDefault();
    act();
  }
});

function fromSearch({ key, target }) {
  const first = cards()[0];
  // A list of suggestions that is open has the arrows.
  const free = target === searchField() && target.getAttribute("aria-expanded") !== "true";
  if (!free || key !== "ArrowDown") return null;
  // The results of what has been typed are still to come.
  if ("waiting" in target.form.dataset) return () => target.form.requestSubmit();
  return first ? () => focus(first) : null;
}

function fromPage({ key, target, shiftKey }) {
  if (target.closest?.("input, textarea, select, [contenteditable], dialog, video, audio")) return null;
  const card = target.closest?.("article.card");
  if (card && key.startsWith("Arrow") && !shiftKey) {
    const next = neighbour(card, key);
    return next ? () => focus(next) : null;
  }
  if (localStorage.getItem(OFF)) return null;
  const id = gifAt(card ?? document.querySelector("article[data-page]"));
  if (id && key === "c") return () => copyLink(id);
  if (id && key === "s") return () => openMenu(id);
  if (key === "/" && searchField()) return () => { searchField().focus(); searchField().select(); };
  return key === "?" ? help : null;
}

/** The nearest card in that direction, as the eye sees it: cards have heights of their own. */
function neighbour(card, key) {
  const from = card.getBoundingClientRect();
  const down = { ArrowDown: 1, ArrowUp: -1 }[key] ?? 0, right = { ArrowRight: 1, ArrowLeft: -1 }[key] ?? 0;
  const middle = ({ left, right: end, top, bottom }) => [(left + end) / 2, (top + bottom) / 2];
  const [x, y] = middle(from);
  let best = null, least = Infinity;
  for (const other of cards()) {
    const [otherX, otherY] = middle(other.getBoundingClientRect());
    const along = (otherX - x) * right + (otherY - y) * down;
    const aside = Math.abs((otherX - x) * down) + Math.abs((otherY - y) * right);
    const distance = along + 3 * aside;
    if (other !== card && along > 8 && distance < least) [best, least] = [other, distance];
  }
  const all = cards();
  return best ?? (right && all[all.indexOf(card) + right]); // at the end of a row: the next row
}

let dialog = null;

function help() {
  dialog ??= built();
  dialog.showModal();
}

function built() {
  const made = document.createElement("dialog");
  made.className = "share-menu";
  made.setAttribute("aria-labelledby", "keys-title");
  made.innerHTML = `<h2 id="keys-title">Keys</h2><dl>${KEYS.map(([key, does]) =>
    `<dt><kbd>${key}</kbd></dt><dd>${does}</dd>`).join("")}</dl>
    <p><label class="check"><input type="checkbox"> Use the keys with one letter or sign</label></p>
    <button type="button" class="plain">Close</button>`;
  const box = made.querySelector("input");
  box.checked = !localStorage.getItem(OFF);
  box.onchange = () => (box.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1"));
  made.querySelector("button").onclick = () => made.close();
  document.body.append(made);
  return made;
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-keys]")) help();
});
