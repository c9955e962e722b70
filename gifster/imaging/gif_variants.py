"""The smallest encoding of a frame: with holes for what does not change, without, or with some."""

import PIL.Image
from PIL import ImageChops

from gifster.imaging.boxes import Box
from gifster.imaging.gif_image import image
from gifster.imaging.masks import colorful, mask_above

#: A frame of at least so many pixels is not encoded without holes if it has fewer bytes with them
#: than so many times those that its pixels are expected to take.
_MANY, _CLEAR = 4_000, 0.25
#: If one encoding of a frame has at least so many times the bytes of another, a third may be
#: smaller than both.
_CLOSE = 0.5


class Variants:
    """Encodes the frames of a GIF.

    Parameters:
      transparent: the index that is transparent.
    """

    def __init__(self, transparent: int) -> None:
        self._transparent = transparent
        #: How many bytes a pixel takes without holes, at least, as far as is known.
        self._density = 0.0

    def smallest(self, holes: PIL.Image.Image, plain: PIL.Image.Image, box: Box) -> bytes:
        """The smallest encoding of a frame.

        Parameters:
          holes, plain: indices that show the same with holes and without.
        """
        if self._transparent not in holes.getextrema():
            return self.without_holes(plain, box)
        area = plain.width * plain.height
        with_all = image(holes, box)
        if area >= _MANY and len(with_all) < _CLEAR * self._density * area:
            return with_all
        without = self.without_holes(plain, box)
        smaller, larger = sorted([with_all, without], key=len)
        if len(smaller) < _CLOSE * len(larger):
            return smaller
        some = self._some(holes, plain)
        return smaller if some is None else min(smaller, image(some, box), key=len)

    def without_holes(self, plain: PIL.Image.Image, box: Box) -> bytes:
        """The encoding of a frame that has no holes."""
        made, area = image(plain, box), plain.width * plain.height
        if area >= _MANY:
            self._density = min(len(made) / area, self._density or 1)
        return made

    def _some(self, holes: PIL.Image.Image, plain: PIL.Image.Image) -> PIL.Image.Image | None:
        """The frame with those holes alone that hide several colours; None if there are none."""
        blank = PIL.Image.new("L", holes.size, self._transparent)
        drawn = mask_above(ImageChops.difference(holes, blank), 0)
        hidden = colorful(plain, ImageChops.invert(drawn))
        if hidden.getbbox() is None:
            return None
        some = plain.copy()
        some.paste(self._transparent, mask=hidden)
        return some
