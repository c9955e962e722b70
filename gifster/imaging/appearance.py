"""What a file says about how its pixels are to be shown: turned, and in which colours.

Each format says it in another place, and some in several. The rules are Chromium's, measured with
version 156: what browsers overlook is overlooked here, such as EXIF behind the pixels of a PNG.
`probe` reads sizes by the same orientation. The third edition of the PNG specification has the
order of precedence for colours (4.3).
"""

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from gifster.imaging import bmff, cicp, icc, jpeg_segments, orientation, png_chunks
from gifster.imaging.cicp import CodePoints
from gifster.imaging.delays import Timeline
from gifster.imaging.icc import SRGB, Primaries, rgb_profile
from gifster.imaging.reader import Reader

#: A longer profile is ignored (bytes).
_MAX_PROFILE_BYTES = 4_000_000
#: The greatest rendering intent that sRGB can name.
_MAX_INTENT = b"\3"
#: A PNG's gamma in units of 1/100,000, and how far it may be off before it makes a difference.
_GAMMA_UNIT, _USUAL_GAMMA, _TOLERANCE = 100_000, 45_455, 0.05


class Appearance(NamedTuple):
    """How the pixels of a file are to be shown.

    Attributes:
      orientation: as in EXIF (1 to 8): 1 is upright.
      profile: the ICC profile of the colours; None if there is none.
      says_profile: whether `profile` counts rather than the one that Pillow finds.
      colors: the code points of the colours, which count if there is no profile.
      peak_nits: how bright the brightest pixel is (nits); None if the file does not say.
      part: width and height of the upper left part that is shown, before it is turned (pixels);
        None shows everything.
      transparent: of a PNG of grey or RGB: the value or values of its transparent pixels. They have
        16 bits if they are of 16-bit grey, else 8. Those of 16-bit RGB are compared before
        (`pillow`).
    """

    orientation: int = 1
    profile: bytes | None = None
    says_profile: bool = False
    colors: CodePoints | None = None
    transparent: tuple[int, ...] | None = None
    peak_nits: float | None = None
    part: tuple[int, int] | None = None


def read(source: Path, content_type: str) -> Appearance:
    """How the pixels of a file are to be shown.

    Raises:
      ImagingError: the structure is wrong.
    """
    reading = _READING.get(content_type)
    if reading is None:
        return Appearance()
    with source.open("rb", buffering=0) as file:
        return reading(Reader(cast("BinaryIO", file)))


def _of_jpeg(reader: Reader) -> Appearance:
    turned = jpeg_segments.read(reader).orientation
    return Appearance(turned, jpeg_segments.profile(reader), says_profile=True)


def _of_avif(reader: Reader) -> Appearance:
    facts = bmff.read(reader)
    return Appearance(
        facts.orientation, colors=facts.colors, peak_nits=facts.peak_nits, part=facts.shown
    )


def _of_png(reader: Reader) -> Appearance:
    facts = png_chunks.read(reader, Timeline(None))
    return of_png(facts.depth, facts.describing)


def of_png(depth: int, chunks: Mapping[bytes, bytes]) -> Appearance:
    """How the pixels of a PNG are to be shown.

    Parameters:
      depth: the bits of a sample.
      chunks: those that describe the pixels (`png_chunks`).
    """
    colors = _code_points(chunks.get(b"cICP", b""))
    return Appearance(
        orientation.of_exif(chunks.get(b"eXIf", b"")),
        None if colors is not None else _png_profile(chunks),
        True,
        colors,
        _transparent(chunks.get(b"tRNS", b""), depth),
        _png_peak(chunks),
    )


def _code_points(content: bytes) -> CodePoints | None:
    """Those of a cICP chunk: primaries, transfer, matrix (0: RGB) and range (1: full)."""
    if len(content) != 4 or content[2:] != b"\0\1":
        return None
    return cicp.in_png(*content[:2])


def _png_peak(chunks: Mapping[bytes, bytes]) -> float | None:
    """The brightness of the brightest pixel (nits): that of the content (cLLI), else that of the
    screen on which it was made (mDCV)."""
    for content in (chunks.get(b"cLLI", b"")[:4], chunks.get(b"mDCV", b"")[16:20]):
        if len(content) == 4 and any(content):
            return int.from_bytes(content, "big") / 10_000
    return None


def _png_profile(chunks: Mapping[bytes, bytes]) -> bytes | None:
    profile = _unpacked(chunks.get(b"iCCP", b""))
    intent = chunks.get(b"sRGB", b"")
    if profile is not None or (len(intent) == 1 and intent <= _MAX_INTENT):
        return profile
    gamma = int.from_bytes(chunks.get(b"gAMA", b""), "big")
    if len(chunks.get(b"gAMA", b"")) != 4 or gamma == 0:
        return None
    primaries = chunks.get(b"cHRM", b"")
    try:
        if len(primaries) == 32:
            values = [value / _GAMMA_UNIT for value in struct.unpack(">8L", primaries)]
            points = [(values[at], values[at + 1]) for at in range(0, 8, 2)]
            # Outside of all colours: then browsers leave the gamma out, too.
            are_colors = max(values) <= 1
            return rgb_profile(Primaries(*points), _GAMMA_UNIT / gamma) if are_colors else None
        if abs(gamma / _USUAL_GAMMA - 1) <= _TOLERANCE:
            return None
        return rgb_profile(SRGB, _GAMMA_UNIT / gamma)
    except (ArithmeticError, struct.error):
        return None  # no such colours


def _unpacked(content: bytes) -> bytes | None:
    """The profile in an iCCP chunk, if it is one for RGB or grey, whole, and packed in the only way
    that there is (PNG, 11.3.2.3)."""
    name, _, packed = content.partition(b"\0")
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(packed[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    is_packed = bool(name) and packed[:1] == b"\0" and unpacking.eof
    is_usable = profile[36:40] == b"acsp" and profile[16:20] in (b"RGB ", b"GRAY")
    return profile if is_packed and is_usable and icc.is_whole(profile) else None


def _transparent(content: bytes, depth: int) -> tuple[int, ...] | None:
    """The values in the tRNS chunk of a PNG of grey or RGB, as they are after decoding."""
    if len(content) not in (2, 6) or not depth:
        return None
    most = 2**depth - 1
    values = [value & most for value in struct.unpack(f">{len(content) // 2}H", content)]
    if depth == 16:
        return tuple(values) if len(values) == 1 else tuple(value >> 8 for value in values)
    return tuple(value * 255 // most for value in values)


_READING: dict[str, Callable[[Reader], Appearance]] = {
    "image/jpeg": _of_jpeg,
    "image/png": _of_png,
    "image/avif": _of_avif,
}
