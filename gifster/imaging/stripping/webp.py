"""WebP, animated or not: which chunks are the picture (RFC 9649, 2.3 to 2.7)."""

import struct

from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import PART_STEPS, Reader
from gifster.imaging.stripping.exif import minimal
from gifster.imaging.stripping.pieces import Pieces

_HEAD = struct.Struct("<4sI")
_PICTURE = {b"VP8 ", b"VP8L", b"ALPH"}
_SIMPLE, _HEADER = {b"VP8 ", b"VP8L"}, b"VP8X"
_KEPT = _PICTURE | {_HEADER, b"ANIM", b"ANMF", b"ICCP"}
#: The flags in the extended header for EXIF and for XMP.
_HAS_EXIF, _HAS_XMP = 0x08, 0x04
#: What a frame has before its own chunks (bytes).
_FRAME_HEAD = 16
MAX_EXIF_BYTES = 4 * 2**20


class _Chunk:
    """A chunk that is kept: ranges of the file, and new bytes."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, int] | bytes] = []
        self.bytes = 0

    def keep(self, start: int, end: int) -> None:
        self.parts.append((start, end))
        self.bytes += end - start

    def add(self, content: bytes) -> None:
        self.parts.append(content)
        self.bytes += len(content)


def strip(reader: Reader) -> Pieces:
    """The chunks of the picture, and its orientation."""
    reader.seek(4)
    end = min(8 + int.from_bytes(reader.read(4), "little"), reader.size)
    kept, exif, flags_at = _Chunk(), b"", None
    has_exif = False
    for kind, start, stop, following in _chunks(reader, 12, end):
        if kind == _HEADER and stop > start + _HEAD.size and flags_at is None:
            flags_at = start + _HEAD.size
        if kind == b"EXIF" and not has_exif:
            has_exif = True
            reader.seek(start + _HEAD.size)
            exif = minimal(_unprefixed(reader.read(min(stop - reader.tell(), MAX_EXIF_BYTES))))
        elif kind == b"ANMF":
            _keep_frame(reader, start, stop, following, kept)
        elif kind in _KEPT:
            kept.keep(start, following)
            if kind in _SIMPLE and flags_at is None:
                break  # a file without the extended header is this picture
    if flags_at is None:
        exif = b""  # nobody reads it without the extended header
    if exif:
        kept.add(b"\0" * (kept.bytes % 2) + _HEAD.pack(b"EXIF", len(exif)) + exif)
    return _assembled(reader, kept, flags_at, bool(exif))


def _assembled(reader: Reader, kept: _Chunk, flags_at: int | None, has_exif: bool) -> Pieces:
    """The file of these chunks, with the right size and flags in its headers."""
    pieces = Pieces()
    pieces.are_turned = has_exif
    reader.seek(4)
    size = (kept.bytes + 4).to_bytes(4, "little")
    if reader.read(4) == size:
        pieces.keep(0, 12)
    else:
        pieces.keep(0, 4)
        pieces.add(size)
        pieces.keep(8, 12)
    for part in kept.parts:
        if isinstance(part, bytes):
            pieces.add(part)
            continue
        start, stop = part
        if flags_at is not None and start <= flags_at < stop:
            reader.seek(flags_at)
            flags = reader.read(1)[0]
            wanted = flags & ~_HAS_XMP & ~_HAS_EXIF | (_HAS_EXIF if has_exif else 0)
            if wanted != flags:
                pieces.keep(start, flags_at)
                pieces.add(bytes([wanted]))
                start = flags_at + 1
        pieces.keep(start, stop)
    return pieces


def _keep_frame(reader: Reader, start: int, stop: int, following: int, kept: _Chunk) -> None:
    """Keep a frame of an animation without the chunks in it that are no part of its picture."""
    first = start + _HEAD.size + _FRAME_HEAD
    if stop < first:
        raise Unreadable("The image is damaged.")
    inner = _Chunk()
    is_all = True
    for kind, at, _, after in _chunks(reader, first, stop):
        if kind in _PICTURE:
            inner.keep(at, after)
        else:
            is_all = False
    if is_all and first + inner.bytes == stop:
        kept.keep(start, following)
        return
    kept.add(_HEAD.pack(b"ANMF", _FRAME_HEAD + inner.bytes))
    kept.keep(start + _HEAD.size, first)
    kept.parts += inner.parts
    kept.bytes += inner.bytes
    if inner.bytes % 2:
        kept.add(b"\0")


def _chunks(reader: Reader, at: int, end: int) -> list[tuple[bytes, int, int, int]]:
    """The chunks between two offsets: kind, start, end of the content, start of the next one."""
    found = []
    while end - at >= _HEAD.size:
        reader.step(2 * PART_STEPS)
        reader.seek(at)
        kind, size = _HEAD.unpack(reader.read(_HEAD.size))
        stop = at + _HEAD.size + size
        reader.seek(stop)
        if stop > end:
            raise Unreadable("The image is damaged.")
        following = min(stop + size % 2, end)
        found.append((kind, at, stop, following))
        at = following
    return found


def _unprefixed(exif: bytes) -> bytes:
    """EXIF without the prefix that JPEG needs, and that some programs write here, too."""
    return exif.removeprefix(b"Exif\0\0")
