"""The files that `bench.whole` uploads: films, screens, flat art, small animations and stills."""

import io
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import PIL.Image

from bench.image_sources import animation
from gifster.cli import demo

#: The films, screens and flat drawings: kind, size in pixels, frames.
ANIMATIONS = (
    ("film", (500, 280), 24), ("film", (640, 360), 30), ("film", (800, 450), 24),
    ("screen", (640, 400), 60), ("screen", (800, 500), 60), ("screen", (1200, 600), 120),
    ("flat", (360, 360), 20), ("flat", (500, 500), 20), ("flat", (800, 800), 24),
    ("flat", (96, 64), 12), ("film", (120, 80), 12), ("flat", (48, 48), 8),
)  # fmt: skip
#: A frame of such a film has about as many bytes as one of a real film.
FILM_GRAIN = (8, 5)
STILLS = (("gif", (500, 400)), ("png", (900, 600)), ("jpeg", (1600, 1200)), ("jpeg", (640, 480)))
SUFFIXES = {".gif", ".png", ".jpg", ".jpeg", ".webp"}


def mixed(count: int, folder: Path | None = None) -> list[tuple[str, bytes]]:
    """Names and contents of files to upload, each kind as often as the others.

    Parameters:
      folder: take the pictures of this folder instead of drawing some.

    Raises:
      LookupError: the folder has no pictures.
    """
    kinds = list(_drawn() if folder is None else _found(folder))
    if not kinds:
        raise LookupError(f"there are no pictures in {folder}")
    # Neighbours in the list are of a kind; a step that shares no divisor mixes them.
    step = next(n for n in itertools.count(7) if math.gcd(n, len(kinds)) == 1)
    order = [kinds[number * step % len(kinds)] for number in range(len(kinds))]
    return list(itertools.islice(itertools.cycle(order), count))


def _found(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            yield path.name, path.read_bytes()


def _drawn() -> Iterator[tuple[str, bytes]]:
    for kind, size, frames in ANIMATIONS:
        path = animation(size, frames, kind, FILM_GRAIN)
        yield f"{kind}-{size[0]}x{size[1]}.gif", path.read_bytes()
        path.unlink()
    for number, (name, paint) in enumerate(demo.KINDS):
        yield f"{name.lower()}.gif", demo.animation(paint, number / len(demo.KINDS))
    for kind, size in STILLS:
        path = animation(size, 2, "film")
        picture, buffer = _first_frame(path), io.BytesIO()
        picture.save(buffer, kind)
        path.unlink()
        yield f"still-{size[0]}x{size[1]}.{kind}", buffer.getvalue()


def _first_frame(path: Path) -> PIL.Image.Image:
    with PIL.Image.open(path) as picture:
        return picture.convert("RGB")
