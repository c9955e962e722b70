"""Show pictures that are brighter than a screen (PQ and HLG, ITU-R BT.2100) in sRGB.

The tone mapping is the one that Chromium takes from Skia: the reference white operator of SMPTE ST
2094-50. If the brightest pixel has 1,000 nits, then what is as bright as paper or darker (203 nits,
BT.2408) is shown at half its brightness, and the highlights share the other half. Colours keep
their hue.
"""

import math
from bisect import bisect_left

from PIL import ImageFilter

from gifster.imaging.cicp import PQ, PRIMARIES, CodePoints, to_srgb
from gifster.imaging.icc import BT_2020, SRGB, inverse, matrix_product, multiplied, to_xyz

_WHITE_NITS = 203
#: The brightest pixel of a picture that does not say it, and how HLG's light from the scene becomes
#: that of a screen of so many nits (BT.2100, table 5).
PEAK_NITS = 1000.0
_SYSTEM_GAMMA = 1.2
#: How round the knee of the curve is, and the points of the curve.
_ROUNDNESS, _POINTS = 0.65, 32
#: The grid of the table, on each axis.
_GRID = 25


def table(codes: CodePoints, peak_nits: float | None = None) -> ImageFilter.Color3DLUT:
    """A filter that converts a picture with these code points to sRGB.

    Parameters:
      peak_nits: how bright its brightest pixel is (nits); None if it does not say.
    """
    if codes.transfer != PQ:
        peak_nits = PEAK_NITS
    shown_of = _Curve((peak_nits or PEAK_NITS) / _WHITE_NITS)
    xyz = to_xyz(PRIMARIES[codes.primaries])
    to_2020 = matrix_product(inverse(to_xyz(BT_2020)), xyz)
    from_2020 = matrix_product(inverse(to_xyz(SRGB)), to_xyz(BT_2020))
    steps = [at / (_GRID - 1) for at in range(_GRID)]
    light = [_from_pq(step) if codes.transfer == PQ else _from_hlg(step) for step in steps]

    def shown(red: int, green: int, blue: int) -> tuple[float, float, float]:
        color = light[red], light[green], light[blue]
        if codes.transfer != PQ:
            luminance = sum(part * value for part, value in zip(xyz[1], color, strict=True))
            gain = PEAK_NITS / _WHITE_NITS * luminance ** (_SYSTEM_GAMMA - 1)
            color = color[0] * gain, color[1] * gain, color[2] * gain
        wide = multiplied(to_2020, color)
        gain = shown_of.gain(max(wide))
        made = multiplied(from_2020, (wide[0] * gain, wide[1] * gain, wide[2] * gain))
        return to_srgb(made[0]), to_srgb(made[1]), to_srgb(made[2])

    places = range(_GRID)
    colors = [shown(red, green, blue) for blue in places for green in places for red in places]
    return ImageFilter.Color3DLUT(_GRID, [value for color in colors for value in color])


class _Curve:
    """What is shown of a brightness, both as multiples of the brightness of paper.

    Parameters:
      peak: the greatest brightness.
    """

    def __init__(self, peak: float) -> None:
        peak = max(peak, 1.0)
        self._below = 1 - 0.5 * min(1.0, math.log(peak) / math.log(PEAK_NITS / _WHITE_NITS))
        middle = 1 - _ROUNDNESS + _ROUNDNESS / self._below
        middle_shown = (1 - _ROUNDNESS) * self._below + _ROUNDNESS
        steps = [at / (_POINTS - 1) for at in range(_POINTS)]
        self._bright = [_bezier(step, 1, middle, peak) for step in steps]
        self._shown = [_bezier(step, self._below, middle_shown, 1) for step in steps]

    def gain(self, brightness: float) -> float:
        """What a colour is multiplied by whose greatest value this is."""
        if brightness <= 1:
            return self._below
        at = bisect_left(self._bright, brightness)
        if at == _POINTS:
            return 1 / brightness
        before, after = self._bright[at - 1 : at + 1]
        low, high = self._shown[at - 1 : at + 1]
        return (low + (high - low) * (brightness - before) / (after - before)) / brightness


def _bezier(at: float, start: float, middle: float, end: float) -> float:
    return (1 - at) ** 2 * start + 2 * at * (1 - at) * middle + at**2 * end


def _from_pq(value: float) -> float:
    """Light as a multiple of paper's white (BT.2100, table 4)."""
    power = value ** (32 / 2523)
    nits: float = 10_000 * (max(0.0, power - 3424 / 4096) / (2413 / 128 - 2392 / 128 * power)) ** (
        16384 / 2610
    )
    return nits / _WHITE_NITS


def _from_hlg(value: float) -> float:
    """Light of the scene, 0 to 1 (BT.2100, table 5)."""
    if value <= 0.5:
        return value * value / 3
    return (math.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12
