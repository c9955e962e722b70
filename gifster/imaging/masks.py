"""Masks: one-channel pictures (L) that select pixels of another; all by Pillow's C code."""

from itertools import compress

import PIL.Image
from PIL import ImageChops

#: A pixel counts as opaque from this alpha on (of 255).
_OPAQUE = 128
#: A mask is enlarged by so many pixels.
_FAR = 64


def largest_difference(one: PIL.Image.Image, other: PIL.Image.Image) -> PIL.Image.Image:
    """How much two RGB pictures differ: for each pixel the difference in its worst channel."""
    red, green, blue = ImageChops.difference(one, other).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


def mask_above(channel: PIL.Image.Image, limit: int) -> PIL.Image.Image:
    """A mask that is 255 where a channel exceeds the limit. Five times as fast as `point()`."""
    return ImageChops.add(channel, channel, 1 / 128, -256 * limit)


def opaque_mask(picture: PIL.Image.Image) -> PIL.Image.Image:
    """A mask of the opaque pixels of an RGBA picture."""
    return mask_above(picture.getchannel("A"), _OPAQUE - 1)


def colorful(picture: PIL.Image.Image, within: PIL.Image.Image) -> PIL.Image.Image:
    """The parts of a mask, row by row, in which a picture (L) has more than one colour.

    A stretch of one colour compresses well as it is, and often goes on beyond the mask.
    """
    before = _shifted(picture, 1)
    both = ImageChops.darker(within, _shifted(within, 1))
    changes = ImageChops.darker(mask_above(ImageChops.difference(picture, before), 0), both)
    found = ImageChops.lighter(changes, _shifted(changes, -1))
    return _spread(_spread(found, within, 1), within, -1)


def _spread(found: PIL.Image.Image, within: PIL.Image.Image, step: int) -> PIL.Image.Image:
    """A mask enlarged to the right (1) or left (-1), within another."""
    free, reach = ImageChops.darker(within, _shifted(within, step)), 1
    while reach < _FAR:
        found = ImageChops.lighter(found, ImageChops.darker(_shifted(found, step * reach), free))
        free = ImageChops.darker(free, _shifted(free, step * reach))
        reach *= 2
    return found


def _shifted(channel: PIL.Image.Image, by: int) -> PIL.Image.Image:
    """A channel moved right by so many pixels."""
    made = PIL.Image.new("L", channel.size)
    made.paste(channel, (by, 0))
    return made


def pixels_under(mask: PIL.Image.Image, picture: PIL.Image.Image) -> PIL.Image.Image | None:
    """The pixels of an RGB picture that a mask selects, in one row; None if it selects none."""
    channels = PIL.Image.merge("RGB", (mask, mask, mask))
    pixels = bytes(compress(picture.tobytes(), channels.tobytes()))
    return PIL.Image.frombytes("RGB", (len(pixels) // 3, 1), pixels) if pixels else None
