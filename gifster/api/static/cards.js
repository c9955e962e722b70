// Live states: while a GIF on the page is unfinished, the page sends the server the states that it shows, and
// gets the cards of the GIFs whose state has changed. Each answer is complete, so a lost answer does no harm:
// the next one makes up for it.
import { prepare } from "./films.js";
import { answerTo, follow, HELD_MS, isHeld, said } from "./jobs/follow.js";
import { jsonHeaders as headers, root } from "./root.js";
import { keepUnsaved, losesUnsaved } from "./unsaved.js";

const AT_ONCE = 100; // the server's limit
const HOLD_S = 5; // the server answers then if nothing changes
const PAUSE_MS = 250, UNHELD_PAUSE_MS = 1000; // after an answer that the server held, or did not
const SUM_UP_MS = 2000;
const KEPT = "You are not logged in any more, or this GIF is gone. What you have typed is still here.";

const uploading = () => document.querySelector("#uploads[aria-busy=true]") !== null;
const waits = (element) => ["", "queued", "processing"].includes(element.dataset.state);

async function look(signal, afresh) {
  const all = [...document.querySelectorAll("[data-gif]")];
  const asked = afresh ? all : all.filter(waits);
  const patient = asked.length <= AT_ONCE && !afresh && !uploading();
  for (let at = 0; at < asked.length; at += AT_ONCE) {
    const some = asked.slice(at, at + AT_ONCE);
    const cards = await (patient ? held : atOnce)((wait_s) => cardsUnlike(some, wait_s, signal));
    if (isHeld()) return HELD_MS;
    for (const [id, html] of Object.entries(cards)) await show(id, html, signal);
  }
  return [...document.querySelectorAll("[data-gif]")].some(waits) ? pause : Infinity;
}

// How long until the next look. While too many pages wait, the server asks for a longer pause.
let pause = PAUSE_MS;

// Only one of a browser's tabs has the server hold its answer; the others ask now and then. Over HTTP/1.1 a
// browser has six connections to a server for all its tabs. Without TLS it has no locks, and no tab waits.
let holding = false;

const atOnce = (ask) => ask(0);

async function held(ask) {
  const holds = async (lock) => {
    holding = Boolean(lock);
    try { return await ask(lock ? HOLD_S : 0); } finally { holding = false; }
  };
  return navigator.locks ? navigator.locks.request("gifster-cards", { ifAvailable: true }, holds) : holds(null);
}

async function cardsUnlike(elements, wait_s, signal) {
  const shown = Object.fromEntries(elements.map(({ dataset }) => [dataset.gif, [dataset.state, dataset.image]]));
  const body = JSON.stringify({ shown, wait_s });
  const answer = await answerTo(`${root}/cards`, { method: "POST", body, headers, signal });
  pause = Math.max(wait_s ? PAUSE_MS : UNHELD_PAUSE_MS, 1000 * Number(answer.headers.get("Retry-After")));
  return (await answer.json()).cards;
}

async function show(id, html, signal) {
  for (const element of document.querySelectorAll(`[data-gif="${CSS.escape(id)}"]`)) {
    if ("page" in element.dataset) {
      await showPage(signal);
    } else if (html === null) {
      remove(element);
    } else {
      const holder = document.createElement("template");
      holder.innerHTML = html.trim();
      const fresh = holder.content.firstElementChild;
      put(fresh, element);
      prepare(fresh);
      tell(fresh);
    }
  }
}

function remove(card) {
  const next = card.nextElementSibling ?? card.previousElementSibling;
  const focused = card.contains(document.activeElement);
  card.remove();
  if (focused) (next?.querySelector("h3 a") ?? document.getElementById("main")).focus({ preventScroll: true });
}

// Fetch the page of a GIF rather than reload it, so that the old one stays if there is no answer.
export async function showPage(signal) {
  const answer = await answerTo(location.href, { signal, headers: { Accept: "text/html" }, redirect: "manual" }, [404]);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("main");
  if (!fresh) throw new Error("the answer is not a page of ours");
  if (losesUnsaved(fresh)) throw Object.assign(new Error("the fresh page has no form"), { told: KEPT });
  const shown = document.getElementById("main");
  // What somebody has opened stays open.
  for (const { id } of shown.querySelectorAll("details[id][open]")) fresh.querySelector(`#${id}`)?.toggleAttribute("open", true);
  const focused = keepUnsaved(fresh);
  put(fresh, shown);
  focused?.focus({ preventScroll: true });
  document.title = page.title;
  prepare(fresh);
  const whole = fresh.querySelector("[data-page]"), former = shown.querySelector("[data-page]");
  if (whole && former && waits(former)) tell(whole);
}

// The GIFs that finished in the last two seconds, for one sentence about all of them.
let ended = [], timer = null;

function tell(element) {
  if (waits(element)) return;
  const title = element.querySelector("h1, h3").textContent;
  const reason = element.querySelector(".failed")?.textContent;
  ended.push({ failed: Boolean(reason), text: reason ? `“${title}” failed: ${reason}` : `“${title}” is ready.` });
  timer ??= setTimeout(() => {
    const failed = ended.filter((one) => one.failed).length;
    said("told", ended.length === 1 ? ended[0].text : `GIFs ready: ${ended.length - failed}, failed: ${failed}.`);
    ended = [];
    timer = null;
  }, SUM_UP_MS);
}

const wake = follow(look);

/** Add the card of a GIF that the server has just accepted; the next look completes it. */
export function appear({ id, title }) {
  const card = document.getElementById("new-card").content.firstElementChild.cloneNode(true);
  card.dataset.gif = id;
  card.dataset.state = "";
  card.querySelectorAll("a").forEach((link) => { link.href = `${root}/gifs/${id}`; });
  card.querySelector("h3 a").textContent = title;
  document.getElementById("nothing")?.remove();
  document.getElementById("gallery").prepend(card);
  wake({ now: holding });
}

/** Replace an element, and keep the focus where it was, or near it if that is gone. */
function put(fresh, old) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const part = focused?.closest("details[id]");
  const kind = (element) => `${element.localName} ${element.getAttribute("href")} ${element.className}`;
  const similar = (within) => [...within.querySelectorAll("a:not([tabindex]), button, summary")].filter(
    (element) => kind(element) === kind(focused));
  const place = focused && similar(part ?? old).indexOf(focused);
  old.replaceWith(fresh);
  if (!focused) return;
  const around = (part && fresh.querySelector(`#${part.id}`)) ?? fresh;
  (focused === old ? fresh : similar(around)[place] ?? around.querySelector("summary, a, button"))?.focus({ preventScroll: true });
}
