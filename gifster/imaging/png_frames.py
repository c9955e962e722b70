"""Decode an animated PNG frame by frame, and compose what browsers show.

Each frame is decoded by Pillow as a PNG of its own, with the colours of the whole (PNG
specification, Third Edition, 11.3.6). Pillow's own animations begin with an image that is no frame,
and get some disposals wrong.
"""

import io
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import PIL.Image
from PIL import ImageChops
from PIL.PngImagePlugin import putchunk

from gifster.imaging import appearance, orientation, pillow
from gifster.imaging.appearance import Appearance
from gifster.imaging.boxes import Box, is_empty, moved, union
from gifster.imaging.delays import displayed_ms
from gifster.imaging.errors import Unreadable
from gifster.imaging.frame import Frame
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.png_chunks import BLENDS, CLEARED, RESTORED, PngChunks, PngFrame
from gifster.imaging.reader import Reader

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Where the size is in IHDR, after the kind.
_SIZE = slice(4, 12)
#: What comes before compressed data (RFC 1950, 2.2), and how much is unpacked at a time (bytes).
_ZLIB_HEAD, _PART_BYTES = 2, 2**16


def frames(source: Path, info: ImageInfo) -> Iterator[Frame]:
    """The frames of an animated PNG. A picture is valid until the next one is asked for.

    Parameters:
      info: what `probe()` returned for it.

    Raises:
      Unreadable: the first frame cannot be decoded.
    """
    with source.open("rb") as structure, source.open("rb") as pixels:
        chunks = PngChunks(Reader(structure))
        canvas, look = None, Appearance()
        now_ms, rounded_ms = 0.0, 0
        for frame in chunks:
            if canvas is None:
                look = appearance.of_png(chunks.depth, chunks.describing)
            piece = _decoded(frame.box, frame.data, chunks, look, pixels, info)
            if canvas is None:
                canvas = _Canvas((chunks.width, chunks.height))
                if piece is None:
                    raise Unreadable("The image is damaged: it cannot be decoded.")
            now_ms += displayed_ms(frame.delay_ms)
            delay_ms, rounded_ms = round(now_ms) - rounded_ms, round(now_ms)
            changed = canvas.show(frame, piece)
            picture = orientation.turned(canvas.picture, look.orientation)
            if picture is not canvas.picture and not is_empty(changed):
                changed = (0, 0, *picture.size)
            yield Frame(picture, changed, delay_ms)


def first(source: Path, info: ImageInfo) -> PIL.Image.Image | None:
    """The picture that an animation begins with; None if the PNG was never one.

    An animation that is wrong may be a still. Pillow refuses some of these.

    Raises:
      Unreadable: it cannot be decoded.
    """
    with source.open("rb") as structure, source.open("rb") as pixels:
        chunks = PngChunks(Reader(structure))
        frame = next(iter(chunks), None)
        if frame is not None:
            return next(frames(source, info)).picture
        if not chunks.has_controls:
            return None
        whole = (0, 0, chunks.width, chunks.height)
        look = appearance.of_png(chunks.depth, chunks.describing)
        picture = _decoded(whole, chunks.image, chunks, look, pixels, info)
        if picture is None:
            raise Unreadable("The image is damaged: it cannot be decoded.")
        return orientation.turned(picture, look.orientation)


def mended(source: Path, info: ImageInfo) -> PIL.Image.Image:
    """A still whose pixels have a wrong checksum (RFC 1950), which browsers ignore.

    Raises:
      Unreadable: more than that is wrong.
    """
    with source.open("rb") as structure, source.open("rb") as file:
        chunks = PngChunks(Reader(structure))
        for _ in chunks:
            pass
        are_right = all(
            _read(file, end, end + 4) == zlib.crc32(_read(file, start, end)).to_bytes(4, "big")
            for start, end in chunks.header
        )
        whole = (0, 0, chunks.width, chunks.height)
        packed = _with_checksum(_packed(chunks.image, file), whole) if are_right else None
        look = appearance.of_png(chunks.depth, chunks.describing)
        if packed is not None:
            picture = _opened(_header(whole, chunks, file), packed, look, info)
            if picture is not None:
                return orientation.turned(picture, look.orientation)
    raise Unreadable("The image is damaged: it cannot be decoded.")


def was_animation(source: Path) -> bool:
    """Whether a PNG has chunks of an animation, right or wrong."""
    with source.open("rb") as structure:
        chunks = PngChunks(Reader(structure))
        return next(iter(chunks), None) is not None or chunks.has_controls


def _decoded(  # noqa: PLR0913, PLR0917
    box: Box,
    data: list[tuple[int, int]],
    chunks: PngChunks,
    look: Appearance,
    file: BinaryIO,
    info: ImageInfo,
) -> PIL.Image.Image | None:
    """The pixels of a frame as they are stored (RGB or RGBA); None if they are damaged. A wrong
    checksum alone is no damage to browsers."""
    header, packed = _header(box, chunks, file), _packed(data, file)
    picture = _opened(header, packed, look, info)
    if picture is None:
        mended = _with_checksum(packed, box)
        picture = None if mended is None else _opened(header, mended, look, info)
    return picture


