"""Takes the bytes of one request of an upload, and keeps them as parts in the cache."""

import hashlib
import time
from collections.abc import Iterator

from gifster.jobs.database_errors import Fault, fault_of
from gifster.uploads.config import storage, storage_to_write
from gifster.uploads.content_types import HEAD_BYTES, UNKNOWN_TYPE
from gifster.uploads.files.access import PIECE_BYTES, open_file
from gifster.uploads.files.cache import CachedFile, new_key
from gifster.uploads.files.sources import cache_pieces
from gifster.uploads.files.validation import Limits
from gifster.uploads.resumable import rows, table
from gifster.uploads.resumable.protocol import Checksum, ProtocolError, filename_of
from gifster.uploads.resumable.table import OffsetMoved, Part, PartsLost, ResumableUpload
from gifster.uploads.storage.base import check_present
from gifster.uploads.storage.spool import Writer, writer

#: A part is kept once it has so many bytes; a slow one after so long (seconds), if it is worth it.
#: A crash loses no more than that.
PART_BYTES, KEEP_S, KEEP_BYTES = 4 * 1024 * 1024, 5.0, 256 * 1024
#: After so long (seconds) what has come is kept anyhow. If nothing can be kept yet, the upload is
#: prolonged: it must not expire while its content comes.
PROLONG_S = 60.0
#: The faults of a database that has certainly not written a part's row.
_NOT_WRITTEN = {Fault.FULL, Fault.BUSY, Fault.READ_ONLY}


