"""Bring the pixels of any kind of picture to 8 bits a channel, and their colours to sRGB."""

import functools
import io

import PIL.Image
import PIL.ImageCms
from PIL import ImageChops, ImageFilter

from gifster.imaging import cicp, hdr, icc
from gifster.imaging.appearance import Appearance
from gifster.imaging.cicp import HLG, PQ, SRGB_CODES, CodePoints

_SRGB = PIL.ImageCms.createProfile("sRGB")
#: The table of tags in an ICC profile, and the bytes of a tag in it (ICC.1, 7.3).
_TAGS_AT, _TAG_BYTES = 132, 12
#: Pillow's modes of 16 bits.
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_DEPTHS = ((255, 1), (65_535, 257), (2**32 - 1, 2**24 + 1))
#: The modes that are left as they are until the colours are converted.
_PLAIN = ("RGB", "RGBA", "L", "LA", "CMYK", "LAB")


def plain(picture: PIL.Image.Image, look: Appearance) -> PIL.Image.Image:
    """A picture of 8 bits a channel (RGB, RGBA, L, LA, CMYK or LAB), without a palette.

    Every transparent pixel is transparent in an alpha channel. A picture that needs no change is
    returned itself.
    """
    clear = look.transparent
    if clear and picture.mode in (("RGB",) if len(clear) == 3 else ("1", "L", *_SIXTEEN_BITS)):
        return _with_alpha(picture, clear)
    if picture.mode in _SIXTEEN_BITS or picture.mode in ("I", "F"):
        return _eight_bits(picture)
    if picture.mode == "La":  # of a TIFF
        return picture.convert("LA")
    if picture.has_transparency_data:
        return picture if picture.mode in ("RGBA", "LA") else picture.convert("RGBA")
    if picture.mode in _PLAIN:
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")


def to_srgb(
    picture: PIL.Image.Image, look: Appearance, *, in_place: bool = False
) -> PIL.Image.Image:
    """A picture (RGB or RGBA) in sRGB.

    Parameters:
      picture: what `plain()` returned; its profile is in its `info`, unless `look` says it.
      in_place: whether its pixels may be changed.
    """
    profile = look.profile if look.says_profile else picture.info.get("icc_profile")
    is_grey = picture.mode in ("L", "LA")
    if profile:
        space = profile[16:20]
        if space == b"GRAY" and is_grey:
            return _grey_to_srgb(picture, profile)
        if space == picture.mode.encode().ljust(4) or (
            space == b"RGB " and picture.mode in ("RGBA", "L", "LA")
        ):
            return _converted(picture, profile, in_place=in_place)
    picture = _rgb(picture)
    codes = look.colors
    if profile or codes in (None, SRGB_CODES):
        return picture
    if codes.transfer in (PQ, HLG):
        return picture.filter(_table(codes, look.peak_nits))
    return _converted(picture, cicp.profile(codes), in_place=in_place)


def _with_alpha(picture: PIL.Image.Image, transparent: tuple[int, ...]) -> PIL.Image.Image:
    """A picture with an alpha channel that makes one colour transparent."""
    if picture.mode in _SIXTEEN_BITS:
        made = _eight_bits(picture)
        differs = [255 * (value != transparent[0]) for value in range(65_536)]
        opaque = picture.convert("I").point(differs, "L")
    else:
        made = picture.copy() if picture.mode == "RGB" else picture.convert("L")
        channels = [
            channel.point([255 * (value != clear) for value in range(256)])
            for channel, clear in zip(made.split(), transparent, strict=True)
        ]
        opaque = functools.reduce(ImageChops.lighter, channels)
    made.info = {name: value for name, value in picture.info.items() if name != "transparency"}
    made.putalpha(opaque)
    return made


def _eight_bits(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Grey of more than 8 bits as grey of 8 bits."""
    if picture.mode in _SIXTEEN_BITS:
        most: float = 257
    else:
        extrema: tuple[float, float] = picture.getextrema()  # type: ignore[assignment]
        if picture.mode == "F" and extrema[1] <= 1:
            most = 1 / 255
        else:
            most = next((unit for end, unit in _DEPTHS if extrema[1] <= end), _DEPTHS[-1][1])
    wide = picture if picture.mode in ("I;16", "F") else picture.convert("I")
    return wide.point(lambda value: value * (1 / most) + 0.5).convert("L")


def _grey_to_srgb(picture: PIL.Image.Image, profile: bytes) -> PIL.Image.Image:
    grey = picture.getchannel("L") if picture.mode == "LA" else picture
    converted = _converted(grey, profile)
    if picture.mode == "LA":
        converted.putalpha(picture.getchannel("A"))
    return converted


def _converted(
    picture: PIL.Image.Image, profile: bytes, *, in_place: bool = False
) -> PIL.Image.Image:
    """A picture converted by a profile; unchanged if the profile is damaged."""
    if profile[16:20] == b"RGB ":
        picture = _rgb(picture)
    transform = _transform(profile, picture.mode)
    if transform is None:
        return _rgb(picture)
    if in_place and picture.mode in ("RGB", "RGBA"):
        return PIL.ImageCms.applyTransform(picture, transform, inPlace=True) or picture
    made = PIL.ImageCms.applyTransform(picture, transform)
    assert made is not None  # noqa: S101 only if in place
    return made


@functools.lru_cache(2)
def _transform(profile: bytes, mode: str) -> PIL.ImageCms.ImageCmsTransform | None:
    readable = _as_in_browsers(profile)
    if readable is None:
        return None
    try:
        return PIL.ImageCms.buildTransform(
            PIL.ImageCms.ImageCmsProfile(io.BytesIO(readable)),
            _SRGB,
            mode,
            "RGBA" if mode == "RGBA" else "RGB",
            # As Chromium does; the perceptual intent of a CMYK profile makes shadows lighter.
            PIL.ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    except (PIL.ImageCms.PyCMSError, OSError):
        return None


def _as_in_browsers(profile: bytes) -> bytes | None:
    """A profile that little CMS reads as Chromium does; None if it is damaged.

    The table of an RGB profile for the perceptual intent (the tag A2B0) counts for the colorimetric
    one, too. Its primaries are of the type `XYZ `.
    """
    if not icc.is_whole(profile):
        return None
    if profile[16:20] != b"RGB ":
        return profile
    count = int.from_bytes(profile[_TAGS_AT - 4 : _TAGS_AT], "big")
    places = range(_TAGS_AT, min(len(profile), _TAGS_AT + _TAG_BYTES * count), _TAG_BYTES)
    tags = {profile[at : at + 4]: at for at in places}
    for primary in {b"rXYZ", b"gXYZ", b"bXYZ"} & tags.keys():
        at = int.from_bytes(profile[tags[primary] + 4 : tags[primary] + 8], "big")
        if profile[at : at + 4] != b"XYZ ":
            return None
    if b"A2B0" in tags and b"A2B1" in tags:
        at = tags[b"A2B1"]
        profile = profile[:at] + bytes(4) + profile[at + 4 :]
    return profile


@functools.lru_cache(2)
def _table(codes: CodePoints, peak_nits: float | None) -> ImageFilter.Color3DLUT:
    return hdr.table(codes, peak_nits)


def _rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    mode = "RGBA" if picture.mode in ("RGBA", "LA") else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)
