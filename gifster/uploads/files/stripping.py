"""Takes the metadata out of an upload before anybody can see it (`strip_metadata`).

A file that comes into the cache is complete under a temporary name first. What is at its beginning
is left out before it is written, what is behind the picture is cut off (`content.py`). If there is
more, a second file is written without it, becomes the cached file, and the first one goes. So no
cache and no store ever has the metadata; a crash leaves temporary files, which the sweep removes.
"""

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gifster.imaging import stripping
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.stripping import Pieces, without_metadata
from gifster.uploads.config import storage_to_write
from gifster.uploads.errors import imaging_errors_translated
from gifster.uploads.files.validation import Limits
from gifster.uploads.storage.spool import Writer, writer

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["find_pieces", "hash_part", "is_stripped", "kept", "rewrite", "without_metadata"]

_PIECE_BYTES = 128 * 1024


class Stripped(NamedTuple):
    """A file without metadata that is not committed yet, its size (bytes), and its SHA-256."""

    file: Writer
    bytes: int
    digest: "_Hash"


def is_stripped(rules: type[Limits], info: ImageInfo) -> bool:
    """Whether such a file loses its metadata."""
    return rules.strip_metadata and info.content_type in stripping.FORMATS


def find_pieces(content: Path | bytes, info: ImageInfo, *, quickly: bool) -> Pieces | None:
    """What is to be kept of a picture.

    Parameters:
      content: of the file, or where that is.
      quickly: return None if this takes longer than hashing the file.

    Raises:
      Unreadable: nobody can tell what is metadata.
      ProcessLost: something outside ended the process that reads a file of very many parts.
    """
    with imaging_errors_translated():
        found = stripping.glance(content, info.content_type)
        if found is None and not quickly and isinstance(content, Path):
            found = stripping.examine(content, info.content_type)
    return found


def kept(content: Path | bytes, pieces: Pieces) -> bytes:
    """What is kept of a file, in memory."""
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        return b"".join(pieces.read(source))


def hash_part(path: Path, digest: "_Hash", start: int, end: int) -> None:
    """Update a digest with the bytes of a file between two offsets."""
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while start < end and (piece := file.read(min(_PIECE_BYTES, end - start))):
            digest.update(piece)
            start += len(piece)


def rewrite(rules: type[Limits], key: str, content: Path, pieces: Pieces) -> Stripped:
    """Write what is kept of a file to another one, which is to have its key in the cache."""
    stripped = writer(storage_to_write(rules.cache), key)
    size, digest = 0, hashlib.sha256()
    try:
        with content.open("rb") as source:
            for piece in pieces.read(source):
                stripped.write(piece)
                digest.update(piece)
                size += len(piece)
        stripped.flush()
    except BaseException:
        stripped.abort()
        raise
    return Stripped(stripped, size, digest)
