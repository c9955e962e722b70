"""What our engine makes of a picture, and how far that is from what a browser shows."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import PIL.Image
import PIL.ImageSequence
from PIL import ImageChops, ImageStat

from bench.picture_browser import Shown
from gifster import imaging
from gifster.imaging import Image, ImageInfo, ImagingError
from gifster.imaging.delays import displayed_ms
from gifster.imaging.probe import SNIFF_BYTES, probe, sniff
from gifster.uploads import UploadError
from gifster.uploads.files.validation import Limits

#: The pictures that are compared have at most so many pixels on their longer side.
SIDE = 1000
#: Longer than this is a hang: the limits of the sandbox have failed (seconds).
HANG_S = 330
#: What counts as another picture: the mean difference in the worst channel (0 to 255), or the part
#: of the pixels that are `FAR_OFF`. Resizing and rounding cause less.
MEAN_OFF, FAR_OFF, MANY = 4.0, 40, 0.01
#: The application's versions beside the pictures that are compared.
VERSIONS = {
    "poster": Image().first_frame().fit(480, 480).convert("webp"),
    "thumb": Image().fit(220, 220),
    "preview": Image().fit(480, 480),
}


@dataclass
class Outcome:
    """What became of one picture.

    Attributes:
      state: `taken`, `refused` (before it is decoded), `failed` (by the decoder), or `FAULT`:
        a crash, a hang or an error that is no answer to a picture.
      code, message: why, if it was not taken.
      differs: what a browser shows differently, each with the two values.
      off: how far the pictures are from the browser's (0 to 255).
    """

    source: Path
    kind: str
    state: str = "taken"
    code: str = ""
    message: str = ""
    info: ImageInfo | None = None
    seconds: float = 0.0
    shown: bool | None = None
    differs: dict[str, str] = field(default_factory=dict)
    off: float = 0.0


def kind_of(source: Path) -> str:
    """The format that a file's first bytes show; its extension if they show none of ours."""
    with source.open("rb") as file:
        found = sniff(file.read(SNIFF_BYTES))
    if found.startswith("image/"):
        return found.removeprefix("image/").upper()
    return source.suffix.lstrip(".").upper() or "?"


def render(source: Path, folder: Path) -> Outcome:
    """Take a picture as an upload is taken, and make its versions in the sandbox.

    Parameters:
      folder: gets the versions, and `still` and `moving` without loss for the comparison.
    """
    outcome = Outcome(source, kind_of(source))
    started = time.monotonic()
    try:
        outcome.state = "refused"
        outcome.info = info = probe(source, Limits.max_frames)
        with source.open("rb") as file:
            Limits.check_complete(info.bytes, file.read(SNIFF_BYTES))
        Limits.check_info(info)
        outcome.kind += " moving" if info.frames > 1 else ""
        outcome.state = "failed"
        recipes = {folder / name: recipe for name, recipe in VERSIONS.items()}
        exact = _exact(info)
        recipes[folder / "still"] = exact.first_frame()
        if info.frames > 1:
            recipes[folder / "moving"] = exact
        for _ in imaging.render(source, info, recipes):
            pass
        outcome.state = "taken"
    except (ImagingError, UploadError) as error:
        outcome.code, outcome.message = error.code, str(error)
        if "crashes" in outcome.message:
            outcome.state = "FAULT"
    except Exception as error:  # noqa: BLE001 exactly these are looked for
        outcome.state, outcome.code, outcome.message = "FAULT", "internal", repr(error)
    outcome.seconds = time.monotonic() - started
    if outcome.seconds > HANG_S:
        outcome.state, outcome.code = "FAULT", "hang"
    return outcome


def _exact(info: ImageInfo) -> Image:
    """A recipe without loss. A PNG gets a border, as without one it would be a copy of its source,
    or would have no more bytes than that; `_compare_pictures()` cuts it off."""
    exact = Image().fit(SIDE, SIDE).convert("png")
    if info.content_type != "image/png":
        return exact
    width, height = _size(info)
    return exact.pad(max(width, info.width), max(height, info.height) + 1, gravity="northwest")


