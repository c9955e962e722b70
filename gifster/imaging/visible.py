"""How much of an error can be seen: less where the picture is busy.

SSIM (Wang et al., 2004) divides the error of a few pixels by twice their variance and a constant.
So a step in a smooth sky counts fully, and the same step beside a sharp edge hardly at all.
"""

from collections.abc import Callable
from itertools import pairwise

import PIL.Image
from PIL import ImageChops

from gifster.imaging.masks import largest_difference, mask_within

#: The constant of SSIM for values up to 255.
_CONSTANT = (0.03 * 255) ** 2
#: Pixels are weighted in classes: by how far the brightest of their neighbours is above the
#: darkest.
CLASSES = (0, 4, 8, 16, 32, 64, 128, 256)
#: The standard deviation of neighbours is about their range divided by this.
_RANGE_PER_DEVIATION = 3


class VisibleError:
    """The mean square error that shows in pictures beside one picture (RGB)."""

    def __init__(self, picture: PIL.Image.Image) -> None:
        self._picture = picture
        around = ranges(picture.convert("L"))
        #: For each class that has pixels: a mask of them, and the weight of their error.
        self._classes: list[tuple[PIL.Image.Image, float]] = []
        #: The weight of an error that is everywhere the same.
        self.mean_weight = 0.0
        counts = around.histogram()
        for low, high in pairwise(CLASSES):
            if any(counts[low:high]):
                shown = weight((low + high) / 2)
                self._classes.append((mask_within(around, low, high), shown))
                self.mean_weight += shown * sum(counts[low:high]) / sum(counts)

    def of(self, other: PIL.Image.Image) -> float:
        """The error of a picture of the same size, in the worst channel of each pixel."""
        off = largest_difference(self._picture, other)
        total = 0.0
        for mask, shown in self._classes:
            counts = off.histogram(mask)
            total += shown * sum(value**2 * count for value, count in enumerate(counts) if count)
        return total / (off.width * off.height)


def weight(value_range: float) -> float:
    """How much of an error shows beside pixels of such a range: at most 1."""
    variance = (value_range / _RANGE_PER_DEVIATION) ** 2
    return _CONSTANT / (2 * variance + _CONSTANT)


def ranges(channel: PIL.Image.Image) -> PIL.Image.Image:
    """How far the brightest of each pixel and its neighbours is above the darkest. Pillow's rank
    filters take 100 times as long."""
    brightest = darkest = channel
    for x, y in ((1, 0), (0, 1)):
        brightest = _of_three(brightest, (x, y), ImageChops.lighter)
        darkest = _of_three(darkest, (x, y), ImageChops.darker)
    return ImageChops.subtract(brightest, darkest)


def _of_three(
    channel: PIL.Image.Image,
    to: tuple[int, int],
    better: Callable[[PIL.Image.Image, PIL.Image.Image], PIL.Image.Image],
) -> PIL.Image.Image:
    """The best of each pixel and those on both sides of it."""
    before, after = channel.copy(), channel.copy()
    before.paste(channel, to)
    after.paste(channel, (-to[0], -to[1]))
    return better(better(before, after), channel)
