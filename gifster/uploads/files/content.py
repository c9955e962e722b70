"""The content of an upload on its way into the cache.

Its first bytes are held in memory, then written without the metadata that they have
(`strip_metadata`), so that most files are written and hashed once. When the file is complete, its
whole structure is read, and the rest of the metadata goes (`stripping.py`).
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from gifster.imaging.image_info import ImageInfo
from gifster.uploads.config import storage_to_write
from gifster.uploads.files import stripping
from gifster.uploads.files.validation import Limits
from gifster.uploads.storage.spool import Writer, writer

if TYPE_CHECKING:
    from hashlib import _Hash

#: How much is held in memory (bytes). A smaller file is not written before it is checked.
HELD_BYTES = 256 * 1024
#: How much of a larger file is searched for metadata before it is written, at least (bytes): the
#: longest segment of a JPEG.
HEAD_BYTES = 64 * 1024
#: How much is moved forward at the end of a file, rather than the whole file written again (bytes).
MOVED_BYTES = 64 * 1024


class Content:
    """Writes the content of one file.

    Parameters:
      rules: of the uploader that the file is for.
      key: its key in the cache.
    """

    def __init__(self, rules: type[Limits], key: str) -> None:
        self._rules, self._key = rules, key
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._file: Writer | None = None
        #: How much is written (bytes), and its hash; the same before the last piece.
        self._bytes, self._hash = 0, hashlib.sha256()
        self._before = (0, self._hash)
        #: The hash of the content as it came; None as long as nothing of it has been left out.
        self._sent: _Hash | None = None

    @property
    def size(self) -> int:
        """Its size without what was left out."""
        return self._bytes + self._held_bytes

    @property
    def sha256(self) -> str:
        """The hash of a file that is written, in hexadecimal."""
        return self._hash.hexdigest()

    @property
    def sent_sha256(self) -> str:
        """The hash of the content as it came, in hexadecimal; empty if nothing was left out."""
        return "" if self._sent is None else self._sent.hexdigest()

    def write(self, piece: bytes) -> None:
        """Append a piece."""
        if self._file is not None:
            self._take(piece)
            return
        self._held.append(bytes(piece))  # a source may use its buffer again
        self._held_bytes += len(piece)
        if self._held_bytes >= HELD_BYTES:
            self._write_held()

    def spill(self) -> None:
        """Write what is held, if that is enough to be searched for metadata."""
        if self._file is None and self._held_bytes >= HEAD_BYTES:
            self._write_held()

    def _write_held(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        if self._rules.strip_metadata:
            if len(held[0]) < HEAD_BYTES:
                held = [b"".join(held)]
            first, *others = held
            kept = stripping.without_metadata(first)
            if kept != first:
                self._sent = hashlib.sha256(first)
            self._write(kept)
            held = others
        for piece in held:
            self._take(piece)

    def _take_held(self) -> bytes:
        head = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held, self._held_bytes = [], 0
        return head

    def _take(self, piece: bytes) -> None:
        """Write a piece as it came."""
        if self._sent is not None:
            self._sent.update(piece)
        self._write(piece)

    def _write(self, piece: bytes) -> None:
        if self._file is None:
            self._file = writer(storage_to_write(self._rules.cache), self._key)
        if self._rules.strip_metadata:
            self._before = self._bytes, self._hash.copy()
        self._hash.update(piece)
        self._file.write(piece)
        self._bytes += len(piece)

    def complete(self) -> bytes | Path:
        """The whole content: in memory if it is small, else where it can be read."""
        if self._file is None:
            self._held = [self._take_held()]
            self._held_bytes = len(self._held[0])
            return self._held[0]
        self._file.flush()
        return self._file.path

    def on_disk(self) -> Path:
        """Where the whole content can be read."""
        if self._file is None:
            self._write(self._take_held())
        self.complete()
        return self._written().path

    def _written(self) -> Writer:
        if self._file is None:
            raise ValueError("nothing was written")
        return self._file

    def strip(self, info: ImageInfo, *, quickly: bool) -> bool:
        """Take out the metadata, if the uploader wants that.

        Returns:
          False if this would take too long, and it is to be done `quickly`.

        Raises:
          UploadError: nobody can tell what is metadata.
          ProcessLost: something outside ended the process that reads a file of very many parts.
        """
        if not stripping.is_stripped(self._rules, info):
            return True
        content = self.complete()
        pieces = stripping.find_pieces(content, info, quickly=quickly)
        if pieces is None:
            return False
        if pieces.are_all:
            return True
        if self._sent is None:
            held = content if isinstance(content, bytes) else None
            self._sent = self._hash.copy() if held is None else hashlib.sha256(held)
        if isinstance(content, bytes):
            self._held = [stripping.kept(content, pieces)]
            self._held_bytes = len(self._held[0])
            return True
        size, rest = pieces.after_beginning()
        if rest.size <= MOVED_BYTES:
            self._replace_end(size, stripping.kept(content, rest))
        else:
            stripped = stripping.rewrite(self._rules, self._key, content, pieces)
            self._written().abort()
            self._file, self._bytes, self._hash = stripped
        return True

    def _replace_end(self, size: int, end: bytes) -> None:
        """Keep only the first bytes of the file, and put others behind them."""
        file = self._written()
        start, digest = self._before if self._before[0] <= size else (0, hashlib.sha256())
        stripping.hash_part(file.path, digest, start, size)
        file.truncate(size)
        self._bytes, self._hash = size, digest
        self._write(end)

    def commit(self, content_type: str) -> None:
        """Have the storage keep the file, complete and durable."""
        if self._file is None:
            self._write(self._take_held())
        self._written().commit(content_type)

    def abort(self) -> None:
        """Leave nothing behind. It does nothing after `commit()`."""
        self._held, self._held_bytes = [], 0
        if self._file is not None:
            self._file.abort()
