"""Stills, animated PNG and AVIF, made by Pillow; and how it is asked to read a file."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import PIL.ImageSequence

from gifster.uploads.errors import Unreadable
from gifster.uploads.imaging.gif_blocks import DEFAULT_CS
from gifster.uploads.imaging.probe import ImageInfo
from gifster.uploads.imaging.recipe import Image

_FORMATS = {
    "image/gif": "GIF",
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
}
#: Where Pillow keeps what pictures say beside their pixels: camera and place, and how the pixels
#: are to be turned and coloured.
_TAGS = ("exif", "icc_profile", "xmp", "XML:com.adobe.xmp", "photoshop", "comment")
#: How they are written; of AVIF, quickly rather than in the fewest bytes.
_OPTIONS = {"JPEG": {"quality": 85}, "WEBP": {"quality": 85}, "AVIF": {"quality": 75, "speed": 8}}
_SRGB = PIL.ImageCms.createProfile("sRGB")


@contextmanager
def opened(source: Path, info: ImageInfo) -> Iterator[PIL.Image.Image]:
    """Open an image as what it is, and nothing else.

    Raises:
      Unreadable: Pillow cannot decode it; within the block, too.
    """
    try:
        with PIL.Image.open(source, formats=[_FORMATS[info.content_type]]) as image:
            yield image
    except PIL.Image.DecompressionBombError:
        raise Unreadable("The image has too many pixels to be decoded.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise Unreadable("The image is damaged: it cannot be decoded.") from error


def is_tagged(source: Path, info: ImageInfo) -> bool:
    """Whether a picture has metadata, or must be turned or coloured as it says; of GIFs, whose
    metadata browsers ignore, no.

    Raises:
      Unreadable: Pillow cannot open it.
    """
    if info.content_type == "image/gif":
        return False
    with opened(source, info) as image:
        return any(image.info.get(tag) for tag in _TAGS)


def small(source: Path, info: ImageInfo) -> PIL.Image.Image:
    """A still, upright, in a size that is quickly made (RGB or RGBA).

    Raises:
      Unreadable: Pillow cannot decode it.
    """
    with opened(source, info) as image:
        return upright(image)


def upright(frame: PIL.Image.Image) -> PIL.Image.Image:
    """A frame as it is to be seen, as sRGB: turned as its EXIF orientation says, its colours as its
    profile says. RGB, or RGBA where it has transparency."""
    turned = PIL.ImageOps.exif_transpose(frame)
    mode = "RGBA" if turned.has_transparency_data else "RGB"
    profile = turned.info.get("icc_profile")
    if profile and turned.mode in ("RGB", "RGBA", "CMYK", "L"):
        try:
            # Of RGBA the profile concerns the colours only.
            colors = turned.convert("RGB") if turned.mode == "RGBA" else turned
            made = PIL.ImageCms.profileToProfile(
                colors, io.BytesIO(profile), _SRGB, outputMode="RGB"
            )
        except PIL.ImageCms.PyCMSError:
            made = None  # for other colours than these, or damaged
        if made is not None:
            if mode == "RGBA":
                made.putalpha(turned.convert("RGBA").getchannel("A"))
            return made
    return turned if turned.mode == mode else turned.convert(mode)


def render(source: Path, info: ImageInfo, recipe: Image, target: Path) -> None:
    """Make a still by a recipe, or an animated PNG or AVIF.

    The picture is turned upright, its colours become sRGB, and its metadata is left out.

    Raises:
      Unreadable: Pillow cannot decode it.
    """
    format = _FORMATS[recipe.content_type or info.content_type]
    with opened(source, info) as image:
        frames = _frames(image, recipe, format)
        first, first_duration = next(frames)
        options: dict[str, Any] = dict(_OPTIONS.get(format, {}))
        if info.frames > 1 and not recipe.only_first_frame and format in ("PNG", "AVIF"):
            rest = list(frames)
            options |= {
                "save_all": True,
                "append_images": [frame for frame, _ in rest],
                "duration": [first_duration, *(duration for _, duration in rest)],
                "loop": 1 if info.loop is None else info.loop,
            }
        first.info = {}
        first.save(target, format, **options)


def _frames(
    image: PIL.Image.Image, recipe: Image, format: str
) -> Iterator[tuple[PIL.Image.Image, float]]:
    for frame in PIL.ImageSequence.Iterator(image):
        frame.load()  # WebP learns the duration only then
        duration = frame.info.get("duration") or DEFAULT_CS * 10
        picture = upright(frame)
        plan = recipe.plan(*picture.size)
        # Not resize()'s own box: it would let what lies beside it shine through at the edges.
        part = picture.crop((plan.left, plan.top, plan.right, plan.bottom))
        made = part.resize((plan.width, plan.height), PIL.Image.Resampling.LANCZOS)
        for function in recipe.functions:
            made = function(made)
        yield (_on_white(made) if format == "JPEG" else made), duration


def _on_white(image: PIL.Image.Image) -> PIL.Image.Image:
    """JPEG knows no transparency."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = PIL.Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.convert("RGBA").getchannel("A"))
    return white
