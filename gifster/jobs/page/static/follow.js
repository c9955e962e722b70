// Following: a page asks the server again and again. It has one request at a time, so that answers come in
// order. If a request fails, the next one makes up for it.

const SLOWEST_MS = 15_000;
// Then a connection counts as dead, as after a laptop's sleep: the server never holds a request for so long.
const PATIENCE_MS = 20_000;
const SERVER = document.querySelector("meta[name=application-name]")?.content ?? "The server";
const LOST = `${SERVER} does not answer. This page may be out of date; it keeps trying.`;
const LOGGED_OUT = "You are not logged in any more. Log in and reload this page, which may be out of date.";

/**
 * Call `look(signal, afresh)` again and again while the page is visible. It returns the pause until the next
 * call in milliseconds, Infinity to wait for a call of the returned function (`now`: interrupt a look that is
 * under way); it throws if there was no answer. `afresh`: the server was not heard for a while, so anything on
 * the page may be out of date. An error may have a sentence of its own for people (`told`).
 *
 * A hidden page has no request open: a browser has six connections to a server over HTTP/1.1, for all its tabs.
 */
export function follow(look) {
  let request = new AbortController(), afresh = false, failures = 0;
  let wake = () => {};
  const pause = (ms) => new Promise((resolve) => {
    wake = resolve;
    if (ms < Infinity) setTimeout(resolve, ms);
  });

  async function once() {
    const stale = afresh || failures > 0;
    afresh = false;
    const own = request = new AbortController();
    const patience = setTimeout(() => own.abort(), PATIENCE_MS);
    try {
      const next = await look(own.signal, stale);
      failures = 0;
      said("lost", "");
      return next;
    } catch (error) {
      afresh ||= stale;
      if (own.signal.reason === "away") return 0;
      failures += 1;
      console.debug(error);
      if (failures > 1) said("lost", error.told ?? (error.loggedOut ? LOGGED_OUT : LOST));
      return Math.min(1000 * 2 ** failures, SLOWEST_MS);
    } finally {
      clearTimeout(patience);
    }
  }

  function back() {
    afresh = true;
    request.abort("away");
    wake();
  }

  document.addEventListener("visibilitychange", () => document.hidden ? request.abort("away") : back());
  addEventListener("pageshow", (event) => { if (event.persisted) back(); });
  addEventListener("online", back);
  (async () => {
    for (;;) await pause(document.hidden ? Infinity : await once());
  })();
  return ({ now = false } = {}) => {
    if (now) request.abort("away");
    wake();
  };
}

// A button or link that is replaced while the pointer holds it down gets no click.
let held = false;
addEventListener("pointerdown", () => { held = true; }, true);
["pointerup", "pointercancel", "blur"].forEach((kind) => addEventListener(kind, () => {
  setTimeout(() => { held = false; }); // after the click
}, true));

/** Whether nothing may be replaced now; look again after HELD_MS. */
export const isHeld = () => held;
export const HELD_MS = 300;

/** The answer to a request. Throws unless it is a success, or has one of the `expected` statuses. */
export async function answerTo(url, options, expected = []) {
  const answer = await fetch(url, options);
  if (answer.ok || expected.includes(answer.status)) return answer;
  throw Object.assign(new Error(`${url}: ${answer.status}`), { loggedOut: [401, 403].includes(answer.status) || answer.type === "opaqueredirect" });
}

/** Write a sentence into one of the page's live regions, where a screen reader finds it. */
export function said(where, sentence) {
  const place = document.getElementById(where);
  if (place.textContent !== sentence) place.textContent = sentence;
}
