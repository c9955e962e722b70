// The search box: results while one types, and a list of suggestions (the combobox of the ARIA Authoring
// Practices). Without this script the box is a plain form. What is found comes as the page that the form would
// lead to, so both show the same.
import { prepare } from "./films.js";
import { said } from "./jobs/follow.js";
import { root } from "./root.js";

const PAUSE_MS = 180; // after the last key
const SUGGESTED = 8;

const form = document.querySelector("form[role=search]");
const field = form?.querySelector("input[type=search]"), list = form?.querySelector("[role=listbox]");
const main = document.getElementById("main");
let pause = 0, asked = new AbortController(), typing = false, shown = current();

function current() {
  return location.pathname + location.search;
}

if (list) {
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-controls", list.id);
  close();
  field.addEventListener("input", (event) => { if (!event.isComposing) soon(); });
  field.addEventListener("compositionend", soon);
  field.addEventListener("keydown", onKey);
  field.addEventListener("blur", () => { typing = false; close(); });
  // Before the field loses the focus.
  list.addEventListener("pointerdown", (event) => event.preventDefault());
  list.addEventListener("click", ({ target }) => choose(target.closest("[role=option]")));
  form.addEventListener("submit", onSubmit);
  addEventListener("popstate", back);
}

function soon() {
  clearTimeout(pause);
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  form.dataset.waiting = ""; // the results on the page are not those of what has been typed
  pause = setTimeout(() => {
    // Other requests will come, and the page is still right.
    suggest(signal).catch((error) => console.debug(error));
    if (location.pathname === `${root}/`) show(address(), signal, true).catch((error) => console.debug(error));
  }, PAUSE_MS);
}

const address = () => {
  const q = field.value.trim();
  return `${root}/${q && `?${new URLSearchParams({ q })}`}`;
};

/** Show the results of an address in place of the present ones; the back button leads to what was there before. */
async function show(url, signal, whileTyping) {
  if (url !== shown) await load(url, signal, whileTyping);
  if (!signal.aborted) delete form.dataset.waiting;
}

async function load(url, signal, whileTyping) {
  await replaceMain(url, signal, whileTyping);
  history[typing && whileTyping ? "replaceState" : "pushState"]({}, "", url);
  typing = whileTyping;
  scrollTo(0, 0); // to the best results
}

async function replaceMain(url, signal, whileTyping) {
  main.setAttribute("aria-busy", "true");
  try {
    const headers = { Accept: "text/html", ...(whileTyping && { "Gifster-Typing": "1" }) };
    const answer = await fetch(url, { signal, headers, redirect: "manual" }); // to the log-in
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("main");
    if (!fresh || signal.aborted) throw new Error(`no results: ${answer.status}`);
    main.replaceChildren(...fresh.childNodes);
    document.title = page.title;
    shown = url;
    prepare(main);
    tell(answer.ok);
  } finally {
    main.removeAttribute("aria-busy");
  }
}

function tell(ok) {
  const count = main.querySelectorAll("article.card").length;
  const more = main.querySelector("#older") ? " or more" : "";
  const found = count ? `${count}${more} ${count === 1 ? "GIF" : "GIFs"}` : "No GIFs found";
  const corrected = [...main.querySelectorAll(".corrected")].map((place) => place.textContent);
  said("found", ok ? [found, ...corrected].join(". ") : main.textContent.trim());
}

function back() {
  field.value = new URLSearchParams(location.search).get("q") ?? "";
  close();
  typing = false;
  asked.abort();
  asked = new AbortController();
  if (current() !== shown) replaceMain(current(), asked.signal, false).catch(() => location.reload());
}

function onSubmit(event) {
  clearTimeout(pause);
  close();
  if (location.pathname !== `${root}/`) return;
  event.preventDefault();
  typing = false;
  asked.abort();
  asked = new AbortController();
  // From here an arrow leads on, and one letter copies the link (keys.js).
  const goOn = () => main.querySelector("article.card h3 a")?.focus();
  show(address(), asked.signal, false).then(goOn, () => location.assign(address()));
}

async function suggest(signal) {
  const q = field.value.trim();
  const query = new URLSearchParams({ q, limit: String(SUGGESTED) });
  const terms = q ? (await (await fetch(`${root}/api/search/complete?${query}`, { signal })).json()).items : [];
  const others = terms.filter((term) => term !== q);
  if (signal.aborted || document.activeElement !== field) return;
  list.replaceChildren(...others.map((term, number) => {
    const option = document.createElement("li");
    option.id = `completion-${number}`;
    option.role = "option";
    option.dir = "auto";
    option.textContent = term;
    return option;
  }));
  if (others.length) open();
  else close();
}

function open() {
  list.hidden = false;
  field.setAttribute("aria-expanded", "true");
  mark(null);
}

function close() {
  list.hidden = true;
  field.setAttribute("aria-expanded", "false");
  mark(null);
}

const marked = () => list.querySelector("[aria-selected=true]");

function mark(option) {
  for (const each of list.children) each.setAttribute("aria-selected", String(each === option));
  if (option) field.setAttribute("aria-activedescendant", option.id);
  else field.removeAttribute("aria-activedescendant");
  option?.scrollIntoView({ block: "nearest" });
}

function onKey(event) {
  const options = [...list.children], at = options.indexOf(marked());
  if (event.isComposing || list.hidden) return;
  if (event.key === "Escape") {
    event.preventDefault(); // it would empty the field
    close();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    const to = at + (event.key === "ArrowDown" ? 1 : -1);
    mark(to === options.length ? null : options.at(to === -2 ? -1 : to === -1 ? options.length : to) ?? null);
  } else if (event.key === "Enter" && marked()) {
    event.preventDefault();
    choose(marked());
  }
}

function choose(option) {
  if (!option) return;
  field.value = option.textContent;
  form.requestSubmit();
}
