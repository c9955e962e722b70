// The pages' script. Cards that update themselves are in cards.js; uploads.js is the script of the upload form.
// Those in jobs/ come from the library's jobs page.
import "./cards.js";
import { prepare } from "./films.js";
import "./jobs/confirm.js";
import "./keys.js";
import "./share.js";

document.documentElement.classList.add("js");
prepare(document);
