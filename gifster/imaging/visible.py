"""How much of an error can be seen: less where the picture is busy.

SSIM (Wang et al., 2004) divides the error of a few pixels by twice their variance and a constant.
So a step in a smooth sky counts fully, and the same step beside a sharp edge hardly at all.
"""

from itertools import pairwise

import PIL.Image
from PIL import ImageChops, ImageFilter

from gifster.imaging.masks import largest_difference, mapped

#: The constant of SSIM for values up to 255.
_CONSTANT = (0.03 * 255) ** 2
#: Pixels are weighted in classes: by how far the brightest of their neighbours is above the
#: darkest.
_CLASSES = (0, 4, 8, 16, 32, 64, 128, 256)
#: The standard deviation of neighbours is about their range divided by this.
_RANGE_PER_DEVIATION = 3


class VisibleError:
    """The mean square error that shows in pictures beside one picture (RGB)."""

    def __init__(self, picture: PIL.Image.Image) -> None:
        self._picture = picture
        ranges = _ranges(picture.convert("L"))
        #: For each class that has pixels: a mask of them, and the weight of their error.
        self._classes: list[tuple[PIL.Image.Image, float]] = []
        #: The weight of an error that is everywhere the same.
        self.mean_weight = 0.0
        counts = ranges.histogram()
        for low, high in pairwise(_CLASSES):
            if any(counts[low:high]):
                within = bytearray(255 * (low <= value < high) for value in range(256))
                weight = _weight((low + high) / 2)
                self._classes.append((mapped(ranges, within), weight))
                self.mean_weight += weight * sum(counts[low:high]) / sum(counts)

    def of(self, other: PIL.Image.Image) -> float:
        """The error of a picture of the same size, in the worst channel of each pixel."""
        off = largest_difference(self._picture, other)
        total = 0.0
        for mask, weight in self._classes:
            counts = off.histogram(mask)
            total += weight * sum(value**2 * count for value, count in enumerate(counts) if count)
        return total / (off.width * off.height)


def _weight(value_range: float) -> float:
    variance = (value_range / _RANGE_PER_DEVIATION) ** 2
    return _CONSTANT / (2 * variance + _CONSTANT)


def _ranges(channel: PIL.Image.Image) -> PIL.Image.Image:
    """How far the brightest of each pixel and its neighbours is above the darkest."""
    brightest = channel.filter(ImageFilter.MaxFilter(3))
    darkest = channel.filter(ImageFilter.MinFilter(3))
    return ImageChops.subtract(brightest, darkest)
