"""Take the metadata out of the file of a picture or a video without decoding a pixel.

`stripped()` says which bytes of a file are its picture: what changes how it looks, and nothing
else. Its orientation stays as a minimal EXIF, its colour profile stays as it is. Camera, place,
author, comments, texts, thumbnails, and everything behind the picture are left out: EXIF, XMP,
IPTC, C2PA, the film of a "motion photo". Each format has a module, and all of them make `pieces`.
"""

import io
from pathlib import Path
from typing import BinaryIO, cast

from gifster.imaging import probe
from gifster.imaging.errors import TooComplex
from gifster.imaging.reader import OutOfSteps, Reader
from gifster.imaging.sandbox import call_sandboxed
from gifster.imaging.stripping import avif, bmp, gif, jpeg, png, tiff, webm, webp
from gifster.imaging.stripping.heads import without_metadata
from gifster.imaging.stripping.pieces import Pieces

__all__ = [
    "FORMATS", "Pieces", "examine", "glance", "strip_metadata", "stripped", "without_metadata",
]  # fmt: skip

#: The types whose metadata can be taken out, and what does it.
FORMATS = {
    "image/avif": avif.strip,
    "image/bmp": bmp.strip,
    "image/gif": gif.strip,
    "image/heic": avif.strip,
    "image/jpeg": jpeg.strip,
    "image/png": png.strip,
    "image/tiff": tiff.strip,
    "image/webp": webp.strip,
    "video/mp4": avif.strip_video,
    "video/quicktime": avif.strip_video,
    "video/webm": webm.strip,
    "video/x-m4v": avif.strip_video,
}


def stripped(file: BinaryIO, content_type: str, max_steps: int | None = None) -> Pieces:
    """What is left of a picture without its metadata.

    Parameters:
      file: open for reading, and seekable.
      content_type: one of `FORMATS`, as `probe()` found it.
      max_steps: how many steps reading it may take (see `reader`); None means any number.

    Raises:
      Truncated, Unreadable: its structure is wrong, so that nobody can tell what is metadata.
      OutOfSteps: it has more parts.
      ValueError: `content_type` is none of `FORMATS`.
    """
    if content_type not in FORMATS:
        kinds = ", ".join(sorted(FORMATS))
        raise ValueError(f"metadata is not taken out of {content_type}, only of {kinds}")
    reader = Reader(file, max_steps)
    pieces = FORMATS[content_type](reader)
    pieces.check(reader.size)
    return pieces


def glance(content: Path | bytes, content_type: str) -> Pieces | None:
    """Do what `stripped()` does if that takes no longer than hashing the file; else return None.
    Large files take turns, as in `probe.glance()`.

    Parameters:
      content: of the file, or where that is.
    """
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    # Twice what `probe.glance()` has, as it also reads what is left out.
    steps = 2 * (probe.QUICK_STEPS + size // probe.QUICK_BYTES_A_STEP)
    try:
        if isinstance(content, bytes):
            return stripped(io.BytesIO(content), content_type, steps)
        with probe.glancing, content.open("rb", buffering=0) as file:
            return stripped(cast("BinaryIO", file), content_type, steps)
    except OutOfSteps:
        return None


def examine(path: Path, content_type: str) -> Pieces:
    """Do what `stripped()` does with a file of very many parts, in a sandboxed process.

    Raises:
      TooComplex: it has more parts than any image needs.
      ProcessLost: the process was killed from outside, or could not be started.
    """
    return call_sandboxed(_examined, path, content_type, limits=probe.EXAMINING)


def _examined(path: Path, content_type: str) -> Pieces:
    try:
        with path.open("rb") as file:
            return stripped(file, content_type, 2 * probe.MAX_STEPS)
    except OutOfSteps:
        raise TooComplex("The file has millions of parts, more than any image needs.") from None


def strip_metadata(source: Path, target: Path, content_type: str) -> bool:
    """Copy a picture without its metadata.

    Its pixels and its frames stay as they are, and so do its orientation and its colour profile.

    Parameters:
      target: is written, or replaced.
      content_type: one of `FORMATS`, as `probe()` found it.

    Returns:
      whether there was any metadata; if not, the copy is the same.

    Raises:
      Truncated, Unreadable: its structure is wrong, so that nobody can tell what is metadata.
      ValueError: `content_type` is none of `FORMATS`.
    """
    with source.open("rb") as file:
        pieces = stripped(file, content_type)
        pieces.write(file, target)
        return not pieces.are_all
