// What the pages do beyond plain HTML. Cards that change by themselves are in cards.js; uploads and the page
// of the jobs have scripts of their own, uploads.js and jobs.js.
import "./cards.js";
import { prepare } from "./films.js";

document.documentElement.classList.add("js");
prepare(document);

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
