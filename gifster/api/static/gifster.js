// The pages' script. Cards that update themselves are in cards.js; uploads.js is the script of the upload form.
// Those in jobs/ come from the library's jobs page.
import "./cards.js";
import "./details.js";
import { prepare } from "./films.js";
import "./jobs/confirm.js";
import "./keys.js";
import "./search.js";
import "./share.js";

prepare(document);

// Back to a card that had been loaded on scroll (more.js).
const card = history.state?.at && document.querySelector(`[data-gif="${CSS.escape(history.state.at)}"]`);
if (card) {
  card.scrollIntoView({ block: "center" });
  card.querySelector("h3 a").focus({ preventScroll: true });
  history.scrollRestoration = "auto";
}

// A menu closes when somebody leaves it.
const menus = document.querySelectorAll("[data-menu]");
for (const kind of ["click", "focusin"]) addEventListener(kind, ({ target }) => {
  for (const menu of menus) if (!menu.contains(target)) menu.open = false;
});
addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && [...menus].find((each) => each.open);
  if (!menu) return;
  menu.open = false;
  menu.firstElementChild.focus();
});
