"""What the numbers in a PNG's cICP and in an AVIF's colr box mean (ITU-T H.273, tables 2 and 3)."""

from collections.abc import Sequence
from typing import NamedTuple

from gifster.imaging.icc import BT_2020, D65, DISPLAY_P3, SRGB, Point, Primaries, rgb_profile


class CodePoints(NamedTuple):
    """The numbers of the primaries and of the transfer function."""

    primaries: int
    transfer: int


SRGB_CODES = CodePoints(1, 13)
#: The matrices (table 4) from which libavif converts no colours: reserved, constant luminance, XYZ
#: and ICtCp.
UNREAD_MATRICES = {3, 10, 11, 13, 14}
PQ, HLG = 16, 18
_C: Point = (0.31, 0.316)
PRIMARIES = {
    1: SRGB,
    4: Primaries(_C, (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: Primaries(D65, (0.64, 0.33), (0.29, 0.6), (0.15, 0.06)),
    6: Primaries(D65, (0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    7: Primaries(D65, (0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    8: Primaries(_C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
    9: BT_2020,
    11: Primaries((0.314, 0.351), (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    12: DISPLAY_P3,
    22: Primaries(D65, (0.63, 0.34), (0.295, 0.605), (0.155, 0.077)),
}
#: The transfer functions of television, all the same one.
_TELEVISION = (1, 6, 14, 15)
#: What screens make of it (BT.1886).
_TELEVISION_GAMMA = 2.4
GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 11: _TELEVISION_GAMMA, 17: 2.6}
#: The points of a curve that is no exponent.
_POINTS = 1024


def in_png(primaries: int, transfer: int) -> CodePoints | None:
    """The code points of a PNG's cICP; None if Chromium ignores such a chunk."""
    known = {*_TELEVISION, *GAMMAS, 7, 13, PQ, HLG}
    if primaries not in PRIMARIES or transfer not in known:
        return None
    return CodePoints(primaries, 11 if transfer in _TELEVISION else transfer)


def in_avif(primaries: int, transfer: int) -> CodePoints:
    """The code points of an AVIF. Chromium takes the curve of television for that of sRGB there, as
    many encoders write it without thinking, and unknown numbers for those of sRGB."""
    return CodePoints(
        primaries if primaries in PRIMARIES else 1,
        transfer if transfer in {*GAMMAS, 7, PQ, HLG} else 13,
    )


def profile(codes: CodePoints) -> bytes:
    """The ICC profile of the colours; not for PQ and HLG, which are brighter than a screen."""
    return rgb_profile(PRIMARIES[codes.primaries], _curve(codes.transfer))


def _curve(transfer: int) -> float | Sequence[int]:
    if transfer in GAMMAS:
        return GAMMAS[transfer]
    linear = _from_smpte_240 if transfer == 7 else from_srgb
    return [round(65535 * linear(at / (_POINTS - 1))) for at in range(_POINTS)]


def from_srgb(value: float) -> float:
    """An sRGB value (0 to 1) as linear light (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def to_srgb(light: float) -> float:
    """Linear light as an sRGB value, both within 0 to 1."""
    light = max(0.0, min(1.0, light))
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _from_smpte_240(value: float) -> float:
    return value / 4 if value < 0.0913 else ((value + 0.1115) / 1.1115) ** (1 / 0.45)