def _size(info: ImageInfo) -> tuple[int, int]:
    """The size in which a picture is compared (pixels)."""
    return Image().fit(SIDE, SIDE).plan(info.width, info.height).size


def compare(outcome: Outcome, folder: Path, shown: Shown | None) -> None:
    """Note what a browser shows differently.

    Parameters:
      folder: where `render()` wrote.
      shown: what the browser shows; None if it shows nothing.
    """
    outcome.shown = shown is not None
    if outcome.state != "taken" or outcome.info is None or shown is None:
        return
    info, differs = outcome.info, outcome.differs
    if (info.width, info.height) != (shown.width, shown.height):
        differs["size"] = f"{info.width}×{info.height}, not {shown.width}×{shown.height}"
    if info.frames != shown.frames:
        differs["frames"] = f"{info.frames}, not {shown.frames}"
    elif info.frames > 1:
        duration = sum(shown.delays_ms)
        if abs(info.duration_ms - duration) > 1 + 0.01 * duration:
            differs["duration"] = f"{info.duration_ms} ms, not {duration:.0f} ms"
        plays = 1 if info.loop is None else info.loop
        if plays != shown.plays:
            differs["plays"] = f"{plays}, not {shown.plays}"
    _compare_pictures(outcome, folder, shown)


def _compare_pictures(outcome: Outcome, folder: Path, shown: Shown) -> None:
    assert outcome.info is not None
    size = _size(outcome.info)
    with PIL.Image.open(folder / "still") as still:
        _note(outcome, "picture", off(still.convert("RGBA").crop((0, 0, *size)), shown.still))
    if not (shown.later and (folder / "moving").exists()):
        return
    middles, now = {}, 0.0
    for number, delay in enumerate(shown.delays_ms):
        middles[number], now = now + delay / 2, now + delay
    ours = at_moments(folder / "moving", [middles[number] for number in shown.later])
    ours = [picture.crop((0, 0, *size)) for picture in ours]
    pairs = zip(ours, shown.later.values(), strict=True)
    _note(outcome, "later", max((off(one, other) for one, other in pairs), key=lambda o: o[0]))


def _note(outcome: Outcome, what: str, measured: tuple[float, float]) -> None:
    mean, share = measured
    outcome.off = max(outcome.off, mean)
    if mean > MEAN_OFF or share > MANY:
        outcome.differs[what] = f"off by {mean:.1f}, {share:.1%} of the pixels far off"


def off(one: PIL.Image.Image, other: PIL.Image.Image) -> tuple[float, float]:
    """How far two pictures (RGBA) differ over white and over black: the mean of the worst channel
    (0 to 255), and the part of the pixels that are far off (0 to 1)."""
    if one.size != other.size:
        if abs(one.width - other.width) > 1 or abs(one.height - other.height) > 1:
            return 255.0, 1.0
        one = one.resize(other.size)
    mean = share = 0.0
    for behind in ("white", "black"):
        pictures = []
        for picture in (one, other):
            under = PIL.Image.new("RGBA", picture.size, behind)
            under.alpha_composite(picture)
            pictures.append(under.convert("RGB"))
        red, green, blue = ImageChops.difference(*pictures).split()
        worst = ImageChops.lighter(ImageChops.lighter(red, green), blue)
        mean = max(mean, ImageStat.Stat(worst).mean[0])
        far = sum(worst.histogram()[FAR_OFF:])
        share = max(share, far / (worst.width * worst.height))
    return mean, share


def at_moments(path: Path, moments_ms: list[float]) -> list[PIL.Image.Image]:
    """The pictures of an animation at these moments, in their order."""
    found: dict[float, PIL.Image.Image] = {}
    now, picture = 0.0, None
    with PIL.Image.open(path) as image:
        for frame in PIL.ImageSequence.Iterator(image):
            picture = frame.convert("RGBA")
            now += displayed_ms(frame.info.get("duration") or 0)
            found |= {at: picture for at in moments_ms if at not in found and at < now}
    return [found.get(at, picture) for at in moments_ms]
