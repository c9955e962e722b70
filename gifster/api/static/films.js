// Motion: people who prefer less of it see posters, each with a button; for everybody else films play.

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-play]");
  if (!button) return;
  const poster = button.closest(".picture, .whole").querySelector("source[media]");
  const plays = button.getAttribute("aria-pressed") === "true";
  poster.media = plays ? "(prefers-reduced-motion: reduce)" : "not all";
  button.setAttribute("aria-pressed", String(!plays));
});

/** Play the films within a part of the page as often as each should loop; show pictures where films cannot play. */
export function prepare(within) {
  within.querySelectorAll("video[data-plays]").forEach((video) => {
    const instead = () => video.replaceWith(...video.children);
    if (!video.canPlayType("video/mp4")) return instead();
    video.addEventListener("error", instead);
    let left = Number(video.dataset.plays) - 1;
    video.addEventListener("ended", () => { if (left-- > 0) video.play(); });
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {});
  });
}
