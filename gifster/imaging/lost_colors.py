"""Colours that a palette lacks, although they show: those of thin lines and small things, other
hues, and the levels of soft shadows. They get entries of their own."""

import math
from itertools import pairwise
from operator import sub

import PIL.Image
from PIL import ImageChops

from gifster.imaging.masks import (
    largest_difference,
    largest_hue_difference,
    mask_above,
    mask_within,
    pixels_under,
)
from gifster.imaging.nearest import NearestColors
from gifster.imaging.visible import CLASSES, weight

#: A colour is lost if its pixels are off by more than this, and there are so many of them. Lost
#: colours get at most so many entries.
_FAR_OFF, _MIN_PIXELS, MAX_MORE = 36, 4, 15
#: One that some frame has is also lost if Cb or Cr is off by more than this.
_OTHER_HUE = 9
#: A level of something smooth is lost if it is off by more than this where the picture is flat, in
#: this part of all pixels. Such levels get at most so many entries, in palettes of few colours.
_LEVEL_OFF, _LEVEL_PART, _MAX_LEVELS, _FEW_COLORS = 4, 0.004, 20, 80
#: These limits are for a palette that may cause this visible error. They grow with it: a GIF that
#: is to be rough has no bytes for hues and shadows.
_ERROR = 0.45
#: The first limit grows only from so many times the root of that error on, and levels are no longer
#: looked at.
_ROUGH = 2
#: Of lost colours, those that differ by no more than this share an entry.
_CLOSE, _CLOSE_LEVELS = 18, 6
_NO_DITHER = PIL.Image.Dither.NONE


def entries_for_lost(
    palette: bytes, exact: PIL.Image.Image, met: bytes, error: float, room: int
) -> bytes:
    """Entries (RGB) for what a palette lacks of some pixels, and of the colours of all frames.

    Parameters:
      met: those colours (RGB, 3 bytes for each).
      error: the visible error that the palette may cause.
      room: how many entries there may be.
    """
    if room <= 0:
        return b""
    nearest, roughness = NearestColors(palette), math.sqrt(error / _ERROR)
    off = largest_difference(exact, nearest.reduced(exact))
    lost = _pixels(mask_above(off, _FAR_OFF), exact)
    if met:
        every = PIL.Image.frombytes("RGB", (len(met) // 3, 1), met)
        reduced = nearest.reduced(every)
        far = round(_FAR_OFF * max(1, roughness / _ROUGH))
        off = mask_above(largest_difference(every, reduced), far)
        hue = mask_above(largest_hue_difference(every, reduced), round(_OTHER_HUE * roughness))
        lost += _MIN_PIXELS * _pixels(ImageChops.lighter(off, hue), every)
    if len(lost) // 3 < _MIN_PIXELS:
        return b""
    return _entries(lost, min(room, MAX_MORE), _CLOSE)


def entries_for_levels(
    palette: bytes, picture: PIL.Image.Image, around: PIL.Image.Image, error: float, room: int
) -> bytes:
    """Entries (RGB) for what a palette of few colours lacks of soft shadows and gradients.

    Parameters:
      around: how far the brightest pixel beside each is above the darkest.
      error, room: those of `entries_for_lost`.
    """
    roughness = math.sqrt(error / _ERROR)
    if len(palette) // 3 > _FEW_COLORS or roughness > _ROUGH or room <= 0:
        return b""
    off = largest_difference(picture, NearestColors(palette).reduced(picture))
    shows = PIL.Image.new("L", off.size)
    for low, high in pairwise(CLASSES):
        limit = round(_LEVEL_OFF * roughness / math.sqrt(weight((low + high) / 2)))
        if limit < _FAR_OFF:
            within = mask_within(around, low, high)
            shows = ImageChops.lighter(shows, ImageChops.darker(within, mask_above(off, limit)))
    lost = _pixels(shows, picture)
    if len(lost) // 3 < _LEVEL_PART * picture.width * picture.height:
        return b""
    return _entries(lost, min(room, _MAX_LEVELS), _CLOSE_LEVELS)


def _pixels(mask: PIL.Image.Image, picture: PIL.Image.Image) -> bytes:
    row = pixels_under(mask, picture)
    return b"" if row is None else row.tobytes()


def _entries(lost: bytes, most: int, close: int) -> bytes:
    """So many colours for these pixels, without those that are close to one before."""
    if not lost:
        return b""
    row = PIL.Image.frombytes("RGB", (len(lost) // 3, 1), lost)
    made = row.quantize(most, PIL.Image.Quantize.MEDIANCUT, row.width // 50, dither=_NO_DITHER)
    palette = bytes((made.getpalette() or [])[: 3 * most])
    kept: list[bytes] = []
    for at in range(0, len(palette), 3):
        color = palette[at : at + 3]
        if not any(max(map(abs, map(sub, color, other))) <= close for other in kept):
            kept.append(color)
    return b"".join(kept)
