"""The structure of a GIF: what its blocks say of each frame, and where its pixels are in the file.

Numbers in comments are sections of the GIF89a specification.
"""

from collections.abc import Iterator
from typing import NamedTuple

from gifster.imaging.boxes import Box
from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import Reader

#: A frame may hang over the edge of the picture, but not be so many times as large, unless it is
#: small.
_OVERHANG, _SMALL_PIXELS = 4, 1_000_000


class GifFrame(NamedTuple):
    """One frame: where it lies, in pixels (it may hang over the edge); its palette, 3 bytes a
    colour; which index is transparent, if any; what becomes of it (0 to 3, see 23); for how long it
    is shown, as the file says (ms); and its LZW data: the code size, and from where to where in the
    file its sub-blocks are."""

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

    It ends, as it does in Chromium, with the trailer, with the file, or with a byte that begins no
    block, be it a NUL (tried in version 156).

    Raises, when made or iterated over:
      Truncated: it ends in the middle.
      Unreadable: its structure is wrong before its first frame. What follows the last frame is
        nobody's business.
      StepsSpent: it has more blocks than the reader has steps.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        header = reader.take(13)  # 17, 18: header and logical screen descriptor
        self.width, self.height = _word(header, 6), _word(header, 8)
        self._palette = self._color_table(header[10])
        #: How often it plays, 0 for ever, as far as is known by then.
        self.loop: int | None = None

    def __iter__(self) -> Iterator[GifFrame]:
        reader, control, frames = self._reader, b"\0\0\0\0", 0
        while reader.tell() < reader.size:
            reader.step()
            block = reader.take(1)
            if block == b"\x2c":
                yield self._frame(control)
                control, frames = b"\0\0\0\0", frames + 1
            elif block == b"\x21":
                label = reader.take(1)[0]
                data = self._sub_block()
                if label == 0xF9 and len(data) >= 4:  # 23: graphic control extension
                    control = data
                elif label == 0xFF and data in (b"NETSCAPE2.0", b"ANIMEXTS1.0"):
                    data = self._sub_block()
                    if len(data) >= 3 and data[0] == 1:
                        self.loop = _word(data, 1)
                if data:
                    reader.skip_sub_blocks()
            elif block == b"\x3b" or frames > 0:  # 27: trailer
                break
            else:
                raise Unreadable("The GIF is damaged before its first picture.")

    def _frame(self, control: bytes) -> GifFrame:
        """20: image descriptor, color table, LZW code size, data."""
        descriptor = self._reader.take(9)
        left, top, width, height = (_word(descriptor, at) for at in (0, 2, 4, 6))
        if width * height > max(_OVERHANG * self.width * self.height, _SMALL_PIXELS):
            raise Unreadable("The GIF is damaged: a frame in it is larger than the picture.")
        palette = self._color_table(descriptor[8]) or self._palette
        bits = self._reader.take(1)[0]
        start = self._reader.tell()
        self._reader.skip_sub_blocks()
        return GifFrame(
            (left, top, left + width, top + height),
            interlaced=bool(descriptor[8] & 0x40),
            palette=palette,
            transparent=control[3] if control[0] & 1 else None,
            disposal=control[0] >> 2 & 7,
            delay_ms=10 * _word(control, 1),
            bits=bits,
            data=(start, self._reader.tell()),
        )

    def _color_table(self, packed: int) -> bytes:
        return self._reader.take(3 * 2 ** ((packed & 7) + 1)) if packed & 0x80 else b""

    def _sub_block(self) -> bytes:
        return self._reader.take(self._reader.take(1)[0])


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")
