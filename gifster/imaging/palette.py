"""Choose the palette of an animation: as few colours as its pictures allow."""

import bisect
import math
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from operator import sub

import PIL.Image
from PIL import ImageChops
from PIL.Image import Resampling

from gifster.imaging.colors_met import ColorsMet
from gifster.imaging.masks import largest_difference, mask_above, opaque_mask, pixels_under
from gifster.imaging.nearest import NearestColors, are_greys, cube
from gifster.imaging.probe import ImageInfo
from gifster.imaging.visible import VisibleError

#: The palette is chosen from so many frames, spread over the animation, as tiles of so many pixels.
_TILES, _TILE_PIXELS = 12, 4_000
MAX_COLORS, _COLORS = 255, (8, 16, 32, 64, 128, 240)
#: k-means stops when at most one pixel in so many changes its colour.
_SETTLED = 50
#: Among few colours, those that differ by no more than this in any channel look the same. Among
#: many they form a gradient.
_SAME, _FEW_COLORS = 2, 64
_NO_DITHER = PIL.Image.Dither.NONE
#: A colour is lost if its pixels are off by more than this, and there are so many of them. Lost
#: colours get at most so many entries more.
_FAR_OFF, _MIN_RARE_PIXELS, _MAX_RARE_COLORS = 36, 4, 15
#: A palette of greys may cause so many times the error of others.
_OF_GREYS = 0.2
#: Of lost colours, those that differ by no more than this share an entry.
_CLOSE = 18


class PaletteSamples:
    """Some frames of an animation as tiles, from which its palette is chosen.

    Parameters:
      info: facts of the source.
      exact: colours that the palette must have, such as a background's.
    """

    def __init__(self, info: ImageInfo, exact: Sequence[tuple[int, int, int]] = ()) -> None:
        self._exact = bytes(chain.from_iterable(dict.fromkeys(exact)))[: 3 * _MAX_RARE_COLORS]
        last = max(1, min(_TILES, info.frames) - 1)
        self._sampled = {round(number * (info.frames - 1) / last) for number in range(_TILES)}
        #: By frame number: a tile of averaged pixels, and one of exact pixels.
        self._tiles: dict[int, tuple[PIL.Image.Image, PIL.Image.Image]] = {}
        self._met = ColorsMet()
        self._palettes: dict[tuple[float, int], bytes] = {}
        self._sheets: _Sheets | None = None

    def add(self, number: int, picture: PIL.Image.Image, changed: PIL.Image.Image | None) -> None:
        """Keep a tile of a frame, if the frame is one of the samples, and the colours of what
        changes in it."""
        if changed is not None:
            self._met.add(changed)
        if number not in self._sampled or number in self._tiles:
            return
        scale = min(1.0, math.sqrt(_TILE_PIXELS / (picture.width * picture.height)))
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        averaged = _opaque(picture.resize(size, Resampling.HAMMING))
        exact = _opaque(picture.resize(size, Resampling.NEAREST))
        if averaged is not None and exact is not None:
            self._tiles[number] = averaged, exact

    def palette(self, error: float, most_colors: int = MAX_COLORS) -> bytes:
        """The smallest palette within a visible error (`visible`), or the best of so many colours;
        3 bytes for each colour."""
        if not self._tiles:
            return self._exact or bytes(3)  # all frames are transparent
        key = error, most_colors
        if key not in self._palettes:
            self._palettes[key] = _palette(
                self._all, error, most_colors, self._exact, self._met.all
            )
        return self._palettes[key]

    @property
    def smoothness(self) -> float:
        """How much of an error shows in these frames: 1 where they are flat, and less where they
        are busy."""
        return self._all.visible.mean_weight if self._tiles else 1.0

    @property
    def _all(self) -> "_Sheets":
        if self._sheets is None:
            self._sheets = _Sheets(*map(_sheet, zip(*self._tiles.values(), strict=True)))
        return self._sheets


