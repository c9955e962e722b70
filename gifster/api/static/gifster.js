// The pages' script. Cards that update themselves are in cards.js; uploads.js and jobs.js are the scripts of
// the upload form and of the jobs page.
import "./cards.js";
import { prepare } from "./films.js";

document.documentElement.classList.add("js");
prepare(document);

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
