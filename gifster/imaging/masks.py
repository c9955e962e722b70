"""Masks: one-channel pictures (L) that select pixels of another; all by Pillow's C code."""

from itertools import compress

import PIL.Image
from PIL import ImageChops

#: A pixel counts as opaque from this alpha on (of 255).
_OPAQUE = 128
#: Stretches of so many pixels are masked as a whole.
_FAR = 16


def largest_difference(one: PIL.Image.Image, other: PIL.Image.Image) -> PIL.Image.Image:
    """How much two RGB pictures differ: for each pixel the difference in its worst channel."""
    red, green, blue = ImageChops.difference(one, other).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


def largest_hue_difference(one: PIL.Image.Image, other: PIL.Image.Image) -> PIL.Image.Image:
    """How much two RGB pictures differ in Cb or Cr, whichever differs more."""
    difference = ImageChops.difference(one.convert("YCbCr"), other.convert("YCbCr"))
    _, blue, red = difference.split()
    return ImageChops.lighter(blue, red)


def mask_above(channel: PIL.Image.Image, limit: int) -> PIL.Image.Image:
    """A mask that is 255 where a channel exceeds the limit."""
    return mask_within(channel, limit + 1, 256)


def mask_within(channel: PIL.Image.Image, low: int, high: int) -> PIL.Image.Image:
    """A mask that is 255 where a channel is at least `low` and below `high`."""
    table = bytearray(256)
    table[low:high] = b"\xff" * (min(high, 256) - low)
    return mapped(channel, table)


def opaque_mask(picture: PIL.Image.Image) -> PIL.Image.Image:
    """A mask of the opaque pixels of an RGBA picture."""
    return mask_above(picture.getchannel("A"), _OPAQUE - 1)


def selecting(mask: PIL.Image.Image) -> PIL.Image.Image:
    """A mask of 0 and 255 for `paste()`, which then takes or leaves each pixel of several channels,
    rather than blending each channel. That takes half of the time."""
    return mask.convert("1", dither=PIL.Image.Dither.NONE)


def mapped(indices: PIL.Image.Image, table: bytearray) -> PIL.Image.Image:
    """Other values (L) for those of a picture of one channel, as `point()` does it. That rounds the
    table in Python, which takes longer than all else where the picture is small."""
    indices.load()
    return indices._new(indices.im.point(table, "L"))


def mapped_colors(picture: PIL.Image.Image, table: bytes) -> PIL.Image.Image:
    """The same of all channels of an RGB picture, by one table for each."""
    picture.load()
    return picture._new(picture.im.point(table, None))


def colorful(picture: PIL.Image.Image, within: PIL.Image.Image) -> PIL.Image.Image:
    """The parts of a mask, row by row, in which a picture (L) has more than one colour.

    A stretch of one colour compresses well as it is, and often goes on beyond the mask.
    """
    before = _shifted(picture, 1)
    both = ImageChops.darker(within, _shifted(within, 1))
    changes = ImageChops.darker(mask_above(ImageChops.difference(picture, before), 0), both)
    width = -(-picture.width // _FAR) * _FAR
    near = mask_above(changes.reduce((_FAR, 1)), 0)
    near = near.resize((width, picture.height), PIL.Image.Resampling.NEAREST)
    return ImageChops.darker(near.crop((0, 0, *picture.size)), within)


def _shifted(channel: PIL.Image.Image, by: int) -> PIL.Image.Image:
    """A channel moved right by so many pixels."""
    made = PIL.Image.new("L", channel.size)
    made.paste(channel, (by, 0))
    return made


def pixels_under(mask: PIL.Image.Image, picture: PIL.Image.Image) -> PIL.Image.Image | None:
    """The pixels of an RGB picture that a mask selects, in one row; None if it selects none."""
    box = mask.getbbox()
    if box is None:
        return None
    mask, picture = mask.crop(box), picture.crop(box)
    channels = PIL.Image.merge("RGB", (mask, mask, mask))
    pixels = bytes(compress(picture.tobytes(), channels.tobytes()))
    return PIL.Image.frombytes("RGB", (len(pixels) // 3, 1), pixels)


def without_alpha(picture: PIL.Image.Image) -> PIL.Image.Image:
    """A picture as RGB if nothing of it is transparent: that is faster to work on, and smaller."""
    if picture.mode != "RGBA":
        return picture
    corner = picture.getpixel((0, 0))  # of most stickers, it is transparent
    is_opaque = corner[3] == 255 and picture.getchannel("A").getextrema()[0] == 255  # type: ignore[index]
    return picture.convert("RGB") if is_opaque else picture
