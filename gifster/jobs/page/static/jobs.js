// The page updates itself. Open details stay open, chosen jobs stay chosen, and the focus stays where it is.
import "./confirm.js";
import { answerTo, follow, HELD_MS, isHeld } from "./follow.js";

const LOOK_MS = 2000;

async function look(signal) {
  const live = document.querySelector("[data-live]");
  if (getSelection().toString()) return LOOK_MS; // somebody is about to copy something
  const url = new URL(location.href);
  url.searchParams.delete("done");
  const answer = await answerTo(url, { signal });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]");
  // The application that mounted the page may answer with its own, to log in on.
  if (fresh === null) throw Object.assign(new Error("no jobs page"), { loggedOut: true });
  if (isHeld()) return HELD_MS;
  const open = [...live.querySelectorAll("details[open]")].map((element) => element.id);
  const focused = document.activeElement?.closest("[data-live] [id]")?.id;
  const chosen = [...live.querySelectorAll("input:checked")].map((element) => element.id);
  fresh.querySelectorAll("input[type=checkbox]").forEach((element) => { element.checked = chosen.includes(element.id); });
  fresh.querySelectorAll("details").forEach((element) => { element.open = open.includes(element.id); });
  const said = live.querySelector(".said");
  if (said) fresh.querySelector(".said")?.replaceWith(said);
  if (fresh.innerHTML !== live.innerHTML) {
    live.replaceChildren(...fresh.childNodes);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }
  return LOOK_MS;
}

follow(look);
