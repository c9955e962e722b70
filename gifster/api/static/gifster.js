// What the pages do beyond plain HTML: cards that change by themselves, uploads with progress bars.
"use strict";
document.documentElement.classList.add("js");

// Live states: one stream for all GIFs on the page that are not done yet.
let stream = null;

function waiting() {
  return [...document.querySelectorAll("[data-gif]")].filter(
    (element) => ["queued", "processing"].includes(element.dataset.state));
}

function listen() {
  if (stream) stream.close();
  stream = null;
  const ids = waiting().slice(0, 100).map((element) => element.dataset.gif);
  if (!ids.length) return;
  stream = new EventSource("/events?" + ids.map((id) => "gif=" + encodeURIComponent(id)).join("&"));
  stream.addEventListener("gif", (event) => {
    const { id, state, image } = JSON.parse(event.data);
    document.querySelectorAll(`[data-gif="${CSS.escape(id)}"]`).forEach((element) => {
      const known = element.dataset.state === (state ?? "") && element.dataset.image === (image ?? "");
      if (!known) show(element, id, state, image);
    });
  });
}

async function show(element, id, state, image) {
  element.dataset.state = state ?? "";
  element.dataset.image = image ?? "";
  if ("reload" in element.dataset) {
    location.reload();
  } else if (state === null) {
    element.remove();
  } else {
    const fresh = await card(id);
    if (fresh) element.replaceWith(fresh);
  }
  if (!waiting().length) listen();
}

async function card(id) {
  const answer = await fetch(`/gifs/${encodeURIComponent(id)}/card`);
  if (!answer.ok) return null;
  const holder = document.createElement("template");
  holder.innerHTML = (await answer.text()).trim();
  return holder.content.firstElementChild;
}

// Uploads: one after the other, each with a bar; the card appears when the server has accepted it.
function upload(file, fields) {
  const row = document.createElement("li");
  const name = document.createElement("span");
  const bar = document.createElement("progress");
  name.textContent = file.name;
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", `Uploading ${file.name}`);
  row.append(name, bar);
  document.getElementById("progress").append(row);

  return new Promise((resolve) => {
    const body = new FormData();
    Object.entries(fields).forEach(([key, value]) => body.append(key, value));
    body.append("image", file);
    const request = new XMLHttpRequest();
    request.open("POST", "/api/gifs");
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) bar.value = event.loaded / event.total;
    });
    request.addEventListener("loadend", async () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* no JSON: no connection */ }
      if (request.status === 202) {
        row.remove();
        document.getElementById("nothing")?.remove();
        const fresh = await card(answer.id);
        if (fresh) document.getElementById("gallery").prepend(fresh);
        listen();
      } else {
        bar.remove();
        const reason = document.createElement("p");
        reason.className = "state failed";
        reason.setAttribute("role", "alert");
        reason.textContent = answer.detail ?? "The connection was lost. Nothing was stored: try again.";
        row.append(reason);
      }
      resolve();
    });
    request.send(body);
  });
}

async function uploadAll(form, files) {
  const limit = Number(form.image.dataset.maxBytes);
  document.getElementById("progress").replaceChildren();
  const fields = { title: files.length === 1 ? form.elements.title.value : "", tags: form.elements.tags.value };
  form.reset();
  for (const file of files) {
    if (file.size > limit) {
      const row = document.createElement("li");
      row.textContent = `${file.name}: the file is too large.`;
      row.className = "state failed";
      document.getElementById("progress").append(row);
    } else {
      await upload(file, fields);
    }
  }
}

const form = document.getElementById("upload");
if (form) {
  const drop = form.querySelector(".drop");
  form.image.multiple = true;
  form.addEventListener("submit", (event) => {
    // A form that was refused has its file on the server already: it goes as it is.
    if (!form.image.files.length) return;
    event.preventDefault();
    uploadAll(form, [...form.image.files]);
  });
  ["dragover", "dragleave", "drop"].forEach((kind) => drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) uploadAll(form, [...event.dataTransfer.files]);
  }));
}

function confirmForms(within) {
  within.querySelectorAll("form[data-confirm]").forEach((element) => element.addEventListener("submit", (event) => {
    if (!confirm(element.dataset.confirm)) event.preventDefault();
  }));
}

confirmForms(document);
listen();

// Motion: who wants less of it sees posters, each with a button; everybody else sees films play.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-play]");
  if (!button) return;
  const poster = button.closest(".picture, .whole").querySelector("source[media]");
  const plays = button.getAttribute("aria-pressed") === "true";
  poster.media = plays ? "(prefers-reduced-motion: reduce)" : "not all";
  button.setAttribute("aria-pressed", String(!plays));
});

document.querySelectorAll("video[data-plays]").forEach((video) => {
  const instead = () => video.replaceWith(...video.children);
  if (!video.canPlayType("video/mp4")) return instead();
  video.addEventListener("error", instead);
  let left = Number(video.dataset.plays) - 1;
  video.addEventListener("ended", () => { if (left-- > 0) video.play(); });
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {});
});

// The page of the jobs follows by itself. What is open stays open, and the focus where it is.
const LOOK_MS = 2000;

async function follow() {
  const live = document.querySelector("[data-live]");
  if (!document.hidden && !getSelection().toString()) {
    try {
      const url = new URL(location.href);
      url.searchParams.delete("done");
      const answer = await fetch(url);
      if (answer.ok && answer.url === url.href) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]");
        const open = [...live.querySelectorAll("details[open]")].map((element) => element.id);
        const focused = document.activeElement?.closest("[data-live] [id]")?.id;
        fresh.querySelectorAll("details").forEach((element) => { element.open = open.includes(element.id); });
        const said = live.querySelector(".said");
        if (said) fresh.querySelector(".said")?.replaceWith(said);
        if (fresh.innerHTML !== live.innerHTML) {
          live.replaceChildren(...fresh.childNodes);
          confirmForms(live);
          if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
        }
      }
    } catch { /* no connection: the next look will tell */ }
  }
  setTimeout(follow, LOOK_MS);
}

if (document.querySelector("[data-live]")) setTimeout(follow, LOOK_MS);
