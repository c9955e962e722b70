"""What Chromium shows of a picture: the reference of `bench.pictures`.

The still picture is what an `<img>` paints, turned and in sRGB. The frames of an animation, their
times and the number of plays come from `ImageDecoder` (WebCodecs), which is the browser's own
decoder.
"""

import base64
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import PIL.Image

from gifster.imaging.delays import displayed_ms

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
)  # fmt: skip
#: So many frames of an animation are compared: its first, its last, and some between.
FRAMES = 5
#: How long the browser may take for one picture (ms).
TIMEOUT_MS = 20_000
_ORIGIN = "http://localhost"  # only there and with TLS there is an ImageDecoder

_SCRIPT = """
async ([type, side, most]) => {
  const scaled = (width, height) => {
    const scale = Math.min(1, side / Math.max(width, height));
    return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  };
  const painted = (what, width, height) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = scaled(width, height);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(what, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/png").split(",")[1];
  };
  const image = new Image();
  image.src = "/picture";
  try { await image.decode(); } catch { return null; }
  const shown = {
    width: image.naturalWidth, height: image.naturalHeight, frames: 1, delays: [], plays: 1,
    still: painted(image, image.naturalWidth, image.naturalHeight), later: [],
  };
  if (!await ImageDecoder.isTypeSupported(type)) return shown;
  const data = await (await fetch("/picture")).arrayBuffer();
  const decoder = new ImageDecoder({type, data});
  try {
    await decoder.tracks.ready;
    await decoder.completed;
    const track = decoder.tracks.selectedTrack;
    shown.frames = track.frameCount;
    shown.plays = track.repetitionCount === Infinity ? 0 : track.repetitionCount + 1;
    if (track.frameCount > 1) {
      const step = Math.max(1, (track.frameCount - 1) / (most - 1));
      const wanted = new Set();
      for (let at = 0; at < most; at++) {
        wanted.add(Math.min(Math.round(at * step), track.frameCount - 1));
      }
      for (let index = 0; index < track.frameCount; index++) {
        const { image: frame } = await decoder.decode({frameIndex: index});
        shown.delays.push(frame.duration / 1000);
        if (wanted.has(index) && index) {
          shown.later.push([index, painted(frame, frame.displayWidth, frame.displayHeight)]);
        }
        frame.close();
      }
    }
  } catch (error) { shown.error = String(error); }
  return shown;
}
"""


class Shown(NamedTuple):
    """What the browser shows.

    Attributes:
      width, height: of the upright picture (pixels).
      delays_ms: how long each frame is displayed; empty for a still.
      plays: how often an animation plays, 0 for ever.
      still: the picture that it shows first.
      later: some of the other frames, by their numbers.
    """

    width: int
    height: int
    frames: int
    delays_ms: list[float]
    plays: int
    still: PIL.Image.Image
    later: dict[int, PIL.Image.Image]


class Browser:
    """A page in Chromium that shows one picture after the other."""

    def __init__(self, page: Any) -> None:
        self._page, self._content, self._type = page, b"", ""
        page.set_default_timeout(TIMEOUT_MS)
        page.route(f"{_ORIGIN}/**", self._answer)
        page.goto(f"{_ORIGIN}/")

    def _answer(self, route: Any) -> None:
        if route.request.url.endswith("/picture"):
            route.fulfill(body=self._content, content_type=self._type)
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    def show(self, source: Path, content_type: str, side: int) -> Shown | None:
        """What it shows of a file; None if it shows nothing.

        Parameters:
          side: the longer side of the pictures that are returned, at most (pixels).
        """
        self._content, self._type = source.read_bytes(), content_type
        found = self._page.evaluate(_SCRIPT, [content_type, side, FRAMES])
        if found is None:
            return None
        return Shown(
            found["width"], found["height"], found["frames"],
            [displayed_ms(delay) for delay in found["delays"]] if found["frames"] > 1 else [],
            found["plays"], _opened(found["still"]),
            {number: _opened(picture) for number, picture in found["later"]},
        )  # fmt: skip


@contextmanager
def browser() -> Iterator[Browser | None]:
    """A Chromium, or None where none is installed."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        yield None
        return
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 a tool of the tests

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield Browser(chromium.new_page())
        chromium.close()


def _opened(encoded: str) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGBA")
