"""Read the structure of a GIF: facts of each frame, and where its pixels are in the file.

Numbers in comments are sections of the GIF89a specification.
"""

from collections.abc import Iterator
from typing import NamedTuple

from gifster.imaging.boxes import Box, is_empty
from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import Reader

#: A frame may extend beyond the picture: it may have so many times the pixels of the picture, or so
#: many pixels if the picture is small.
_MAX_AREA_RATIO, _ALWAYS_ALLOWED_PIXELS = 4, 1_000_000
#: The longest side of a picture, with how many bits LZW data may begin, and the bytes of data
#: without codes.
_MAX_SIDE, _BITS, _NO_CODES = 0xFFFF, range(1, 9), 1
#: Disposal methods: after the frame its box is cleared, or gets back its former content. Some
#: programs write 4 for the latter, and browsers accept it.
CLEARED, RESTORED = 2, 3
_DISPOSALS = {2: CLEARED, 3: RESTORED, 4: RESTORED}
_APPLICATIONS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


class GifFrame(NamedTuple):
    """One frame.

    Attributes:
      box: its place in pixels, which may extend beyond the picture.
      palette: 3 bytes for each colour.
      transparent: the index that is transparent, if any.
      disposal: what becomes of the frame after it was shown: `CLEARED`, `RESTORED`, or 0 if it
        stays.
      delay_ms: the delay that the file declares.
      bits: the code size of its LZW data.
      data: the first and the last offset of its LZW sub-blocks in the file.
    """

    box: Box
    interlaced: bool
    palette: bytes
    transparent: int | None
    disposal: int
    delay_ms: int
    bits: int
    data: tuple[int, int]


class GifBlocks:
    """Reads the blocks of a GIF, frame by frame, and skips the pixels.

    As in Chromium 156, a GIF ends with its trailer, with the file, or where no block begins that is
    a block. Anything after that is ignored. The picture is as large as the logical screen, or
    larger, if the first frame extends beyond it. Later frames do not enlarge it.

    Attributes, the size complete after the first frame, `plays` after the last:
      palette: the global color table, 3 bytes for each colour; empty if there is none.
      width, height: the size of the picture (pixels).
      plays: how often it plays, 0 for forever; None if the file does not tell, and it plays once.

    Raises, when it is made or iterated over:
      Truncated: the file ends in the middle of a block.
      Unreadable: the structure is wrong before the first frame.
      OutOfSteps: there are more blocks than the reader has steps.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        header = reader.read(13)  # 17, 18: header and logical screen descriptor
        self.width, self.height = _word(header, 6), _word(header, 8)
        self.palette = self._color_table(header[10])
        self.plays: int | None = None

    def __iter__(self) -> Iterator[GifFrame]:
        reader, control, frames = self._reader, b"\0\0\0\0", 0
        while reader.tell() < reader.size:
            reader.step()
            block = reader.read(1)
            if block == b"\x2c":
                yield self._frame(control, is_first=frames == 0)
                control, frames = b"\0\0\0\0", frames + 1
                continue
            label = reader.read(1)[0] if block == b"\x21" else None
            data = b"" if label is None else self._sub_block()
            if label is None or (label == 0xF9 and len(data) != 4):
                break  # 27: the trailer, or damage
            if label == 0xF9:  # 23: graphic control extension
                control = data
            elif label == 0xFF and data in _APPLICATIONS:
                data = self._sub_block()
                if len(data) == 3 and data[0] == 1:
                    times = _word(data, 1)
                    self.plays = times + 1 if times else 0
            if data:
                reader.skip_sub_blocks()
        if frames == 0:
            raise Unreadable("The GIF is damaged: its first frame cannot be found.")

    def _frame(self, control: bytes, *, is_first: bool) -> GifFrame:
        """20: image descriptor, color table, LZW code size, data."""
        descriptor = self._reader.read(9)
        left, top, width, height = (_word(descriptor, at) for at in (0, 2, 4, 6))
        box = (left, top, left + width, top + height)
        if is_first:
            self._enlarge(box)
        if width * height > max(_MAX_AREA_RATIO * self.width * self.height, _ALWAYS_ALLOWED_PIXELS):
            raise Unreadable(
                "The GIF is damaged: one of its frames is far larger than the picture."
            )
        palette = self._color_table(descriptor[8]) or self.palette
        bits = self._reader.read(1)[0]
        start = self._reader.tell()
        self._reader.skip_sub_blocks()
        has_codes = bits in _BITS and self._reader.tell() > start + _NO_CODES
        if is_first and not has_codes and not is_empty(box):
            raise Unreadable("The GIF is damaged: it cannot be decoded.")
        return GifFrame(
            box,
            interlaced=bool(descriptor[8] & 0x40),
            palette=palette,
            transparent=control[3] if control[0] & 1 else None,
            disposal=_DISPOSALS.get(control[0] >> 2 & 7, 0),
            delay_ms=10 * _word(control, 1),
            bits=bits,
            data=(start, self._reader.tell()),
        )

    def _enlarge(self, first: Box) -> None:
        """Make the picture as large as the first frame needs."""
        self.width, self.height = max(self.width, first[2]), max(self.height, first[3])
        if max(self.width, self.height) > _MAX_SIDE:
            raise Unreadable("The GIF is damaged: its first frame lies beyond any picture.")

    def _color_table(self, packed: int) -> bytes:
        return self._reader.read(3 * 2 ** ((packed & 7) + 1)) if packed & 0x80 else b""

    def _sub_block(self) -> bytes:
        return self._reader.read(self._reader.read(1)[0])


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")
