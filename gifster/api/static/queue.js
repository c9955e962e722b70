// The queue of uploads: a few go to the server at a time, each with a row and a progress bar. A refused upload
// keeps its row, with the reason, until somebody dismisses it. While the server is out of reach or asks for a
// pause, the queue waits; then it goes on by itself.
import { appear } from "./cards.js";
import { said } from "./jobs/follow.js";
import { isLarge, isTooMuch, uploadInChunks } from "./resume.js";
import { proof, root } from "./root.js";

const AT_ONCE = 3;
// A connection without progress for so long is dead, as after a laptop's sleep. The server answers sooner.
const STALL_MS = 120_000;
// With these statuses nothing was stored, and a later attempt may succeed.
const LATER = [429, 502, 503];
// With these, the same upload gets the same answer again, until its fields or its file are corrected.
const CORRECTED = [413, 415, 422], ANOTHER_FILE = [413, 415];
// The session has ended meanwhile.
const LOGGED_OUT = 401;
const GONE = "The file cannot be read any more. Choose it again.";
const CUT = "The connection was lost. Nothing was stored.";
const UNSURE = "The connection was lost before the answer came. Check whether the GIF is there before you try again.";

const byId = (id) => document.getElementById(id);
const queue = [];
let running = 0, chosen = 0, accepted = 0, failures = 0, heldUntil = 0, timer = null;
let giveBack = () => {};

/** What is called with a refused upload that somebody wants to correct: without its file if that is refused. */
export function prepareQueue(back) { giveBack = back; }

/** What is wrong with a file that is larger than the limit; empty if it is not. */
export const tooLarge = (file) => {
  const limit = Number(byId("image").dataset.maxBytes);
  return file.size > limit ? `The file is larger than ${Math.round(limit / 104857.6) / 10} MiB.` : "";
};

export const isBusy = () => running + queue.length > 0;

/**
 * Upload some files, or have the server fetch pictures: `[{ name, file or url, fields }]`. The fields are pairs
 * of name and value.
 */
export function add(uploads) {
  if (!isBusy()) chosen = accepted = 0;
  chosen += uploads.length;
  queue.push(...uploads);
  goOn();
}

function goOn() {
  clearTimeout(timer);
  const wait = heldUntil - Date.now();
  if (wait > 0) timer = setTimeout(goOn, wait);
  else while (running < AT_ONCE && queue.length) begin(queue.shift());
  showSum();
}

async function begin(upload) {
  running += 1;
  upload.row ??= newRow(upload);
  upload.row.querySelector("p")?.remove();
  const answer = await sent(upload);
  running -= 1;
  const wait = waitAfter(answer);
  if (answer.status === 202) {
    failures = 0;
    accepted += 1;
    arrive(upload, answer);
  } else if (wait && !answer.unsure) {
    queue.unshift(upload);
    note(upload.row, `${answer.detail} Trying again automatically.`);
  } else {
    refuse(upload, answer);
  }
  if (wait) heldUntil = Math.max(heldUntil, Date.now() + 1000 * wait);
  goOn();
}

// How long the whole queue waits (seconds), 0 if the next upload may go.
function waitAfter({ status, local, retryAfter }) {
  if (local || (status && !LATER.includes(status))) return 0;
  failures += 1;
  return retryAfter || Math.min(2 ** Math.ceil(failures / AT_ONCE), 30);
}

async function sent({ file, url, fields, row }) {
  const body = new FormData();
  fields.forEach(([name, value]) => body.append(name, value));
  if (url) {
    body.append("remote_image_url", url);
  } else {
    if (tooLarge(file)) return { status: 413, local: true, detail: tooLarge(file) };
    try {
      const reader = file.stream().getReader();
      await reader.read();
      reader.cancel();
    } catch {
      return { status: 0, local: true, detail: GONE };
    }
    if (isLarge(file)) return uploadInChunks(file, fields, row.querySelector("progress"));
    body.append("image", file);
  }
  const bar = row.querySelector("progress"), answer = await answerTo(body, bar);
  return file && isTooMuch(answer, file) ? uploadInChunks(file, fields, bar) : answer;
}

