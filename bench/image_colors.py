"""How far the colours of two animations are apart, as people see it.

SSIM compares brightness alone: it does not notice that something small and lilac became grey. Here
pictures are compared by blocks of 4×4 pixels, of which only the mean counts: people see dither and
noise as their mean. The distance of two means is CIEDE2000 (ISO/CIE 11664-6:2014; constants and
test pairs: Sharma, Wu and Dalal, 2005). From about 2 on, somebody who is not experienced sees a
difference, and more than 5 is another colour (Mokrzycki and Tatol, "Color difference Delta E: a
survey", 2011).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image

from bench.image_quality import over

BLOCK, OTHER_COLOR = 4, 5.0
#: Linear sRGB to XYZ, divided by the white D65 (IEC 61966-2-1).
_TO_XYZ = np.array([
    [0.4124, 0.3576, 0.1805],
    [0.2126, 0.7152, 0.0722],
    [0.0193, 0.1192, 0.9505],
])  # fmt: skip
_WHITE = _TO_XYZ.sum(axis=1)


class ColorDifference(NamedTuple):
    """The mean distance of all blocks, that which one block in 100 exceeds, and which part of all
    blocks has another colour."""

    mean: float
    high: float
    other: float


def difference(
    reference: Sequence[PIL.Image.Image], made: Sequence[PIL.Image.Image]
) -> ColorDifference:
    """How far the colours of pictures (RGBA) are from those of their originals, which are resized
    by Lanczos. Both are laid over white."""
    found = np.concatenate([
        distances(
            _blocks(over(wanted, "white").resize(picture.size, PIL.Image.Resampling.LANCZOS)),
            _blocks(over(picture, "white")),
        )
        for wanted, picture in zip(reference, made, strict=True)
    ])  # fmt: skip
    return ColorDifference(
        float(found.mean()), float(np.quantile(found, 0.99)), float((found > OTHER_COLOR).mean())
    )


def _blocks(picture: PIL.Image.Image) -> np.ndarray:
    """The mean colour of each block, in CIELAB."""
    width, height = picture.size
    size = max(1, width // BLOCK), max(1, height // BLOCK)
    means = picture.resize(size, PIL.Image.Resampling.BOX)
    return lab(np.asarray(means, dtype=np.float64).reshape(-1, 3))


def lab(colors: np.ndarray) -> np.ndarray:
    """Colours of sRGB (0 to 255) in CIELAB, with the white D65."""
    values = colors / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    ratios = linear @ _TO_XYZ.T / _WHITE
    low = ratios * 841 / 108 + 4 / 29
    x, y, z = np.where(ratios > (6 / 29) ** 3, np.cbrt(ratios), low).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """CIEDE2000 between each two colours (CIELAB) of two lists."""
    (light_1, a_1, b_1), (light_2, a_2, b_2) = one.T, other.T
    stretch = 1 + _half_chroma((np.hypot(a_1, b_1) + np.hypot(a_2, b_2)) / 2)
    chroma_1, chroma_2 = np.hypot(a_1 * stretch, b_1), np.hypot(a_2 * stretch, b_2)
    hue_1, hue_2 = np.arctan2(b_1, a_1 * stretch), np.arctan2(b_2, a_2 * stretch)
    has_hue = chroma_1 * chroma_2 > 0
    turn = np.where(has_hue, (hue_2 - hue_1 + np.pi) % (2 * np.pi) - np.pi, 0)
    hue = np.where(has_hue, hue_1 + turn / 2, hue_1 + hue_2)
    chroma, light = (chroma_1 + chroma_2) / 2, (light_1 + light_2) / 2

    kinds = (
        1
        - 0.17 * np.cos(hue - np.radians(30))
        + 0.24 * np.cos(2 * hue)
        + 0.32 * np.cos(3 * hue + np.radians(6))
        - 0.20 * np.cos(4 * hue - np.radians(63))
    )
    from_middle = (light - 50) ** 2
    by_light = (light_2 - light_1) / (1 + 0.015 * from_middle / np.sqrt(20 + from_middle))
    by_chroma = (chroma_2 - chroma_1) / (1 + 0.045 * chroma)
    by_hue = 2 * np.sqrt(chroma_1 * chroma_2) * np.sin(turn / 2) / (1 + 0.015 * chroma * kinds)
    from_blue = (np.degrees(hue) % 360 - 275) / 25
    rotation = np.sin(np.radians(60) * np.exp(-(from_blue**2))) * 4 * (_half_chroma(chroma) - 0.5)
    squares = by_light**2 + by_chroma**2 + by_hue**2 + rotation * by_chroma * by_hue
    return np.sqrt(np.maximum(squares, 0))


def _half_chroma(chroma: np.ndarray) -> np.ndarray:
    """0.5 for greys, and 0 for strong colours."""
    return 0.5 * (1 - np.sqrt(chroma**7 / (chroma**7 + 25.0**7)))
