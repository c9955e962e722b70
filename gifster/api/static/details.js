// Edits a GIF on its page, without leaving it, and sends the page's small forms (`data-stay`). What somebody has typed stays in the form until it is saved: if the
// server refuses it, if there is no answer, and while the rest of the page changes (cards.js).
import { showPage } from "./cards.js";
import { said } from "./jobs/follow.js";
import { jsonHeaders as headers, root } from "./root.js";

const NO_ANSWER = "The server does not answer. Nothing is lost: save again later.";
const form = () => document.querySelector("[data-details]");

/** Whether somebody has typed something that is not saved. */
function isUnsaved(edited) {
  return "unsaved" in edited.dataset || [...edited.elements].some((field) => {
    if (field.localName === "select") return !field.selectedOptions[0]?.defaultSelected;
    return field.name && field.value !== field.defaultValue;
  });
}

async function refusalOf(edited) {
  const { title, tags, alt_text, rating, visibility, reason = "" } = Object.fromEntries(new FormData(edited));
  const body = JSON.stringify({ title, tags: tags.split(","), alt_text, rating, visibility });
  const why = reason && `?reason=${encodeURIComponent(reason)}`;
  try {
    const answer = await fetch(`${root}/api/gifs/${edited.dataset.details}${why}`, { method: "PATCH", body, headers });
    return answer.ok ? null : (await answer.json()).detail;
  } catch {
    return NO_ANSWER;
  }
}

document.addEventListener("submit", async (event) => {
  const sent = event.target;
  if (!sent.matches("[data-details], [data-stay]")) return;
  event.preventDefault();
  const button = event.submitter ?? sent.querySelector("button");
  button.disabled = true;
  const refusal = "stay" in sent.dataset ? await refusalOfSmall(sent, event.submitter) : await refusalOf(sent);
  button.disabled = false;
  if (refusal) {
    const place = sent.querySelector("[role=alert]") ?? document.getElementById("told");
    place.textContent = refusal;
    place.focus(); // so that it is seen, however long the form is
    return;
  }
  const where = sent.closest("[id]")?.id;
  if (sent === form()) sent.remove(); // so that the page's fresh form takes its place
  else button.focus();
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
    return answer.ok || answer.redirected ? null : (await answer.json()).detail;
  } catch {
    return NO_ANSWER;
  }
}

addEventListener("beforeunload", (event) => {
  if (form() && isUnsaved(form())) event.preventDefault();
});

/** Put the form that somebody is filling in into the fresh page, in place of the page's own. Returns its field that
 * has the focus, which loses it on the way. */
export function keepUnsaved(fresh) {
  const edited = form();
  if (!edited || !isUnsaved(edited)) return null;
  const focused = edited.contains(document.activeElement) ? document.activeElement : null;
  const place = fresh.querySelector("[data-details]");
  place?.closest("details").toggleAttribute("open", true);
  place?.replaceWith(edited);
  return focused;
}
