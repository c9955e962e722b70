"""Shrink drawings of few colours without averaging: each pixel is one of the source.

Averaging gives a drawing more colours and softer edges, and so more bytes than it had. One of few
bytes would have to lose nearly all its colours for that. This way it keeps them, as it keeps its
hard edges.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import PIL.Image

from gifster.imaging.frames import frames
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.patches import Patch, Recording, Track
from gifster.imaging.plan import Plan
from gifster.imaging.scaler import Scaler
from gifster.imaging.timing import Timing

_MAX_COLORS = 255


class Sampled(NamedTuple):
    """A drawing that was shrunk, and its colours, the commonest first (RGB, 3 bytes for each)."""

    track: Track
    palette: bytes


@contextmanager
def sampled(source: Path, info: ImageInfo, plan: Plan, timing: Timing) -> Iterator[Sampled | None]:
    """Decode an animation again, and shrink it so; None if it has many colours.

    Raises:
      Unreadable: the source cannot be decoded.
    """
    scaler, counts = Scaler(plan, (), info, averages=False), _Counts()
    with Recording() as recording:
        for number, frame in enumerate(frames(source, info, timing)):
            patch = scaler.patch(number, frame)
            recording.add(frame.delay_ms, [patch])
            if not counts.add(patch.picture):
                yield None
                return
        yield Sampled(recording.track(0, scaler.size), counts.palette)


@contextmanager
def of_picture(picture: PIL.Image.Image) -> Iterator[Sampled | None]:
    """A picture (RGB or RGBA) that was shrunk so, as an animation of one frame."""
    counts = _Counts()
    with Recording() as recording:
        recording.add(0, [Patch(picture, (0, 0, *picture.size))])
        few = counts.add(picture)
        yield Sampled(recording.track(0, picture.size), counts.palette) if few else None


class _Counts:
    """How many pixels have each colour, in pictures that are added one by one."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, ...]] = Counter()

    def add(self, picture: PIL.Image.Image | None) -> bool:
        """Count the colours of a picture. Returns whether they are few so far."""
        if picture is None:
            return True
        counts = picture.convert("RGB").getcolors(_MAX_COLORS)
        for count, color in counts or ():
            self._counts[color] += count  # type: ignore[index]
        return counts is not None and len(self._counts) <= _MAX_COLORS

    @property
    def palette(self) -> bytes:
        """All of them, the commonest first (RGB, 3 bytes for each)."""
        return bytes(chain.from_iterable(color for color, _ in self._counts.most_common()))
