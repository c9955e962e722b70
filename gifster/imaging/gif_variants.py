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


class Density:
    """How many bytes a pixel takes in frames without holes, at least, as far as is known."""

    def __init__(self) -> None:
        self._least = 0.0

    def add(self, size: int, area: int) -> None:
        """Learn from a frame without holes: its bytes, and its pixels."""
        if area >= _MANY:
            self._least = min(size / area, self._least or 1)

    def is_far_above(self, size: int, area: int) -> bool:
        """Whether a frame surely takes more without holes than these bytes with them."""
        return area >= _MANY and size < _CLEAR * self._least * area


class Variants:
    """Encodes the frames of a GIF.

    Parameters:
      transparent: the index that is transparent.
    """

    def __init__(self, transparent: int) -> None:
        self._transparent = transparent
        self._density = Density()

    def smallest(self, holes: PIL.Image.Image, plain: PIL.Image.Image, box: Box) -> bytes:
        """The smallest encoding of a frame.

        Parameters:
          holes, plain: indices that show the same with holes and without.
        """
        if self._transparent not in holes.getextrema():
            return self.without_holes(plain, box)
        area = plain.width * plain.height
        with_all = image(holes, box)
        if self._density.is_far_above(len(with_all), area):
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
        self._density.add(len(made), area)
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
