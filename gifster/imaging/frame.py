"""One frame of an animation, as the modules that decode animations give it."""

from typing import NamedTuple

import PIL.Image
from PIL import ImageChops

from gifster.imaging.boxes import Box

#: Larger frames are not compared with one another: that would take too much memory.
MAX_COMPARED_PIXELS = 4_000_000


class Frame(NamedTuple):
    """The whole picture (RGB or RGBA), the box that has changed in it, and its delay."""

    picture: PIL.Image.Image
    changed: Box
    delay_ms: int


def changed_box(picture: PIL.Image.Image, before: PIL.Image.Image | None) -> Box:
    """The box in which two pictures differ; an empty one if they do not."""
    if before is None or (before.mode, before.size) != (picture.mode, picture.size):
        return (0, 0, *picture.size)
    return ImageChops.difference(picture, before).getbbox(alpha_only=False) or (0, 0, 0, 0)
