"""The animated GIFs that `bench.images` measures: those of a folder, or some that are made here."""

import os
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw

from gifster.imaging.errors import ImagingError
from gifster.imaging.probe import probe

CORPUS = Path(__file__).parent.parent.parent / "shared" / "corpus"
#: The kinds of the files in the corpus, by the beginnings of their names.
_KINDS = {
    "photographic": ("cat-", "rock-", "sd-", "iss634"),
    "screen": ("terminal-", "phone"),
    "flat": ("sticker-", "led7", "chi", "different-transparency", "dispose-"),
    "small": ("flag-", "loop-count"),
}
#: Of the others, those of fewer bytes are small.
_SMALL_BYTES = 50_000


def kind_of(source: Path) -> str:
    """What kind of animation a source is; of one that is not of the corpus, whether it is small."""
    is_small = source.stat().st_size < _SMALL_BYTES
    unknown = "small" if is_small else "other"
    return next(
        (kind for kind, starts in _KINDS.items() if source.name.startswith(starts)), unknown
    )


def find(folder: Path, made: Path) -> list[Path]:
    """The animated GIFs of a folder; if there are none, some that are made in another."""
    if found := [path for path in sorted(folder.glob("*.gif")) if _is_animated(path)]:
        return found
    for name, size, count in (
        ("film", (600, 340), 40), ("screen", (800, 500), 60), ("flat", (500, 500), 20)
    ):  # fmt: skip
        animation(size, count, name).rename(made / f"{name}.gif")
    return sorted(made.glob("*.gif"))


def _is_animated(path: Path) -> bool:
    try:
        return probe(path).frames > 1
    except ImagingError:
        return False


def animation(
    size: tuple[int, int], count: int, kind: str, grain: tuple[int, int] = (80, 40)
) -> Path:
    """Make a film of moving noise, a screen on which lines appear, or a moving disc.

    Parameters:
      grain: of how many specks the film is, in width and height; with fewer it is smoother.
    """
    frames = []
    chance = np.random.default_rng(1)
    film = PIL.Image.fromarray(chance.integers(0, 255, (*reversed(grain), 3), dtype=np.uint8))
    film = film.resize((size[0] * 2, size[1]), PIL.Image.Resampling.BICUBIC)
    screen = PIL.Image.new("RGB", size, (24, 26, 32))
    for number in range(count):
        if kind == "film":
            at = number * 4 % size[0]
            frame = film.crop((at, 0, at + size[0], size[1]))
        else:
            frame = screen.copy() if kind == "flat" else screen
            draw = PIL.ImageDraw.Draw(frame)
            at = number * 12 % size[1]
            if kind == "flat":
                draw.ellipse((at, at, at + 80, at + 80), (230, 60, 90))
            else:
                draw.text((10, at), f"line {number} of what scrolls by", (200, 220, 200))
        frames.append(frame.quantize(200, PIL.Image.Quantize.FASTOCTREE))
    handle, name = tempfile.mkstemp(suffix=".gif")
    os.close(handle)
    frames[0].save(name, save_all=True, append_images=frames[1:], duration=50, loop=0)
    return Path(name)
