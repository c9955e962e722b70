// Edits a GIF on its page, without leaving it, and sends the page's small forms (`data-stay`). What somebody has typed
// stays in the form until it is saved: if the server refuses it, if there is no answer, and while the rest of the page
// changes (unsaved.js).
import { showPage } from "./cards.js";
import { said } from "./jobs/follow.js";
import { jsonHeaders as headers, root } from "./root.js";
import { tell } from "./share.js";
import { isUnsaved } from "./unsaved.js";

const NO_ANSWER = "The server does not answer. Nothing is lost: save again later.";
const LOGGED_OUT = "You are not logged in any more. Nothing is lost: log in in another tab, then save again.";
const form = () => document.querySelector("[data-details]");

async function refusalOf(edited) {
  const { title, tags, alt_text, rating, visibility, reason = "" } = Object.fromEntries(new FormData(edited));
  const body = JSON.stringify({ title, tags: tags.split(","), alt_text, rating, visibility });
  const why = reason && `?reason=${encodeURIComponent(reason)}`;
  try {
    const answer = await fetch(`${root}/api/gifs/${edited.dataset.details}${why}`, { method: "PATCH", body, headers });
    return answer.ok ? null : await reasonOf(answer);
  } catch {
    return NO_ANSWER;
  }
}

const reasonOf = async (answer) => (answer.status === 401 ? LOGGED_OUT : (await answer.json()).detail);

document.addEventListener("submit", async (event) => {
  const sent = event.target;
  if (!sent.matches("[data-details], [data-stay]")) return;
  event.preventDefault();
  const button = event.submitter ?? sent.querySelector("button");
  const answer = "stay" in sent.dataset ? refusalOfSmall(sent, event.submitter) : refusalOf(sent);
  button.disabled = true; // after the fields have been read: the value of a disabled button is left out
  const refusal = await answer;
  button.disabled = false;
  if (refusal) {
    const place = sent.querySelector("[role=alert]");
    if (!place) return tell(refusal);
    place.textContent = refusal;
    place.focus(); // so that it is seen, however long the form is
    return;
  }
  const where = sent.closest("[id]")?.id;
  if (sent === form()) {
    sent.closest("details").open = false;
    sent.remove(); // so that the page's fresh form takes its place
  } else {
    sent.reset();
    button.focus();
  }
  try {
    await showPage();
    if (where === "details") document.querySelector("#details summary")?.focus({ preventScroll: true });
    said("told", "Saved.");
  } catch {
    location.reload();
  }
});

async function refusalOfSmall(sent, submitter) {
  try {
    const body = new URLSearchParams(new FormData(sent, submitter));
    const answer = await fetch(sent.action, { method: "POST", body, headers: { Accept: "application/problem+json" } });
    return answer.ok || answer.redirected ? null : await reasonOf(answer);
  } catch {
    return NO_ANSWER;
  }
}

addEventListener("beforeunload", (event) => {
  if (form() && isUnsaved(form())) event.preventDefault();
});
