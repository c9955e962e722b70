"""Decode BMPs with a palette, and those that are packed by run lengths (RLE). Pillow fails at some
of them: two bits a pixel, palettes that are too large, short headers, and packed pixels that are
damaged. As in Chromium, pixels that a packed BMP leaves out are black."""

from pathlib import Path
from typing import BinaryIO

import PIL.Image

from gifster.imaging.bmp import FILE_HEADER_BYTES, Layout, layout
from gifster.imaging.reader import Reader

_DEPTHS, _MAX_COLORS = (1, 2, 4, 8), 256
#: The compressions: none, and by the depth what packs runs. OS/2 has one of 24 bits.
_UNPACKED, _PACKED = 0, {8: 1, 4: 2, 24: 4}
#: The headers of OS/2, in which the compressions 3 and 4 mean others than in those of Windows.
_OS2_HEADERS, _OS2_1 = (16, 64), 12
#: What follows a count of 0: the end of a row, the end of the picture, a move to another place.
_END_OF_ROW, _END, _MOVE = range(3)


def decoded(source: Path) -> PIL.Image.Image | None:
    """The picture of a BMP (P or RGB); None if it has neither a palette nor runs."""
    with source.open("rb") as file:
        facts = layout(Reader(file))
        head = _bytes_at(file, FILE_HEADER_BYTES, 40)
        bits = int.from_bytes(head[10:12] if facts.header == _OS2_1 else head[14:16], "little")
        kind = int.from_bytes(head[16:20], "little") if facts.header > 16 else _UNPACKED
        is_packed = _PACKED.get(bits) == kind and (bits != 24 or facts.header in _OS2_HEADERS)
        is_upright = (
            facts.header != _OS2_1 and int.from_bytes(head[8:12], "little", signed=True) < 0
        )
        palette = _palette(file, facts) if bits in _DEPTHS else b""
        if is_packed:
            file.seek(facts.pixels)
            runs = _Runs(facts.width, facts.height, bits)
            return runs.decoded(file.read(), palette, 1 if is_upright else -1)
        if kind != _UNPACKED or bits not in _DEPTHS:
            return None
        row_bytes = (facts.width * bits + 31) // 32 * 4
        data = _bytes_at(file, facts.pixels, row_bytes * facts.height)
        made = PIL.Image.frombytes(
            "P", (facts.width, facts.height), data, "raw", "P" if bits == 8 else f"P;{bits}",
            row_bytes, 1 if is_upright else -1,
        )  # fmt: skip
        made.putpalette(palette)
        return made


def _bytes_at(file: BinaryIO, at: int, count: int) -> bytes:
    """So many bytes, zeros if the file ends before."""
    file.seek(at)
    return file.read(count).ljust(count, b"\0")


def _palette(file: BinaryIO, facts: Layout) -> bytes:
    """The colours, 3 bytes each. Those that are missing are black."""
    start, entry = FILE_HEADER_BYTES + facts.header, 3 if facts.header == _OS2_1 else 4
    count = min(_MAX_COLORS, (facts.palette_end - start) // entry)
    colors = _bytes_at(file, start, count * entry)
    made = bytearray(3 * _MAX_COLORS)
    for channel in range(3):
        made[2 - channel : 3 * count : 3] = colors[channel::entry]
    return bytes(made)


class _Runs:
    """Unpacks the pixels of a BMP (MS-WMF, 2.1.1.7; OS/2's RLE24)."""

    def __init__(self, width: int, height: int, bits: int) -> None:
        self._width, self._height, self._bits = width, height, bits
        #: The bytes of a pixel here, all pixels in their order, and which of them are drawn.
        self._bytes = 3 if bits == 24 else 1
        self._pixels = bytearray(width * height * self._bytes)
        self._drawn = bytearray(width * height)

    def decoded(self, data: bytes, palette: bytes, order: int) -> PIL.Image.Image:
        """The picture (P or RGB), as far as it is whole.

        Parameters:
          order: 1 if the first row is the highest, -1 if it is the lowest.
        """
        self._unpack(data)
        size = self._width, self._height
        mode, raw = ("RGB", "BGR") if self._bits == 24 else ("P", "P")
        made = PIL.Image.frombytes(mode, size, self._pixels, "raw", raw, 0, order)
        if mode == "P":
            made.putpalette(palette)
        if self._drawn.count(255) < len(self._drawn):
            drawn = PIL.Image.frombytes("L", size, self._drawn, "raw", "L", 0, order)
            black = PIL.Image.new("RGB", size)
            black.paste(made.convert("RGB"), mask=drawn)
            return black
        return made

    def _unpack(self, data: bytes) -> None:
        at = column = row = 0
        while at + 1 < len(data) and row < self._height:
            count, value = data[at : at + 2]
            at += 2
            if count:
                size = self._bytes
                self._draw(row, column, self._repeated(data[at - 1 : at - 1 + size], count))
                at += size - 1
                column += count
            elif value == _END_OF_ROW:
                row, column = row + 1, 0
            elif value == _END:
                return
            elif value == _MOVE:
                column, row = column + data[at], row + int.from_bytes(data[at + 1 : at + 2])
                at += 2
            else:
                size = (value * self._bits + 7) // 8
                self._draw(row, column, self._listed(data[at : at + size], value))
                at += size + size % 2
                column += value

    def _repeated(self, value: bytes, count: int) -> bytes:
        if self._bits == 4:
            return (bytes([value[0] >> 4, value[0] & 15]) * (count // 2 + 1))[:count]
        return value * count

    def _listed(self, values: bytes, count: int) -> bytes:
        if self._bits == 4:
            return bytes(half for value in values for half in (value >> 4, value & 15))[:count]
        return values

    def _draw(self, row: int, column: int, pixels: bytes) -> None:
        """Draw pixels, but none beyond the end of their row."""
        count = max(0, min(len(pixels) // self._bytes, self._width - column))
        start = row * self._width + column
        if count:
            place = slice(start * self._bytes, (start + count) * self._bytes)
            self._pixels[place] = pixels[: count * self._bytes]
            self._drawn[start : start + count] = b"\xff" * count
