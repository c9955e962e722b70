"""Read the structure of a PNG or animated PNG: chunks with a length before and a CRC behind them.

The format: PNG specification (Third Edition, W3C), sections 5 and 11.3.6. Odd animations end where
Chromium 156 ends them: before the first frame that is wrong.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gifster.imaging.boxes import Box
from gifster.imaging.delays import Timeline
from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import Reader

_HEAD, _CRC = struct.Struct(">I4s"), struct.Struct(">I")
_ANIMATION, _FRAME = struct.Struct(">2I"), struct.Struct(">5I2H2B")
_MAX_NUMBER = 2**31 - 1
#: The colour type of a palette, and how many bytes of tRNS each type needs at least (11.3.1.1).
_PALETTE = 3
_TRANSPARENT_BYTES = {0: 2, 2: 6, 3: 0}
#: The chunks that say how the pixels are to be shown: they must come before these, and only the
#: first of each kind counts. Longer ones are ignored (bytes).
_DESCRIBING = {
    b"eXIf", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"tRNS", b"cLLI", b"mDCV"
}  # fmt: skip
_MAX_DESCRIBING_BYTES = 1_000_000
#: What becomes of a frame after it was shown, and how it is drawn.
CLEARED, RESTORED = 1, 2
REPLACES, BLENDS = 0, 1


class Facts(NamedTuple):
    """Width and height of the picture as it is stored (pixels), the number of frames, how often
    they play (0 for forever, None for a still), the bits of a sample, and the chunks that say how
    the picture is to be shown: kind and content."""

    width: int
    height: int
    frames: int
    loop: int | None
    depth: int
    describing: Mapping[bytes, bytes]


class PngFrame(NamedTuple):
    """One frame of an animation.

    Attributes:
      box: its place in pixels, within the picture.
      delay_ms: the delay that the file declares.
      disposal: what becomes of it after it was shown: `CLEARED`, `RESTORED`, or 0 if it stays.
      blend: whether it `REPLACES` the pixels below, or `BLENDS` with them.
      data: the first and the last offset of each part of its compressed pixels.
    """

    box: Box
    delay_ms: float
    disposal: int
    blend: int
    data: list[tuple[int, int]]


class PngChunks:
    """Reads the chunks of a PNG, frame by frame, and skips the pixels. A still has no frames.

    Attributes, complete after the last frame:
      width, height: of the picture as it is stored (pixels).
      plays: how often it plays, 0 for forever; None if it is no animation.
      header: the first and the last offset of each chunk that a decoder needs beside the pixels,
        from its kind to before its CRC.
      image: the first and the last offset of each part of the compressed pixels of the image that
        viewers show that know no animations. It may be the first frame.
      depth: the bits of a sample.
      describing: the chunks that say how the pixels are to be shown: kind and content.
      has_controls: whether there are chunks of an animation, right or wrong.

    Raises, when it is iterated over:
      Truncated: the file ends in the middle.
      Unreadable: the structure is wrong.
      OutOfSteps: there are more chunks than the reader has steps.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.width = self.height = self.depth = self._colors = 0
        self.plays: int | None = None
        self.header: list[tuple[int, int]] = []
        self.image: list[tuple[int, int]] = []
        self.describing: dict[bytes, bytes] = {}
        self.has_controls = self._has_palette = False
        self._frames_left = 0
        #: The number that the next chunk of the animation must have; None after a wrong one.
        self._sequence: int | None = 0
        #: The frame whose data is being read.
        self._frame: PngFrame | None = None

    def __iter__(self) -> Iterator[PngFrame]:
        self._reader.seek(8)
        first, kind = True, b""
        while kind != b"IEND":
            self._reader.step()
            size, kind = _HEAD.unpack(self._reader.read(_HEAD.size))
            if first != (kind == b"IHDR"):
                raise Unreadable("The PNG is damaged.")
            first, start = False, self._reader.tell()
            if kind in (b"IEND", b"fcTL") and self._frame is not None and self._frame.data:
                if self._frames_left > 0:
                    yield self._frame
                self._frames_left, self._frame = self._frames_left - 1, None
            self._read_chunk(kind, size, start)
            self._reader.seek(start + size + _CRC.size)

    def _read_chunk(self, kind: bytes, size: int, start: int) -> None:
        self.has_controls |= kind in (b"acTL", b"fcTL", b"fdAT")
        if kind == b"IHDR":
            self._read_header(size, start)
        elif kind == b"IDAT":
            if self._colors == _PALETTE and not self._has_palette:
                raise Unreadable("The PNG is damaged: its palette is missing.")
            self.image.append((start, start + size))
            if self._frame is not None:
                self._frame.data.append((start, start + size))
        elif kind == b"acTL":
            self._read_animation(size)
        elif kind == b"fcTL":
            self._read_frame(size)
        elif kind == b"fdAT":
            self._read_data(size, start)
        elif kind == b"PLTE" and not self.image:
            self._has_palette = True
            self.header.append((start - 4, start + size))
        elif kind in _DESCRIBING and not self.image and kind not in self.describing:
            self._read_description(kind, size, start)

    def _read_header(self, size: int, start: int) -> None:
        if not 8 <= size <= 64:
            raise Unreadable("The PNG is damaged.")
        head = self._reader.read(min(size, 10)).ljust(10, b"\0")
        self.width, self.height, self.depth, self._colors = struct.unpack(">2I2B", head)
        self.header.append((start - 4, start + size))

    def _read_description(self, kind: bytes, size: int, start: int) -> None:
        if not counts(kind, size, self._colors, has_palette=self._has_palette):
            return
        content = self._checked(kind, size, min(size, _MAX_DESCRIBING_BYTES))
        if content is not None:
            self.describing[kind] = content
            if kind == b"tRNS":
                self.header.append((start - 4, start + size))

    def _read_animation(self, size: int) -> None:
        """Read how many frames there are, and how often they play."""
        content = self._checked(b"acTL", size, _ANIMATION.size)
        if content is None or self.plays is not None or self.image:
            return
        count, plays = _ANIMATION.unpack(content)
        if 0 < count <= _MAX_NUMBER and plays <= _MAX_NUMBER:
            self._frames_left, self.plays = count, plays

    def _read_frame(self, size: int) -> None:
        """Read the size, place and time of a frame."""
        content = self._checked(b"fcTL", size, _FRAME.size)
        self._frame = None
        if content is not None:
            number, width, height, x, y, delay, unit, disposal, blend = _FRAME.unpack(content)
            box = (x, y, x + width, y + height)
            fits = width > 0 and height > 0 and box[2] <= self.width and box[3] <= self.height
            whole = bool(self.image) or box == (0, 0, self.width, self.height)
            if fits and whole and number == self._sequence and disposal <= 2 and blend <= 1:
                self._sequence = number + 1
                self._frame = PngFrame(box, 1000 * delay / (unit or 100), disposal, blend, [])
                return
        self._end_animation()

    def _read_data(self, size: int, start: int) -> None:
        """Note where some data of a frame is."""
        number = int.from_bytes(self._reader.read(4), "big") if size >= 4 else None
        if self._frame is None or number is None or number != self._sequence or not self.image:
            self._end_animation()
            return
        self._sequence = number + 1
        self._frame.data.append((start + 4, start + size))

    def _end_animation(self) -> None:
        """Ignore this frame and all later ones."""
        if self.plays is not None and not self.image:
            raise Unreadable("The PNG is damaged: its first frame is wrong.")
        self._sequence = self._frame = None

    def _checked(self, kind: bytes, size: int, wanted: int) -> bytes | None:
        """The content of a chunk; None if its size or its CRC is wrong."""
        if size != wanted:
            return None
        content = self._reader.read(size)
        (crc,) = _CRC.unpack(self._reader.read(_CRC.size))
        return content if crc == zlib.crc32(kind + content) else None


def counts(kind: bytes, size: int, colors: int, *, has_palette: bool) -> bool:
    """Whether browsers read a chunk that describes the pixels, in front of these.

    Parameters:
      size: of its content (bytes).
      colors: the colour type of the picture.
      has_palette: whether it comes behind a palette (5.6).
    """
    if kind == b"tRNS":
        is_behind = has_palette or colors != _PALETTE
        return is_behind and size >= _TRANSPARENT_BYTES.get(colors, 0)
    return kind != b"cICP" or not has_palette


def read(reader: Reader, timeline: Timeline) -> Facts:
    """Read the facts of a file, and add its frames to the timeline.

    Raises:
      Truncated: the file ends in the middle.
      Unreadable: the structure is wrong.
      TooManyFrames: there are more frames than the timeline accepts.
      OutOfSteps: there are more chunks than the reader has steps.
    """
    chunks = PngChunks(reader)
    for frame in chunks:
        timeline.add(frame.delay_ms)
    moves = timeline.frames > 1
    return Facts(
        chunks.width,
        chunks.height,
        max(1, timeline.frames),
        chunks.plays if moves else None,
        chunks.depth,
        chunks.describing,
    )
