// The jobs page updates itself. Open details stay open, and the focus stays where it is.
import { answerTo, follow } from "./follow.js";

const LOOK_MS = 2000;

async function look(signal) {
  const live = document.querySelector("[data-live]");
  if (getSelection().toString()) return LOOK_MS; // somebody is about to copy something
  const url = new URL(location.href);
  url.searchParams.delete("done");
  const answer = await answerTo(url, { signal });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]");
  const open = [...live.querySelectorAll("details[open]")].map((element) => element.id);
  const focused = document.activeElement?.closest("[data-live] [id]")?.id;
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