function answerTo(body, bar) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    let whole = false, stall;
    const moves = () => {
      clearTimeout(stall);
      stall = setTimeout(() => request.abort(), STALL_MS);
    };
    request.upload.addEventListener("progress", (event) => {
      bar.value = event.loaded / event.total;
      moves();
    });
    request.upload.addEventListener("load", () => { whole = true; });
    request.addEventListener("loadend", () => {
      clearTimeout(stall);
      const { status } = request, unsure = whole && !status;
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { /* a proxy's page, or nothing */ }
      const reason = status ? `The server answered with ${status}.` : unsure ? UNSURE : CUT;
      const retryAfter = Number(status && request.getResponseHeader("Retry-After"));
      resolve({ detail: reason, ...told, status, unsure, retryAfter });
    });
    request.open("POST", `${root}/api/gifs`);
    Object.entries(proof).forEach(([name, value]) => request.setRequestHeader(name, value));
    request.send(body);
    moves();
  });
}

// The gallery shows a new GIF at its top. A page of other GIFs only says where it is.
function arrive({ row }, gif) {
  if (byId("new-card")) {
    row.remove();
    appear(gif);
    return;
  }
  row.querySelector("progress").hidden = true;
  const link = document.createElement("a");
  link.href = `${root}/gifs/${gif.id}`;
  link.textContent = "Show it";
  note(row, "Uploaded. ").append(link);
  said("told", `“${gif.title}” is uploaded.`);
}

function newRow({ name }) {
  const row = document.createElement("li");
  const shown = document.createElement("span");
  shown.textContent = shown.title = name;
  shown.dir = "auto";
  const bar = document.createElement("progress");
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", `Uploading ${name}`);
  row.append(shown, bar);
  byId("progress").append(row);
  return row;
}

function note(row, text) {
  row.querySelector("p")?.remove();
  const place = document.createElement("p");
  place.className = "state";
  place.textContent = text;
  row.append(place);
  return place;
}

function refuse(upload, { status, local, detail }) {
  const reason = note(upload.row, status === LOGGED_OUT ? "" : detail);
  if (status === LOGGED_OUT) reason.append(logInElsewhere(), " (in a new tab), then try again.");
  reason.classList.add("failed");
  reason.setAttribute("role", "alert");
  upload.row.querySelector("progress").hidden = true;
  upload.row.classList.add("refused");
  if (CORRECTED.includes(status)) {
    upload.row.append(button("Edit", upload.name, () => {
      upload.row.remove();
      showSum();
      giveBack(ANOTHER_FILE.includes(status) ? { ...upload, file: null } : upload);
    }));
  } else if (!local) {
    upload.row.append(button("Try again", upload.name, () => {
      leave(upload.row);
      heldUntil = 0;
      queue.push({ ...upload, row: undefined });
      goOn();
    }));
  }
  upload.row.append(button("Dismiss", upload.name, () => leave(upload.row)));
}

// In a new tab: this page has the files that wait.
function logInElsewhere() {
  const link = document.createElement("a");
  link.href = `${root}/login`;
  link.target = "_blank";
  link.textContent = "Log in first";
  return link;
}

function button(label, name, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "plain";
  made.textContent = label;
  made.setAttribute("aria-label", `${label}: ${name}`);
  made.addEventListener("click", act);
  return made;
}

const focusOpener = () => byId("add").firstElementChild.focus();

// Remove the row of a refused upload; the focus moves to the next one.
function leave(row) {
  const next = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  const other = [...next?.querySelectorAll("button") ?? []].at(-1); // what dismisses it
  if (other) other.focus();
  else focusOpener();
  showSum();
}

function showSum() {
  const text = `${accepted} of ${chosen} files uploaded`;
  byId("uploads").setAttribute("aria-busy", String(isBusy()));
  byId("sum").hidden = !isBusy() || chosen < 2;
  byId("sum").querySelector("span").textContent = text;
  byId("sum").querySelector("progress").max = chosen || 1;
  byId("sum").querySelector("progress").value = accepted;
  byId("dismiss").hidden = document.querySelectorAll("#progress .refused").length < 2;
  if (!isBusy() && chosen > 1) said("told", `${text}.`);
}

byId("dismiss").addEventListener("click", () => {
  document.querySelectorAll("#progress .refused").forEach((row) => row.remove());
  focusOpener();
  showSum();
});
addEventListener("online", () => { heldUntil = 0; goOn(); });
