// Passkeys: asks the server what to ask the browser, and brings the answer back.

import { jsonHeaders as headers, root } from "./root.js";

async function post(path, body) {
  const answer = await fetch(`${root}/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  if (answer.redirected) {
    // Somebody has to log in once more.
    location.assign(answer.url);
    return new Promise(() => {});
  }
  const document = await answer.json();
  if (!answer.ok) throw new Error(document.detail);
  return document;
}

const bytes = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));

const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

// Browsers of before 2025 cannot convert the JSON themselves.
function decoded(options) {
  const named = (list) => (list ?? []).map((one) => ({ ...one, id: bytes(one.id) }));
  return {
    ...options,
    challenge: bytes(options.challenge),
    ...(options.user && { user: { ...options.user, id: bytes(options.user.id) } }),
    ...(options.excludeCredentials && { excludeCredentials: named(options.excludeCredentials) }),
    ...(options.allowCredentials && { allowCredentials: named(options.allowCredentials) }),
  };
}

function encoded(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = text(credential.response[name]);
  }
  return { id: credential.id, rawId: text(credential.rawId), type: credential.type, response };
}

async function logIn(back) {
  const options = await post("login/passkey/options", {});
  const credential = await navigator.credentials.get({ publicKey: decoded(options) });
  return post("login/passkey", { credential: encoded(credential), next: back });
}

async function add(name) {
  const options = await post("account/sign-in/passkeys/options", {});
  const credential = await navigator.credentials.create({ publicKey: decoded(options) });
  return post("account/sign-in/passkeys", { credential: encoded(credential), name });
}

function told(error) {
  if (error.name === "NotAllowedError") return "Nothing was chosen, or it took too long. Try again.";
  if (error.name === "InvalidStateError") return "This device has a passkey for your account already.";
  return error.message;
}

async function go(place, button, work) {
  const said = place.querySelector("[data-passkey-error]");
  said.hidden = true;
  button.disabled = true;
  try {
    if (!window.PublicKeyCredential) throw new Error("This browser has no passkeys here: they need https.");
    location.assign(root + (await work()).location);
  } catch (error) {
    said.textContent = told(error);
    said.hidden = false;
    button.disabled = false;
  }
}

for (const button of document.querySelectorAll("[data-passkey]")) {
  button.addEventListener("click", () => go(document, button, () => logIn(button.dataset.passkey)));
}

for (const form of document.querySelectorAll("[data-new-passkey]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go(form, form.querySelector("button"), () => add(form.elements.name.value));
  });
}