class _Sheets:
    """All tiles: averaged, exact, and a quarter of the averaged pixels. Those are enough to find
    out how many colours are needed."""

    def __init__(self, averaged: PIL.Image.Image, exact: PIL.Image.Image) -> None:
        self.averaged, self.exact = averaged, exact
        size = max(1, averaged.width // 2), max(1, averaged.height // 2)
        self.rough = averaged.resize(size, Resampling.NEAREST)
        self.visible = VisibleError(self.rough)

    @cached_property
    def are_greys(self) -> bool:
        """Whether nothing has a colour."""
        return are_greys(self.rough.tobytes())

    def error(self, colors: int) -> float:
        """What shows of the error that so many colours cause."""
        return self.visible.of(_reduced(self.rough, colors).convert("RGB"))


def _opaque(tile: PIL.Image.Image) -> PIL.Image.Image | None:
    """A tile whose transparent pixels have one of its colours; None if all are transparent."""
    if tile.mode != "RGBA":
        return tile
    opaque = opaque_mask(tile)
    first = opaque.tobytes().find(255)
    if first < 0:
        return None
    tile = tile.convert("RGB")
    color = tile.getpixel((first % tile.width, first // tile.width))
    tile.paste(color, mask=ImageChops.invert(opaque))  # type: ignore[arg-type]
    return tile


def _sheet(tiles: Sequence[PIL.Image.Image]) -> PIL.Image.Image:
    """All tiles in one picture."""
    width, height = tiles[0].size
    sheet = PIL.Image.new("RGB", (width, height * len(tiles)))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (0, number * height))
    return sheet


def _palette(sheets: _Sheets, error: float, most_colors: int, beside: bytes, met: bytes) -> bytes:
    """The palette for these tiles, and the colours that it must have beside.

    Parameters:
      met: the colours of all frames, which may be lost by choosing it from some.
    """
    if sheets.are_greys and are_greys(beside + met):  # whose nearest level is found
        error *= _OF_GREYS
    fewer, exact = _COLORS[:-1], sheets.exact
    colors = _COLORS[bisect.bisect_left(fewer, -error, key=lambda many: -sheets.error(many))]
    room = max(1, most_colors - len(beside) // 3)
    palette = _distinct(_reduced(sheets.averaged, min(colors, room)), beside)
    # Averages lose the colours of thin lines, and median cut those of small areas. Such colours get
    # entries of their own.
    rare = _lost(palette, exact)
    if met:
        every = PIL.Image.frombytes("RGB", (len(met) // 3, 1), met)
        rare += _MIN_RARE_PIXELS * _lost(palette, every)
    room = min(_MAX_RARE_COLORS, most_colors - len(palette) // 3)
    count = len(rare) // 3
    if count >= _MIN_RARE_PIXELS and room > 0:
        row = PIL.Image.frombytes("RGB", (count, 1), rare)
        palette += _apart(bytes((_reduced(row, room).getpalette() or [])[: 3 * room]))
    return palette


def _lost(palette: bytes, picture: PIL.Image.Image) -> bytes:
    """The pixels (RGB) whose colours a palette lacks."""
    off = largest_difference(picture, NearestColors(palette).reduced(picture))
    row = pixels_under(mask_above(off, _FAR_OFF), picture)
    return b"" if row is None else row.tobytes()


def _apart(palette: bytes) -> bytes:
    """A palette without colours that are close to one before."""
    kept: list[bytes] = []
    for at in range(0, len(palette), 3):
        color = palette[at : at + 3]
        if not any(max(map(abs, map(sub, color, other))) <= _CLOSE for other in kept):
            kept.append(color)
    return b"".join(kept)


def _distinct(reduced: PIL.Image.Image, beside: bytes) -> bytes:
    """Some colours, and after them the palette of a picture, the commonest colour first.

    It is without colours that look the same as these or as a commoner one: the noise or dithering
    of a flat area would flicker between them. And it is without those that would not be found.
    """
    table = bytes(reduced.getpalette() or [])
    counts = reduced.histogram()
    colors = [tuple(table[at : at + 3]) for at in range(0, len(table), 3)]
    are_few = len(colors) <= _FEW_COLORS
    exact = [tuple(beside[at : at + 3]) for at in range(0, len(beside), 3)]
    kept: list[tuple[int, ...]] = []
    cubes = {cube(color) for color in exact}
    for _, color in sorted(zip(counts, colors, strict=False), reverse=True):
        others = exact + kept if are_few else exact
        is_known = any(max(map(abs, map(sub, color, other))) <= _SAME for other in others)
        if not is_known and (cube(color) not in cubes or are_greys(beside + table)):
            kept.append(color)
            cubes.add(cube(color))
    return beside + bytes(chain.from_iterable(kept))


def _reduced(picture: PIL.Image.Image, colors: int) -> PIL.Image.Image:
    """A picture in so many colours, chosen by median cut and improved by k-means."""
    changing = picture.width * picture.height // _SETTLED
    return picture.quantize(colors, PIL.Image.Quantize.MEDIANCUT, changing, dither=_NO_DITHER)
