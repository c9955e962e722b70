"""Stills, animated PNG and animated WebP, resized by Pillow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageOps
import PIL.ImageSequence

from gifster.uploads.errors import Unreadable
from gifster.uploads.imaging.probe import ImageInfo

_FORMATS = {
    "image/gif": "GIF",
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
}


def resize(source: Path, info: ImageInfo, width: int, height: int, target: Path) -> None:
    """Resize to width × height pixels, in the same format, with all frames.

    The picture is turned upright as its EXIF orientation says, and its metadata is left out.

    Raises:
      Unreadable: Pillow cannot decode it.
    """
    format = _FORMATS[info.content_type]
    try:
        with PIL.Image.open(source, formats=[format]) as image:
            frames = _frames(image, (width, height))
            first, first_duration = next(frames)
            options: dict[str, Any] = {"quality": 85} if format in ("JPEG", "WEBP") else {}
            if info.frames > 1:
                rest = list(frames)
                options |= {
                    "save_all": True,
                    "append_images": [frame for frame, _ in rest],
                    "duration": [first_duration, *(duration for _, duration in rest)],
                    "loop": info.loop or 0,
                }
            first.save(target, format, **options)
    except PIL.Image.DecompressionBombError:
        raise Unreadable("The image has too many pixels to be decoded.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise Unreadable("The image is damaged: it cannot be decoded.") from error


def _frames(
    image: PIL.Image.Image, size: tuple[int, int]
) -> Iterator[tuple[PIL.Image.Image, float]]:
    for frame in PIL.ImageSequence.Iterator(image):
        frame.load()  # WebP learns the duration only then
        duration = frame.info.get("duration", 0)
        upright = PIL.ImageOps.exif_transpose(frame)
        turned = upright.size != frame.size
        if upright.mode in ("P", "PA", "1"):
            upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        elif upright.mode in ("CMYK", "YCbCr", "I;16", "I", "F"):
            upright = upright.convert("RGB")
        yield upright.resize(size[::-1] if turned else size, PIL.Image.Resampling.LANCZOS), duration
