"""Reduce pictures to one palette, for formats that hold what has few colours in fewer bytes."""

import PIL.Image
from PIL import ImageChops

from gifster.imaging.masks import opaque_mask
from gifster.imaging.nearest import NearestColors


class Reducer:
    """Reduces pictures to a palette (RGB, 3 bytes for each of at most 255 colours). The index
    behind these is transparent."""

    def __init__(self, palette: bytes) -> None:
        self._nearest, self._transparent = NearestColors(palette), len(palette) // 3
        self._palette = palette + bytes(3)

    def reduced(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        """A picture (RGB or RGBA) as P."""
        indices = self._nearest.indices(picture.convert("RGB"))
        if picture.mode == "RGBA":
            indices.paste(self._transparent, mask=ImageChops.invert(opaque_mask(picture)))
        indices.putpalette(self._palette)
        indices.info["transparency"] = self._transparent
        return indices
