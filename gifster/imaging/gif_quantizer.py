"""Write animated GIFs of pictures in any colours: each patch is reduced to one palette, and pixels
that hardly change keep their colour."""

from typing import BinaryIO

import PIL.Image
from PIL import ImageChops

from gifster.imaging.boxes import Box, moved
from gifster.imaging.gif_writer import Change, GifWriter
from gifster.imaging.masks import largest_difference, mask_above, opaque_mask, selecting
from gifster.imaging.nearest import NearestColors
from gifster.imaging.patches import Patch


class GifQuantizer(GifWriter):
    """Writes one GIF, patch by patch.

    Parameters:
      palette: RGB, 3 bytes for each of at most 255 colours. The index after them is transparent.
      tolerance: a pixel is drawn again only if a channel changes by more than this.
      thorough: that of `GifWriter`.
      finely: whether dark colours are looked up finely.
    """

    def __init__(  # noqa: PLR0913 options, each with a default
        self,
        file: BinaryIO,
        size: tuple[int, int],
        palette: bytes,
        tolerance: int,
        *,
        thorough: bool = False,
        finely: bool = False,
    ) -> None:
        super().__init__(file, size, palette + bytes(3), len(palette) // 3, thorough=thorough)
        self._nearest = NearestColors(palette, finely=finely)
        self._tolerance = tolerance
        #: The colours of the picture that is shown now, before they were reduced.
        self._colors = PIL.Image.new("RGB", size)

    def add_patch(self, patch: Patch, delay_cs: int) -> None:
        """Add a frame: what it changes, and how long it is displayed (1/100 s)."""
        if patch.picture is None:
            self.add(None, delay_cs)
            return
        colors = patch.picture if patch.picture.mode == "RGB" else patch.picture.convert("RGB")
        indices = self._nearest.indices(colors)
        if patch.picture.mode == "RGBA":
            self._has_transparency = True
            indices.paste(self._transparent, mask=ImageChops.invert(opaque_mask(patch.picture)))
        change = self._change(indices, colors, patch.box)
        self.add(change, delay_cs)

    def _change(self, indices: PIL.Image.Image, colors: PIL.Image.Image, box: Box) -> Change | None:
        """What has to be drawn in a box. Of its colours, remember those."""
        difference = ImageChops.difference(indices, self._indices.crop(box))
        inner = difference.getbbox()
        if inner is None:
            return None
        if inner != (0, 0, *indices.size):
            indices, colors, difference = (
                picture.crop(inner) for picture in (indices, colors, difference)
            )
            box = moved(inner, box)
        differs = self._differs(mask_above(difference, 0), indices, colors, box)
        inner = differs.getbbox()
        if inner is None:
            return None
        self._colors.paste(colors, box[:2], selecting(differs))
        return Change(indices, differs, box).cropped(inner)

    def _differs(
        self,
        differs: PIL.Image.Image,
        indices: PIL.Image.Image,
        colors: PIL.Image.Image,
        box: Box,
    ) -> PIL.Image.Image:
        """A mask of the pixels in a box that have to be drawn, of those that differ."""
        if self._last is None:
            return differs
        far = mask_above(largest_difference(colors, self._colors.crop(box)), self._tolerance)
        if self._has_transparency:
            toggled = ImageChops.difference(
                self._transparent_pixels(indices),
                self._transparent_pixels(self._indices.crop(box)),
            )
            far = ImageChops.lighter(far, toggled)
        return ImageChops.darker(differs, far)
