"""How similar two animations look, by SSIM (Wang et al., 2004).

Pictures are compared at moments spread evenly over the duration, with the source's picture resized
by Lanczos, in brightness, by windows of 7×7 pixels. They are laid over white and over black, as
both may be the background. Delays under 20 ms count as 100 ms, as in browsers.
"""

import bisect
import statistics
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageSequence

MOMENTS, WINDOW = 20, 7


def moments(source: Path) -> list[int]:
    """The moments at which an animation is compared (ms from its start)."""
    total = timeline(source)[1]
    return [int(total * (number + 0.5) / MOMENTS) for number in range(MOMENTS)]


def pictures(path: Path, moments: list[int]) -> list[PIL.Image.Image]:
    """The pictures of an animation at these moments."""
    begins, total = timeline(path)
    shown = [bisect.bisect_right(begins, min(moment, total - 1)) - 1 for moment in moments]
    with PIL.Image.open(path) as image:
        kept = {
            number: frame.convert("RGBA")
            for number, frame in enumerate(PIL.ImageSequence.Iterator(image))
            if number in shown
        }
    return [kept[number] for number in shown]


def similarity(reference: list[PIL.Image.Image], made: list[PIL.Image.Image]) -> float:
    """The mean SSIM of pictures and their originals; 1 means identical."""
    values = []
    for wanted, picture in zip(reference, made, strict=True):
        for behind in ("white", "black"):
            resized = over(wanted, behind).resize(picture.size, PIL.Image.Resampling.LANCZOS)
            values.append(_ssim(_brightness(resized), _brightness(over(picture, behind))))
    return statistics.mean(values)


def timeline(path: Path) -> tuple[list[int], int]:
    """When each frame begins, and the duration of all (ms)."""
    begins, now = [], 0
    with PIL.Image.open(path) as image:
        for frame in PIL.ImageSequence.Iterator(image):
            begins.append(now)
            delay = frame.info.get("duration", 0)
            now += delay if delay >= 20 else 100
    return begins, now


def over(picture: PIL.Image.Image, color: str) -> PIL.Image.Image:
    """A picture (RGBA) on a ground of one colour."""
    whole = PIL.Image.new("RGB", picture.size, color)
    whole.paste(picture, mask=picture.getchannel("A"))
    return whole


def _brightness(picture: PIL.Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L"), dtype=np.float64)


def _ssim(one: np.ndarray, other: np.ndarray) -> float:
    window = min(WINDOW, *one.shape)
    mean_one, mean_other = _means(one, window), _means(other, window)
    spread_one = _means(one * one, window) - mean_one**2
    spread_other = _means(other * other, window) - mean_other**2
    together = _means(one * other, window) - mean_one * mean_other
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * mean_one * mean_other + c1) * (2 * together + c2)
    value /= (mean_one**2 + mean_other**2 + c1) * (spread_one + spread_other + c2)
    return float(value.mean())


def _means(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of each window of so many pixels squared."""
    for _ in range(2):
        sums = np.cumsum(np.pad(values, ((1, 0), (0, 0))), axis=0)
        values = (sums[window:] - sums[:-window]).T / window
    return values
