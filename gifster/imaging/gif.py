"""Animated GIFs with as few bytes as nobody sees.

The palette has as many colours as the picture needs, and pixels that hardly change keep their
colour. If that is still much for what it shows, there is noise or dithering in it, which costs
bytes and is not missed: then it is made again, less exact, by as much as it is too much.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gifster.imaging.boxes import Box, union
from gifster.imaging.gif_writer import GifWriter
from gifster.imaging.palette import Tiles
from gifster.imaging.parts import NOTHING, Canvas, Part, Play


class _Effort(NamedTuple):
    """How exact to be: the mean square error that the palette may cost, and the most by which the
    colour of a pixel may change without being drawn again (both in steps of 0 to 255)."""

    error: float
    tolerance: int


_EXACT, _LESS_EXACT, _ROUGH = _Effort(7, 3), _Effort(25, 5), _Effort(100, 12)
#: What is over its budget when so much of it is written is made less exact; what is so before,
#: rough.
_LATE = 3 / 4
#: Browsers show what is shorter for ten times as long.
_SHORTEST_CS = 2


def write(target: Path, play: Play, loop: int | None, tiles: Tiles, budget: float) -> list[int]:
    """Write a GIF.

    Parameters:
      loop: how often it plays, 0 for ever, None for once.
      tiles: what the palette is chosen from.
      budget: bytes; with more it is made once more, less exact.

    Returns:
      how many bytes it has after each frame of the play.
    """
    grown = _write(target, play, loop, tiles, _EXACT, budget)
    if grown[-1] <= budget:
        return grown
    effort = _LESS_EXACT if len(grown) > _LATE * len(play) else _ROUGH
    return _write(target, play, loop, tiles, effort)


def _write(  # noqa: PLR0913, PLR0917
    target: Path,
    play: Play,
    loop: int | None,
    tiles: Tiles,
    effort: _Effort,
    budget: float = math.inf,
) -> list[int]:
    """Write it in one way, until it has more bytes than it may."""
    grown: list[int] = []
    with target.open("wb") as file:
        writer = GifWriter(file, play.size, tiles.palette(effort.error), effort.tolerance)
        writer.begin(loop)
        for part, delay_cs in _in_centiseconds(play):
            writer.add(part, delay_cs)
            grown.append(file.tell())
            if grown[-1] > budget:
                break
        else:
            writer.end()
            grown[-1] = file.tell()
    return grown


def _in_centiseconds(play: Play) -> Iterator[tuple[Part, int]]:
    """The same frames at the times that a GIF can say. What is too short for it comes with the next
    frame, and is nothing itself."""
    canvas, hurries = Canvas(play.size), play.shortest_ms < 10 * _SHORTEST_CS
    held: Box | None = None
    now_ms, told_cs = 0, 0
    for number, (part, delay_ms) in enumerate(play):
        changed = held if part.picture is None else union(part.box, held)
        if hurries:
            canvas.paint(part)
        now_ms += delay_ms
        delay_cs = round(now_ms / 10) - told_cs
        if delay_cs < _SHORTEST_CS and 0 < number < len(play) - 1:
            held = changed
            yield NOTHING, 0
            continue
        delay_cs = max(delay_cs, _SHORTEST_CS)
        told_cs += delay_cs
        if held is None or changed is None:
            yield part, delay_cs
        else:
            yield Part(canvas.whole.crop(changed), changed), delay_cs
            held = None
