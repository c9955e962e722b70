// Loading on scroll: when the link to older GIFs comes near, their page's cards are added above it. After a few
// pages the link stays a link, so that everybody gets to what is below it; and it is one without this script.
import { prepare } from "./films.js";
import { said } from "./jobs/follow.js";

// With 30 cards each.
const MOST_PAGES = 4;

const main = document.getElementById("main");
let gallery, place, link, pages, loading = false;

const near = new IntersectionObserver((entries) => {
  if (entries.at(-1).isIntersecting) load();
}, { rootMargin: "0px 0px 800px" });

// A search puts another list in the place of the present one (search.js).
function begin() {
  near.disconnect();
  gallery = document.getElementById("gallery");
  place = document.getElementById("older");
  link = place?.querySelector("a");
  pages = 1;
  if (place) near.observe(place);
}

async function load() {
  // Somebody who has gone past the gallery by the Tab key wants what is there.
  const past = document.querySelector("footer").contains(document.activeElement);
  if (loading || past || pages >= MOST_PAGES || navigator.connection?.saveData) return;
  loading = true;
  const asked = place;
  try {
    const answer = await fetch(link.href, { headers: { Accept: "text/html" }, redirect: "manual" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (place === asked && answer.ok) put(page, link.href); // else another list has come
    else if (place === asked) pages = MOST_PAGES;
  } catch { /* no connection: the link tells more */ }
  loading = false;
  near.disconnect();
  if (place?.isConnected) near.observe(place); // it may be in view still
}

function put(page, address) {
  pages += 1;
  const fresh = [...page.querySelectorAll("#gallery > article")].filter(
    ({ dataset }) => !gallery.querySelector(`[data-gif="${CSS.escape(dataset.gif)}"]`));
  fresh.forEach((card) => { card.dataset.of = address; });
  const focused = document.activeElement === link;
  gallery.append(...fresh);
  fresh.forEach(prepare);
  said("told", `${fresh.length} more ${fresh.length === 1 ? "GIF" : "GIFs"}`);
  const next = page.querySelector("#older a");
  if (next) {
    link.href = next.href;
    return;
  }
  place.remove();
  if (focused) fresh[0]?.querySelector("h3 a").focus({ preventScroll: true });
}

// The back button returns to the card that was clicked: its page is the one in the address by then.
main.addEventListener("click", (event) => {
  const card = event.target.closest("a") && event.target.closest("[data-of]");
  if (!card || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  history.scrollRestoration = "manual";
  history.replaceState({ at: card.dataset.gif }, "", card.dataset.of);
});
new MutationObserver(begin).observe(main, { childList: true });
begin();
