"""Take the metadata out of a picture's file without decoding a pixel.

`stripped()` says which bytes of a file are its picture: what changes how it looks, and nothing
else. Its orientation stays as a minimal EXIF, its colour profile stays as it is. Camera, place,
author, comments, texts, thumbnails, and everything behind the picture are left out: EXIF, XMP,
IPTC, C2PA, the film of a "motion photo". Each format has a module, and all of them make `pieces`.
"""

from pathlib import Path
from typing import BinaryIO

from gifster.imaging.reader import Reader
from gifster.imaging.stripping import avif, gif, jpeg, png, webp
from gifster.imaging.stripping.pieces import Pieces

__all__ = ["FORMATS", "Pieces", "strip_metadata", "stripped"]

#: The types whose metadata can be taken out, and what does it.
FORMATS = {
    "image/avif": avif.strip,
    "image/gif": gif.strip,
    "image/jpeg": jpeg.strip,
    "image/png": png.strip,
    "image/webp": webp.strip,
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
    """
    reader = Reader(file, max_steps)
    pieces = FORMATS[content_type](reader)
    pieces.check(reader.size)
    return pieces


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
    """
    with source.open("rb") as file:
        pieces = stripped(file, content_type)
        pieces.write(file, target)
        return not pieces.are_all
