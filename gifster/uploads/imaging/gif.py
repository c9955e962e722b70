"""Animated GIFs with as few bytes as nobody sees.

The palette has as many colours as the picture needs, and pixels that hardly change keep their
colour. If that is still much for what it shows, there is noise or dithering in it, which costs
bytes and is not missed: then it is made again, less exact, by as much as it is too much.
"""

from pathlib import Path
from typing import NamedTuple

from gifster.uploads.imaging.gif_writer import GifWriter
from gifster.uploads.imaging.palette import Tiles
from gifster.uploads.imaging.parts import Play


class _Effort(NamedTuple):
    """How exact to be: the mean square error that the palette may cost, and the most by which the
    colour of a pixel may change without being drawn again (both in steps of 0 to 255)."""

    error: float
    tolerance: int


_EXACT, _LESS_EXACT, _ROUGH = _Effort(7, 3), _Effort(25, 5), _Effort(60, 8)
#: What has so many times its budget at most is made less exact; with more, rough.
_A_LITTLE = 1.3


def write(target: Path, play: Play, loop: int | None, tiles: Tiles, budget: float) -> list[int]:
    """Write a GIF.

    Parameters:
      loop: how often it plays, 0 for ever, None for once.
      tiles: what the palette is chosen from.
      budget: bytes; with more it is made once more, less exact.

    Returns:
      how many bytes it has after each frame of the play.
    """
    grown = _write(target, play, loop, tiles, _EXACT)
    size = target.stat().st_size
    if size <= budget:
        return grown
    return _write(target, play, loop, tiles, _LESS_EXACT if size <= _A_LITTLE * budget else _ROUGH)


def _write(target: Path, play: Play, loop: int | None, tiles: Tiles, effort: _Effort) -> list[int]:
    grown: list[int] = []
    with target.open("wb") as file:
        writer = GifWriter(file, play.size, tiles.palette(effort.error), effort.tolerance)
        writer.begin(loop)
        for part, delay_cs in play:
            writer.add(part, delay_cs)
            grown.append(file.tell())
        writer.end()
    return grown
