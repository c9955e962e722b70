// What somebody has typed and not yet saved stays in its form while the rest of the page changes.

/** Whether somebody has typed something that is not saved. */
export function isUnsaved(edited) {
  return "unsaved" in edited.dataset || [...edited.elements].some((field) => {
    if (field.localName !== "select") return field.name && "defaultValue" in field && field.value !== field.defaultValue;
    const chosen = [...field.options].findIndex((option) => option.defaultSelected);
    return field.selectedIndex !== Math.max(0, chosen);
  });
}

const unsavedForms = () => [...document.querySelectorAll("main form")].filter(isUnsaved);
const placeOf = (form, fresh) => [...fresh.querySelectorAll("form")].find(
  (other) => other.getAttribute("action") === form.getAttribute("action"));

/** Whether a fresh page has no form for what somebody has typed: they were logged out, or the GIF is gone. */
export const losesUnsaved = (fresh) => unsavedForms().some((form) => !placeOf(form, fresh));

/** Put the forms that somebody is filling in into the fresh page, in place of the page's own. Returns the field that
 * has the focus, which loses it on the way. */
export function keepUnsaved(fresh) {
  let focused = null;
  for (const edited of unsavedForms()) {
    if (edited.contains(document.activeElement)) focused = document.activeElement;
    const place = placeOf(edited, fresh);
    place?.replaceWith(edited);
  }
  return focused;
}
