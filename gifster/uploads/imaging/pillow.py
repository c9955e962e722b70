"""Stills, animated PNG and animated WebP, made by Pillow; and how it is asked to read a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import PIL.Image
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
}


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


def render(source: Path, info: ImageInfo, recipe: Image, target: Path) -> None:
    """Make an image by a recipe, with all frames where the recipe and the format have them.

    The picture is turned upright as its EXIF orientation says, and its metadata is left out.

    Raises:
      Unreadable: Pillow cannot decode it.
    """
    format = _FORMATS[recipe.content_type or info.content_type]
    with opened(source, info) as image:
        frames = _frames(image, recipe, format)
        first, first_duration = next(frames)
        options: dict[str, Any] = {"quality": 85} if format in ("JPEG", "WEBP") else {}
        if info.frames > 1 and not recipe.only_first_frame and format != "JPEG":
            rest = list(frames)
            # A GIF that plays once has no loop count; the others say 1.
            options |= {
                "save_all": True,
                "append_images": [frame for frame, _ in rest],
                "duration": [first_duration, *(duration for _, duration in rest)],
                "loop": 1 if info.loop is None else info.loop,
            }
        first.save(target, format, **options)


def _frames(
    image: PIL.Image.Image, recipe: Image, format: str
) -> Iterator[tuple[PIL.Image.Image, float]]:
    for frame in PIL.ImageSequence.Iterator(image):
        frame.load()  # WebP learns the duration only then
        duration = frame.info.get("duration") or DEFAULT_CS * 10
        upright = PIL.ImageOps.exif_transpose(frame)
        if upright.mode not in ("L", "LA", "RGB", "RGBA") or recipe.functions:
            upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        plan = recipe.plan(*upright.size)
        # Not resize()'s own box: it would let what lies beside it shine through at the edges.
        part = upright.crop((plan.left, plan.top, plan.right, plan.bottom))
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
