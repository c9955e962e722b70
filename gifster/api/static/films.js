// Motion: people who prefer less of it see posters, each with a button; for everybody else films play.

const lessMotion = matchMedia("(prefers-reduced-motion: reduce)");

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-play]");
  if (!button) return;
  const around = button.closest(".picture, .whole");
  const plays = button.getAttribute("aria-pressed") === "true";
  const film = around.querySelector("video[data-in-view]");
  if (film) {
    if (plays) film.load(); // back to the poster
    else start(film);
  } else {
    around.querySelector("source[media]").media = plays ? "(prefers-reduced-motion: reduce)" : "not all";
  }
  button.setAttribute("aria-pressed", String(!plays));
});

/** Play the films within a part of the page as often as each should loop; show pictures where films cannot play. */
export function prepare(within) {
  within.querySelectorAll("video[data-plays]").forEach((video) => {
    const instead = () => showPicture(video);
    if (!video.canPlayType("video/mp4")) return instead();
    // An error of the last source, if it has sources, is one of the film.
    (video.querySelector(":scope > source:last-of-type") ?? video).addEventListener("error", instead);
    let left = Number(video.dataset.plays) - 1;
    video.addEventListener("ended", () => { if (left-- > 0) video.play(); });
    if (lessMotion.matches) video.poster ||= video.dataset.poster ?? "";
    else if ("inView" in video.dataset) seen.observe(video);
    else start(video);
  });
}

/** Put what a film has within it in its place; or, where it has nothing, what stands beside it for pages without
 * scripts. That is text for a page's parser, and elements for the parser of a part that came later. */
function showPicture(video) {
  const beside = video.nextElementSibling;
  if (beside?.localName !== "noscript") return video.replaceWith(...video.querySelectorAll(":scope > :not(source)"));
  const holder = document.createElement("template");
  holder.innerHTML = beside.children.length ? beside.innerHTML : beside.textContent;
  beside.remove();
  video.replaceWith(holder.content);
}

/** Films of cards play while they are in view, and are loaded shortly before. */
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && !target.ended) start(target);
    else target.pause();
  }
}, { rootMargin: "200px" });

function start(video) {
  video.play().catch(() => {}); // not allowed, or paused meanwhile
}
