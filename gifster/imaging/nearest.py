"""Find the nearest colours of a palette, as exactly as Pillow's C code allows.

Pillow looks up one colour of the palette for each cube of 4×4×4 colours, and takes the one that is
nearest to the darkest corner of the cube: a white of 255 got the palette's 250 rather than its 255.
So the colours are looked up in a palette that is as much darker as the corner is darker than the
middle of the cube. Greys are looked up exactly.

In the dark, half a cube shows: SSIM rates a grey of 2 instead of black at 0.6. So colours of the
dark half of all channels can be looked up in cubes of 2×2×2, by doubling all values.
"""

import bisect
from collections.abc import Iterable
from itertools import pairwise

import PIL.Image

from gifster.imaging.masks import mapped, mapped_colors

#: How many values of a channel are in one cube, as a number of bits.
_CUBE_BITS = 2
_SAME = bytearray(range(256))
_NO_DITHER = PIL.Image.Dither.NONE
#: A palette of at least so many colours, this part of them dark, is looked up finely.
_MANY_COLORS, _DARK_PART = 64, 0.25
#: A colour is dark if all channels are below this.
_DARK = 128
#: Twice the values of each channel, and for those of a palette what `_DARKER` is for its own.
_DOUBLED = 3 * bytes(min(255, 2 * value) for value in range(256))
_DOUBLED_DARKER = bytes(max(0, 2 * value - 1) for value in range(_DARK)) + bytes(_DARK)
#: 1.5 less, rounded: what is nearest to the corner is then nearest to the middle.
_DARKER = bytes(max(0, value - (1, 1, 2, 2)[value % 4]) for value in range(256))


def cube(color: tuple[int, ...], *, finely: bool = False) -> tuple[int, ...]:
    """The cube of a colour. Colours of one cube are not told apart, unless all are greys."""
    if finely and _is_dark(color):
        return *(value >> _CUBE_BITS - 1 for value in color), _DARK
    return tuple(value >> _CUBE_BITS for value in color)


def are_greys(palette: bytes) -> bool:
    """Whether a palette (RGB, 3 bytes for each colour) has only greys."""
    return palette[::3] == palette[1::3] == palette[2::3]


def has_many_dark(palette: bytes) -> bool:
    """Whether a palette has so many dark colours that they are worth a second look."""
    count = len(palette) // 3
    return count >= _MANY_COLORS and sum(map(_is_dark, _colors(palette))) >= _DARK_PART * count


class NearestColors:
    """Reduces pictures to a palette (RGB, 3 bytes for each colour).

    Of colours in one cube, the first is found.

    Parameters:
      finely: whether dark colours are looked up a second time, if there are many.
    """

    def __init__(self, palette: bytes, *, finely: bool = False) -> None:
        self._palette = palette
        self._darker = PIL.Image.new("P", (1, 1))
        self._darker.putpalette(palette.translate(_DARKER))
        self._of_greys = _of_greys(palette[::3]) if are_greys(palette) else None
        self._dark = _DarkColors(palette) if finely and has_many_dark(palette) else None

    def indices(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        """The numbers (L) of the nearest colours of an RGB picture."""
        if self._of_greys is not None:
            return mapped(picture.convert("L"), self._of_greys)
        found = picture.quantize(palette=self._darker, dither=_NO_DITHER)
        indices = mapped(found, _SAME)
        if self._dark is not None:
            self._dark.refine(indices, picture)
        return indices

    def reduced(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        """An RGB picture in the nearest colours (RGB)."""
        made = self.indices(picture)
        made.putpalette(self._palette)
        return made.convert("RGB")


class _DarkColors:
    """The dark colours of a palette, which tells them apart more finely than Pillow does."""

    def __init__(self, palette: bytes) -> None:
        colors = list(_colors(palette))
        dark = [number for number, color in enumerate(colors) if _is_dark(color)]
        #: Which numbers are those of dark colours, and the number of each of them.
        self._are_dark, self._numbers = bytearray(256), bytearray(256)
        for at, number in enumerate(dark):
            self._are_dark[number], self._numbers[at] = 255, number
        self._doubled = PIL.Image.new("P", (1, 1))
        of_dark = b"".join([bytes(colors[number]) for number in dark])
        self._doubled.putpalette(of_dark.translate(_DOUBLED_DARKER))

    def refine(self, indices: PIL.Image.Image, picture: PIL.Image.Image) -> None:
        """Look up again the pixels that got the number of a dark colour."""
        mask = mapped(indices, self._are_dark)
        if mask.getbbox() is not None:
            doubled = mapped_colors(picture, _DOUBLED)
            found = doubled.quantize(palette=self._doubled, dither=_NO_DITHER)
            indices.paste(mapped(found, self._numbers), mask=mask)


def _colors(palette: bytes) -> Iterable[tuple[int, ...]]:
    return zip(palette[::3], palette[1::3], palette[2::3], strict=True)


def _is_dark(color: tuple[int, ...]) -> bool:
    return max(color) < _DARK


def _of_greys(levels: bytes) -> bytearray:
    """For each grey the number of the nearest level."""
    ordered = sorted(range(len(levels)), key=levels.__getitem__)
    middles = [(levels[low] + levels[high]) / 2 for low, high in pairwise(ordered)]
    return bytearray(ordered[bisect.bisect_right(middles, grey)] for grey in range(256))
