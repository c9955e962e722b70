"""Choose the palette of an animation: as few colours as its pictures allow."""

import bisect
import math
from collections.abc import Sequence
from itertools import chain
from operator import sub

import PIL.Image
from PIL import ImageChops, ImageStat
from PIL.Image import Resampling

from gifster.imaging.masks import largest_difference, mask_above, opaque_mask, pixels_under
from gifster.imaging.probe import ImageInfo

#: The palette is chosen from so many frames, spread over the animation, as tiles of so many pixels.
_TILES, _TILE_PIXELS = 12, 4_000
_COLORS = (16, 32, 64, 128, 240)
#: k-means stops when at most one pixel in so many changes its colour.
_SETTLED = 50
#: Among few colours, those that differ by no more than this in any channel look the same. Among
#: many they form a gradient.
_SAME, _FEW_COLORS = 2, 64
_NO_DITHER = PIL.Image.Dither.NONE
#: A colour is lost if its pixels are off by more than this, and there are so many of them. Lost
#: colours get at most so many entries more.
_FAR_OFF, _MIN_RARE_PIXELS, _MAX_RARE_COLORS = 36, 4, 15


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
        self._palettes: dict[float, bytes] = {}

    def add(self, number: int, picture: PIL.Image.Image) -> None:
        """Keep a tile of a frame, if the frame is one of the samples."""
        if number not in self._sampled or number in self._tiles:
            return
        scale = min(1.0, math.sqrt(_TILE_PIXELS / (picture.width * picture.height)))
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        averaged = _opaque(picture.resize(size, Resampling.HAMMING))
        exact = _opaque(picture.resize(size, Resampling.NEAREST))
        if averaged is not None and exact is not None:
            self._tiles[number] = averaged, exact

    def palette(self, error: float) -> bytes:
        """The smallest palette within a mean square error; 3 bytes for each colour."""
        if not self._tiles:
            return self._exact or bytes(3)  # all frames are transparent
        if error not in self._palettes:
            averaged, exact = map(_sheet, zip(*self._tiles.values(), strict=True))
            self._palettes[error] = _palette(averaged, exact, error, self._exact)
        return self._palettes[error]


def quantizer(palette: bytes) -> PIL.Image.Image:
    """A palette (RGB, 3 bytes for each colour) in the form that `to_palette()` takes."""
    made = PIL.Image.new("P", (1, 1))
    made.putpalette(palette)
    return made


def to_palette(picture: PIL.Image.Image, quantizer: PIL.Image.Image) -> PIL.Image.Image:
    """An RGB picture in the nearest colours of a palette (P)."""
    return picture.quantize(palette=quantizer, dither=_NO_DITHER)


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


def _palette(
    averaged: PIL.Image.Image, exact: PIL.Image.Image, error: float, beside: bytes
) -> bytes:
    """The palette for these tiles, and the colours that it must have beside."""
    # A quarter of the pixels is enough to find out how many colours are needed.
    size = max(1, averaged.width // 2), max(1, averaged.height // 2)
    rough = averaged.resize(size, Resampling.NEAREST)
    fewer = _COLORS[:-1]
    colors = _COLORS[bisect.bisect_left(fewer, -error, key=lambda many: -_error(rough, many))]
    palette = _distinct(_reduced(averaged, colors), beside)
    # Averages lose the colours of thin lines, and median cut those of small areas. Such colours get
    # entries of their own.
    found = to_palette(exact, quantizer(palette))
    far_off = mask_above(largest_difference(exact, found.convert("RGB")), _FAR_OFF)
    room = min(_MAX_RARE_COLORS, 255 - len(palette) // 3)
    rare = pixels_under(far_off, exact)
    if rare is not None and rare.width >= _MIN_RARE_PIXELS and room > 0:
        palette += bytes((_reduced(rare, room).getpalette() or [])[: 3 * room])
    return palette


def _distinct(reduced: PIL.Image.Image, beside: bytes) -> bytes:
    """Some colours, and after them the palette of a picture without those that look the same as
    these or as a commoner one: the noise or dithering of a flat area would flicker between them."""
    table = reduced.getpalette() or []
    counts = reduced.histogram()
    colors = [tuple(table[at : at + 3]) for at in range(0, len(table), 3)]
    are_few = len(colors) <= _FEW_COLORS
    if not are_few and not beside:
        return bytes(table)
    exact = [tuple(beside[at : at + 3]) for at in range(0, len(beside), 3)]
    kept: list[tuple[int, ...]] = []
    for _, color in sorted(zip(counts, colors, strict=False), reverse=True):
        others = exact + kept if are_few else exact
        if not any(max(map(abs, map(sub, color, other))) <= _SAME for other in others):
            kept.append(color)
    return beside + bytes(chain.from_iterable(kept))


def _error(picture: PIL.Image.Image, colors: int) -> float:
    """The mean square error that so many colours cause."""
    off = ImageChops.difference(picture, _reduced(picture, colors).convert("RGB"))
    return sum(ImageStat.Stat(off).sum2) / (3 * picture.width * picture.height)


def _reduced(picture: PIL.Image.Image, colors: int) -> PIL.Image.Image:
    """A picture in so many colours, chosen by median cut and improved by k-means."""
    changing = picture.width * picture.height // _SETTLED
    return picture.quantize(colors, PIL.Image.Quantize.MEDIANCUT, changing, dither=_NO_DITHER)
