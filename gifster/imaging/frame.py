"""One frame of an animation, as the modules that decode animations give it."""

from typing import NamedTuple

import PIL.Image

from gifster.imaging.boxes import Box


class Frame(NamedTuple):
    """The whole picture (RGB or RGBA), the box that has changed in it, and its delay."""

    picture: PIL.Image.Image
    changed: Box
    delay_ms: int
