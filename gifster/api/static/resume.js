// Uploads a large file in several requests (tus 1.0), each of which the server keeps. After a lost connection the
// upload goes on where it was; so it does in a page that was loaded again, once the same file is chosen.
import { proof, root } from "./root.js";

// How much goes in one request (bytes): a proxy may pass a request on only when it is complete.
const CHUNK = 8 * 1024 * 1024;
// The same if a proxy refuses that: nginx takes 1 MB, unless it is told otherwise.
const LEAST = 512 * 1024;
// A connection without progress for so long is dead, as after a laptop's sleep. The server answers sooner.
const STALL_MS = 120_000;
const DAY_MS = 86_400_000;
const TUS = { "Tus-Resumable": "1.0.0" };
const LOST = "The connection was lost. The upload goes on where it was.";
// The upload is at another offset, or is gone. Then it is asked where it is, or begun again.
const MOVED = [404, 409, 410], TRIES = 5;
// Another tab sends the same file: when it is there, it is there for both.
const ELSEWHERE = "The file is being uploaded from another page, too.", AGAIN_S = 3;

// What is on its way from this page: the same file twice is two uploads.
const running = new Set();
let most = CHUNK;

// Tells other tabs that a file is on its way. Without https, a browser has no locks.
const inSight = (key, work) => (navigator.locks ? navigator.locks.request(`upload ${key}`, { mode: "shared" }, work) : work());

/** The uploads that stopped before their end: `[{ key, name, size, lastModified, fields, url, received }]`. */
export async function unfinishedUploads() {
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  const busy = new Set([...running, ...held.map(({ name }) => name.replace("upload ", ""))]);
  const found = knownUploads().all().filter(([key]) => !busy.has(key)).map(async ([key, { url }]) => {
    const [name, size, lastModified, fields] = JSON.parse(key.replace(/\++$/, ""));
    const told = await request("HEAD", url);
    if (told.status === 410) knownUploads().remove(key);
    return told.status === 200 && { key, name, size, lastModified, fields, url, received: Number(told.headers("Upload-Offset")) };
  });
  return (await Promise.all(found)).filter(Boolean);
}

/** End an upload: what the server has of it is deleted. Returns what is wrong, or an empty text. */
export async function endUpload({ key, url }) {
  const { status, detail } = await request("DELETE", url);
  const gone = status === 204 || status === 404 || status === 410;
  if (gone) knownUploads().remove(key);
  return gone ? "" : detail;
}

export const isLarge = (file) => file.size > most;

/** Whether a proxy has refused a request because of its size, and smaller ones may come through. */
export function isTooMuch({ status, code }, { size }) {
  if (status !== 413 || code) return false; // the server's own answers have a code
  most = LEAST;
  return size > LEAST;
}

/**
 * The answer to the upload of a file: `{ status, detail, retryAfter }`, and the GIF as JSON if the status is 202.
 * `fields`: pairs of name and value. `bar`: shows how far it is.
 */
export async function uploadInChunks(file, fields, bar) {
  const known = knownUploads(), about = [file.name, file.size, file.lastModified, fields];
  let answer, key = JSON.stringify(about);
  while (running.has(key)) key += "+";
  running.add(key);
  await inSight(key, async () => {
    for (let tries = 0; tries < TRIES; tries += 1) {
      answer = await attempt(file, fields, bar, known.get(key), (url) => known.set(key, url));
      if (!MOVED.includes(answer.status)) break;
      if (answer.status !== 409) known.remove(key);
    }
  });
  running.delete(key);
  if (answer.status === 409) return { ...answer, status: 503, retryAfter: AGAIN_S, detail: ELSEWHERE };
  // It is complete, or will never be: 4xx, but for those that may pass.
  if (answer.status >= 200 && answer.status < 500 && ![401, 403, 408, 429].includes(answer.status)) known.remove(key);
  return answer;
}

async function attempt(file, fields, bar, url, remember) {
  let offset = 0;
  if (url) {
    const told = await request("HEAD", url);
    if (told.status === 410) {
      const { error } = await request("GET", url);
      return error ? { status: 422, detail: error.message, code: error.code } : told;
    }
    if (told.status !== 200) return told;
    offset = Number(told.headers("Upload-Offset"));
  } else {
    const begun = await request("POST", `${root}/api/uploads`, { ...TUS, ...described(file, fields) });
    if (begun.status !== 201) return begun;
    url = begun.headers("Location");
    remember(url);
  }
  while (offset < file.size) {
    const from = offset, chunk = file.slice(from, from + most);
    const headers = { ...TUS, "Upload-Offset": from, "Content-Type": "application/offset+octet-stream" };
    const sent = await request("PATCH", url, headers, chunk, (loaded) => { bar.value = (from + loaded) / file.size; });
    if (isTooMuch(sent, chunk)) continue;
    if (sent.status !== 204) return sent;
    offset = Number(sent.headers("Upload-Offset"));
  }
  const { status, gif, ...rest } = await request("GET", url);
  if (status !== 200) return { ...rest, status };
  return gif ? { ...gif, status: 202 } : { status: 404, detail: "The GIF has just been deleted." };
}

function described(file, fields) {
  const values = { filename: file.name };
  fields.forEach(([name, value]) => { values[name] = name in values ? `${values[name]}, ${value}` : value; });
  const encoded = Object.entries(values).filter(([, value]) => value).map(([name, value]) => {
    const bytes = new TextEncoder().encode(value);
    return `${name} ${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))}`;
  });
  return { "Upload-Length": file.size, "Upload-Metadata": encoded.join(",") };
}

function request(method, url, headers = TUS, body = null, moved = () => {}) {
  return new Promise((resolve) => {
    const made = new XMLHttpRequest();
    let stall;
    const moves = () => {
      clearTimeout(stall);
      stall = setTimeout(() => made.abort(), STALL_MS);
    };
    made.upload.addEventListener("progress", (event) => {
      moved(event.loaded);
      moves();
    });
    made.addEventListener("loadend", () => {
      clearTimeout(stall);
      const { status } = made;
      let told = {};
      try { told = JSON.parse(made.responseText); } catch { /* a proxy's page, or nothing */ }
      const detail = status ? `The server answered with ${status}.` : LOST;
      const retryAfter = Number(status && made.getResponseHeader("Retry-After"));
      resolve({ detail, ...told, status, retryAfter, headers: (name) => made.getResponseHeader(name) });
    });
    made.open(method, url);
    Object.entries({ ...headers, ...proof }).forEach(([name, value]) => made.setRequestHeader(name, value));
    made.send(body);
    moves();
  });
}

// The addresses of uploads that are not complete, by file and fields. A browser may refuse to keep them.
function knownUploads() {
  const all = () => {
    let found = {};
    try { found = JSON.parse(localStorage.getItem("uploads") ?? "{}"); } catch { /* none */ }
    return Object.fromEntries(Object.entries(found).filter(([, { at }]) => Date.now() - at < DAY_MS));
  };
  const write = (changed) => {
    try { localStorage.setItem("uploads", JSON.stringify(changed)); } catch { /* full, or not allowed */ }
  };
  const here = {};
  return {
    all: () => Object.entries(all()),
    get: (key) => here[key] ?? all()[key]?.url,
    set: (key, url) => {
      here[key] = url;
      write({ ...all(), [key]: { url, at: Date.now() } });
    },
    remove: (key) => {
      delete here[key];
      const { [key]: gone, ...others } = all();
      if (gone) write(others);
    },
  };
}