class Receiver:
    """The bytes of one request. All methods block: `note()` for the database, the others for the
    storage, `keep()` and `end()` for both.

    Parameters:
      rules: the uploader class that is to take the upload.
      upload: as `rows.find()` returned it.
      offset: where the request's bytes begin.
      checksum: of all of them, if the client gives it. Then all are kept, or none.

    Raises:
      OffsetMoved: the upload is at another offset.
    """

    def __init__(
        self,
        rules: type[Limits],
        upload: ResumableUpload,
        offset: int,
        checksum: Checksum | None = None,
    ) -> None:
        if offset != upload.received or upload.stage != table.Stage.OPEN:
            raise OffsetMoved(upload.received)
        self.upload, self._rules = upload, rules
        self._filename = filename_of(upload.metadata)
        self._checksum, self._is_checked = checksum, False
        self._hash = checksum.new() if checksum is not None else hashlib.sha1(usedforsecurity=False)
        self._head: bytes | None = b"" if offset == 0 else None
        self._writer: Writer | None = None
        self._key, self._gathered, self._since = "", 0, time.monotonic()
        #: A part that `store()` has made, how many new bytes it has, and which parts it replaces.
        self._stored: tuple[Part, int, list[Part]] | None = None
        #: Parts that no row names, for `tidy()`.
        self._unneeded: list[Part] = []
        #: The last byte of the upload. It stays out of the parts, so that the offset becomes the
        #: length only with the application's own commit.
        self._last = b""

    @property
    def is_complete(self) -> bool:
        """Whether the last byte has come."""
        return bool(self._last)

    @property
    def is_stored(self) -> bool:
        """Whether `store()` has made a part that waits for `note()`."""
        return self._stored is not None

    @property
    def may_keep(self) -> bool:
        """Whether what has come can be kept: what has a checksum, at the end of the request."""
        return self._checksum is None or self._is_checked

    def write(self, piece: bytes) -> bool:
        """Take a piece.

        Returns:
          whether it is time for `keep()`.

        Raises:
          ProtocolError: 413, the body is longer than the rest of the upload.
          TypeNotAllowed: the first bytes show a type that the uploader does not take.
        """
        ahead = self._gathered + (self._stored[1] if self._stored is not None else 0)
        came = self.upload.received + ahead + len(self._last) + len(piece)
        if came > self.upload.length:
            detail = f"The body exceeds the upload's length of {self.upload.length:,} bytes."
            raise ProtocolError(413, "upload_length_exceeded", detail)
        if self._checksum is not None:
            self._hash.update(piece)
        self._check_type(piece)
        if piece and came == self.upload.length:
            piece, self._last = piece[:-1], piece[-1:]
        if piece:
            self._append(piece)
        since = time.monotonic() - self._since
        if self._checksum is not None:
            return since >= PROLONG_S
        waits = since >= (KEEP_S if self._gathered >= KEEP_BYTES else PROLONG_S)
        return self._gathered >= PART_BYTES or waits

    def _check_type(self, piece: bytes) -> None:
        if self._head is not None and len(self._head) < HEAD_BYTES:
            self._head += piece[:HEAD_BYTES]
            if len(self._head) >= HEAD_BYTES and self._checksum is None:
                self._rules.check_type(self._head, self._filename)

    def _append(self, piece: bytes) -> None:
        if self._writer is None:
            self._key = new_key(self._rules)
            self._writer = writer(storage_to_write(self.upload.storage), self._key)
        try:
            self._writer.write(piece)
        except BaseException:
            self.abort()  # a full disk may have taken some bytes of the piece
            raise
        self._gathered += len(piece)

    def keep(self) -> None:
        """Make what has come durable, and move the upload's offset. If that fails, what has come is
        given up: the client sends it again. What has a checksum waits for the end of the request;
        until then the upload does not expire.

        A server whose threads for the database are few takes the steps itself: `note()` if
        `is_stored`, `store()`, `note()`, and `tidy()` in any case.

        Raises:
          OffsetMoved: another request has moved it, so these bytes are not needed.
          PartsLost: the parts that came before are gone.
        """
        try:
            if self.is_stored:
                self.note()
            self.store()
            self.note()
        finally:
            self.tidy()

    def store(self) -> None:
        """Make what has come durable, as a part that no row names yet.

        Raises:
          PartsLost: as `keep()`.
        """
        if not self.may_keep or self._writer is None:
            return
        came, absorbed = self._gathered, _absorbed(self.upload.parts, self._gathered)
        part = Part(self._key, came)
        try:
            if absorbed:
                part = self._merged(absorbed)
            else:
                self._writer.commit(UNKNOWN_TYPE)
        except BaseException:
            self.abort()
            raise
        self._writer, self._gathered, self._since = None, 0, time.monotonic()
        self._stored = part, came, absorbed

    def note(self) -> None:
        """Move the upload's offset behind the part that `store()` has made.

        Raises:
          OffsetMoved: as `keep()`.
        """
        if not self.may_keep:
            rows.prolong(self.upload)
            self._since = time.monotonic()
        if self._stored is None:
            return
        (part, came, absorbed), self._stored = self._stored, None
        upload = self.upload
        stay = upload.parts[: len(upload.parts) - len(absorbed)]
        try:
            rows.advance(upload, upload.received + came, [*stay, part])
        except Exception as error:
            # After any other error nobody knows whether the row names the part. The sweep finds
            # out. A client may try again and again, so a full disk must not get fuller.
            if isinstance(error, OffsetMoved) or fault_of(error) in _NOT_WRITTEN:
                self._unneeded.append(part)
            raise
        self._unneeded += absorbed

    def tidy(self) -> None:
        """Delete the parts that are not needed any more."""
        parts, self._unneeded = self._unneeded, []
        rows.delete_parts(self.upload, parts)

    def _merged(self, absorbed: list[Part]) -> Part:
        """One part of those before, and of what has come."""
        if self._writer is None:
            raise ValueError("nothing has come")
        self._writer.flush()
        key = new_key(self._rules)
        merged = writer(storage_to_write(self.upload.storage), key)
        try:
            for piece in self._content_of(absorbed):
                merged.write(piece)
            with self._writer.path.open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    merged.write(piece)
            merged.commit(UNKNOWN_TYPE)
        except BaseException:
            merged.abort()
            raise
        finally:
            self._writer.abort()
        return Part(key, sum(part.bytes for part in absorbed) + self._gathered)

    def end(self) -> None:
        """Keep what has come, now that the request is complete.

        Raises:
          ProtocolError: 460, it has another checksum; nothing is kept.
          TypeNotAllowed: as `write()`, which leaves a body with a checksum to this.
          OffsetMoved, PartsLost: as `keep()`.
        """
        self.check()
        self.keep()

    def check(self) -> None:
        """Check what has come, now that the request is complete, before it is kept.

        Raises:
          ProtocolError, TypeNotAllowed: as `end()`.
        """
        if self._checksum is not None:
            self._checksum.check(self._hash)
            self._is_checked = True
            if self._head is not None and len(self._head) >= HEAD_BYTES:
                self._rules.check_type(self._head, self._filename)

    def abort(self) -> None:
        """Leave no part behind that no row names. It does nothing after `end()`."""
        part, self._writer, self._gathered = self._writer, None, 0
        if self._stored is not None:
            self._unneeded.append(self._stored[0])
            self._stored = None
        try:
            if part is not None:
                part.abort()
        finally:
            self.tidy()

    def break_off(self) -> None:
        """Keep what has come of a request that breaks off, as far as that can be trusted."""
        try:
            if self.may_keep:
                self.keep()
        finally:
            self.abort()

    def assemble(self) -> CachedFile:
        """The complete upload in the cache, checked as any other. Call `end()` before.

        Raises:
          UploadError: the uploader does not take it, or a part is lost. Call `rows.fail()` then.
        """
        return cache_pieces(self._rules, self._pieces(), self._filename)

    def _pieces(self) -> Iterator[bytes]:
        yield from self._content_of(self.upload.parts)
        yield self._last

    def _content_of(self, parts: list[Part]) -> Iterator[bytes]:
        for part in parts:
            try:
                file = open_file(self.upload.storage, part.key)
            except FileNotFoundError:
                check_present(storage(self.upload.storage))
                raise PartsLost from None  # or another request has merged it
            left = part.bytes
            with file:
                while piece := file.read(PIECE_BYTES):
                    left -= len(piece)
                    yield piece
            if left:  # the client would be told that all is well
                raise PartsLost


def _absorbed(parts: list[Part], size: int) -> list[Part]:
    """The last parts that are merged with a new one.

    Each is at most twice as large as all that comes after it. So an upload has few parts, however
    small the requests are, and a byte is copied a few times at most (as in a log-structured merge).
    """
    first = len(parts)
    while first and parts[first - 1].bytes <= 2 * size and size < PART_BYTES // 2:
        size += parts[first - 1].bytes
        first -= 1
    return parts[first:]
