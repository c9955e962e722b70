"""Every colour that an animation has in some frame, roughly: a palette that is chosen from a few
frames may lack one that is there for a moment, such as that of a click in a recording."""

import bisect
from itertools import accumulate, compress

import PIL.Image
from PIL import ImageChops
from PIL.Image import Resampling

from gifster.imaging.masks import mapped, mask_within, opaque_mask

#: Hues are told apart by how far Cb and Cr (ITU-R BT.601, 128 for grey) are from grey: beside grey
#: by small steps, as people see small differences there. Each hue is told apart in so many steps of
#: brightness, and greys in more.
_FROM_GREY, _STEPS, _GREY_STEPS = (7, 21, 41, 71), 3, 13
_SIDE = 2 * len(_FROM_GREY) + 1
_HUES = _SIDE**2
_GREY = _HUES // 2
#: Of a larger picture only so many pixels are looked at. A colour counts from so many on.
_MOST_PIXELS, _MIN_PIXELS = 8_000, 4


def _step(value: int) -> int:
    """The step of a value of Cb or Cr; the middle one is grey."""
    step = bisect.bisect_right(_FROM_GREY, abs(value - 128))
    return _SIDE // 2 + (step if value > 128 else -step)


_OF_CB = bytearray(_SIDE * _step(value) for value in range(256))
_OF_CR = bytearray(map(_step, range(256)))
_OF_BRIGHTNESS = bytearray(_HUES * (value * _STEPS // 256) for value in range(256))
_OF_GREYS = bytearray(_HUES * _STEPS + value * _GREY_STEPS // 256 for value in range(256))
_IS_GREY = bytearray(255 * (hue == _GREY) for hue in range(256))


def _cells(colors: PIL.Image.Image) -> PIL.Image.Image:
    """The cell (L) of each pixel of an RGB picture."""
    brightness, blue, red = colors.convert("YCbCr").split()
    hues = ImageChops.add(mapped(blue, _OF_CB), mapped(red, _OF_CR))
    cells = ImageChops.add(hues, mapped(brightness, _OF_BRIGHTNESS))
    cells.paste(mapped(brightness, _OF_GREYS), mask=mapped(hues, _IS_GREY))
    return cells


class ColorsMet:
    """The colours of pictures that are added one by one: one for each cell of a grid of
    hues and brightness."""

    def __init__(self) -> None:
        self._of_cell: dict[int, bytes] = {}

    def add(self, picture: PIL.Image.Image) -> None:
        """Look at a picture (RGB or RGBA), or at what changes in it."""
        looked_at = _smaller(picture)
        colors, opaque = looked_at, None
        if looked_at.mode == "RGBA":
            colors, opaque = looked_at.convert("RGB"), opaque_mask(looked_at)
        cells = _cells(colors)
        counts = cells.histogram(opaque)
        for cell in sorted({*compress(range(256), counts)} - self._of_cell.keys()):
            if (count := counts[cell]) >= _MIN_PIXELS:
                mask = mask_within(cells, cell, cell + 1)
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
    for start in range(0, 3 * 256, 256):
        up_to = list(accumulate(counts[start : start + 256]))
        found.append(bisect.bisect_right(up_to, count // 2))
    return bytes(found)