def _header(box: Box, chunks: PngChunks, file: BinaryIO) -> bytes:
    """What comes before the compressed pixels in a PNG of a frame alone."""
    made = io.BytesIO()
    made.write(_SIGNATURE)
    for start, end in chunks.header:
        chunk = _read(file, start, end)
        if chunk[:4] == b"IHDR":
            size = b"".join(side.to_bytes(4, "big") for side in (box[2] - box[0], box[3] - box[1]))
            chunk = chunk[: _SIZE.start] + size + chunk[_SIZE.stop :]
        putchunk(made, chunk[:4], chunk[4:])
    return made.getvalue()


def _packed(data: list[tuple[int, int]], file: BinaryIO) -> bytes:
    """The compressed pixels of a frame."""
    return b"".join(_read(file, start, end) for start, end in data)


def _opened(
    header: bytes, packed: bytes, look: Appearance, info: ImageInfo
) -> PIL.Image.Image | None:
    """The pixels of a PNG; None if they are damaged."""
    made = io.BytesIO()
    made.write(header)
    putchunk(made, b"IDAT", packed)
    putchunk(made, b"IEND", b"")
    made.seek(0)
    with suppress(Unreadable), pillow.open_image(made, info) as image:
        return pillow.upright(image, look._replace(orientation=1))
    return None


def _with_checksum(packed: bytes, box: Box) -> bytes | None:
    """Compressed pixels with the right checksum behind them; None if they are damaged themselves,
    or more than a frame has."""
    unpacking, checksum = zlib.decompressobj(-zlib.MAX_WBITS), 1
    rest, left = packed[_ZLIB_HEAD:], _most_bytes(box)
    try:
        while not unpacking.eof and left >= 0:
            part = unpacking.decompress(rest, _PART_BYTES)
            if not part and not unpacking.unconsumed_tail and not unpacking.eof:
                return None
            rest, left = unpacking.unconsumed_tail, left - len(part)
            checksum = zlib.adler32(part, checksum)
    except zlib.error:
        return None
    if left < 0:
        return None
    end = len(packed) - len(unpacking.unused_data)
    return packed[:end] + checksum.to_bytes(4, "big")


def _most_bytes(box: Box) -> int:
    """The bytes of a frame of four samples of 16 bits, each row with a filter, in all passes."""
    width, height = box[2] - box[0], box[3] - box[1]
    return 8 * width * height + 16 * (height + 8)


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


class _Canvas:
    """The picture on which the frames are drawn."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.picture = PIL.Image.new("RGBA", size)
        self._is_first = True
        #: What the last frame does to its box before the next one is drawn: the box, and the pixels
        #: that it gets; None clears it.
        self._disposal: tuple[Box, PIL.Image.Image | None] | None = None

    def show(self, frame: PngFrame, piece: PIL.Image.Image | None) -> Box:
        """Draw a frame, and return the box that has changed; empty if none has."""
        is_first, self._is_first = self._is_first, False
        region = frame.box if self._disposal is None else union(frame.box, self._disposal[0])
        region = (0, 0, *self.picture.size) if is_first else region
        before = self.picture.crop(region)
        self._dispose()
        below = self.picture.crop(frame.box)
        if piece is not None:
            self._draw(frame, piece, is_first=is_first)
        if frame.disposal == CLEARED or (frame.disposal == RESTORED and is_first):
            self._disposal = frame.box, None
        else:
            self._disposal = (frame.box, below) if frame.disposal == RESTORED else None
        if is_first:
            return region
        return _difference(before, self.picture.crop(region), region)

    def _draw(self, frame: PngFrame, piece: PIL.Image.Image, *, is_first: bool) -> None:
        if is_first and piece.size == self.picture.size:
            self.picture = piece
        elif frame.blend == BLENDS and piece.mode == "RGBA":
            if self.picture.mode == "RGBA":
                self.picture.alpha_composite(piece, frame.box[:2])
            else:
                self.picture.paste(piece, frame.box[:2], piece)
        else:
            self._allow(piece.mode)
            self.picture.paste(piece, frame.box[:2])

    def _dispose(self) -> None:
        if self._disposal is None:
            return
        box, pixels = self._disposal
        if pixels is None:
            self._allow("RGBA")
            self.picture.paste((0, 0, 0, 0), box)
        else:
            self.picture.paste(pixels, box[:2])

    def _allow(self, mode: str) -> None:
        """Let the picture be transparent, if some of it will be."""
        if mode == "RGBA" and self.picture.mode == "RGB":
            self.picture = self.picture.convert("RGBA")


def _difference(before: PIL.Image.Image, after: PIL.Image.Image, place: Box) -> Box:
    """The box in which two pictures of one place differ; an empty one if they do not."""
    if before.mode != after.mode:
        return place
    inner = ImageChops.difference(before, after).getbbox(alpha_only=False)
    return (0, 0, 0, 0) if inner is None else moved(inner, place)
