"""Masks of pictures, in Pillow's own C code."""

from itertools import compress

import PIL.Image
from PIL import ImageChops

#: From this much on, of 255, a pixel is opaque.
_OPAQUE = 128


def furthest(one: PIL.Image.Image, other: PIL.Image.Image) -> PIL.Image.Image:
    """By how much two RGB pictures differ, of each pixel in the channel where it is most."""
    red, green, blue = ImageChops.difference(one, other).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


def above(channel: PIL.Image.Image, limit: int) -> PIL.Image.Image:
    """A mask: 255 where a channel is above the limit. Five times as fast as `point()`."""
    return ImageChops.subtract(channel, PIL.Image.new("L", channel.size, limit), 1 / 255)


def solid(picture: PIL.Image.Image) -> PIL.Image.Image:
    """A mask of what is opaque in an RGBA picture."""
    return above(picture.getchannel("A"), _OPAQUE - 1)


def under(mask: PIL.Image.Image, picture: PIL.Image.Image) -> PIL.Image.Image | None:
    """The pixels of an RGB picture that are under a mask, in one row; None if there are none."""
    channels = PIL.Image.merge("RGB", (mask, mask, mask))
    pixels = bytes(compress(picture.tobytes(), channels.tobytes()))
    return PIL.Image.frombytes("RGB", (len(pixels) // 3, 1), pixels) if pixels else None
