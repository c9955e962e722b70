"""Every colour that an animation has in some frame, roughly: a palette that is chosen from a few
frames may lack one that is there for a moment, such as that of a click in a recording."""

from functools import cache
from itertools import product

import PIL.Image
from PIL import ImageChops
from PIL.Image import Resampling

from gifster.imaging.masks import mapped, opaque_mask
from gifster.imaging.nearest import NearestColors

#: Colours are told apart in so many steps of each channel.
_STEPS = 6
#: Of a larger picture only so many pixels are looked at. A colour counts from so many on.
_MOST_PIXELS, _MIN_PIXELS = 30_000, 8


@cache
def _grid() -> NearestColors:
    levels = [round(255 * step / (_STEPS - 1)) for step in range(_STEPS)]
    return NearestColors(bytes(value for color in product(levels, repeat=3) for value in color))


class ColorsMet:
    """The colours of pictures that are added one by one: one for each cell of a grid."""

    def __init__(self) -> None:
        self._of_cell: dict[int, bytes] = {}

    def add(self, picture: PIL.Image.Image) -> None:
        """Look at a picture (RGB or RGBA), or at what changes in it."""
        looked_at = _smaller(picture)
        colors, opaque = looked_at, None
        if looked_at.mode == "RGBA":
            colors, opaque = looked_at.convert("RGB"), opaque_mask(looked_at)
        cells = _grid().indices(colors)
        for cell, count in enumerate(cells.histogram(opaque)):
            if count >= _MIN_PIXELS and cell not in self._of_cell:
                mask = mapped(cells, bytearray(value == cell for value in range(256)))
                mask = mask if opaque is None else ImageChops.darker(mask, opaque)
                self._of_cell[cell] = _median(colors, mask, count)

    @property
    def all(self) -> bytes:
        """The colours (RGB, 3 bytes for each)."""
        return b"".join(self._of_cell.values())


def _smaller(picture: PIL.Image.Image) -> PIL.Image.Image:
    area = picture.width * picture.height
    if area <= _MOST_PIXELS:
        return picture
    scale = (_MOST_PIXELS / area) ** 0.5
    size = max(1, int(picture.width * scale)), max(1, int(picture.height * scale))
    return picture.resize(size, Resampling.NEAREST)


def _median(colors: PIL.Image.Image, mask: PIL.Image.Image, count: int) -> bytes:
    """The median of each channel of the pixels that a mask selects."""
    counts, found = colors.histogram(mask), bytearray()
    for channel in range(3):
        value, below = -1, 0
        while below <= count // 2:
            value += 1
            below += counts[256 * channel + value]
        found.append(value)
    return bytes(found)
