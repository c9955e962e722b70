"""Find the nearest colours of a palette, as exactly as Pillow's C code allows.

Pillow looks up one colour of the palette for each cube of 4×4×4 colours, and takes the one that is
nearest to the darkest corner of the cube: a white of 255 got the palette's 250 rather than its 255.
So the colours are looked up in a palette that is as much darker as the corner is darker than the
middle of the cube. Greys are looked up exactly.
"""

import bisect
from itertools import pairwise

import PIL.Image

from gifster.imaging.masks import mapped

#: How many values of a channel are in one cube, as a number of bits.
_CUBE_BITS = 2
_SAME = bytearray(range(256))
_NO_DITHER = PIL.Image.Dither.NONE
#: 1.5 less, rounded: what is nearest to the corner is then nearest to the middle.
_DARKER = bytes(max(0, value - (1, 1, 2, 2)[value % 4]) for value in range(256))


def cube(color: tuple[int, ...]) -> tuple[int, ...]:
    """The cube of a colour. Colours of one cube are not told apart, unless all are greys."""
    return tuple(value >> _CUBE_BITS for value in color)


def are_greys(palette: bytes) -> bool:
    """Whether a palette (RGB, 3 bytes for each colour) has only greys."""
    return palette[::3] == palette[1::3] == palette[2::3]


class NearestColors:
    """Reduces pictures to a palette (RGB, 3 bytes for each colour).

    Of colours in one cube, the first is found.
    """

    def __init__(self, palette: bytes) -> None:
        self._palette = palette
        self._darker = PIL.Image.new("P", (1, 1))
        self._darker.putpalette(palette.translate(_DARKER))
        self._of_greys = _of_greys(palette[::3]) if are_greys(palette) else None

    def indices(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        """The numbers (L) of the nearest colours of an RGB picture."""
        if self._of_greys is not None:
            return mapped(picture.convert("L"), self._of_greys)
        found = picture.quantize(palette=self._darker, dither=_NO_DITHER)
        return mapped(found, _SAME)

    def reduced(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        """An RGB picture in the nearest colours (RGB)."""
        made = self.indices(picture)
        made.putpalette(self._palette)
        return made.convert("RGB")


def _of_greys(levels: bytes) -> bytearray:
    """For each grey the number of the nearest level."""
    ordered = sorted(range(len(levels)), key=levels.__getitem__)
    middles = [(levels[low] + levels[high]) / 2 for low, high in pairwise(ordered)]
    return bytearray(ordered[bisect.bisect_right(middles, grey)] for grey in range(256))
