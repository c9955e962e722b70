"""PNGs with any chunks, and JPEGs, WebPs and AVIFs of a row of colours."""

import io
import struct
import zlib

import PIL.Image


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", crc)


def with_chunks(png: bytes, *chunks: bytes, before: bytes = b"IDAT") -> bytes:
    """A PNG with further chunks before the first of a kind."""
    at = png.index(before) - 4
    return png[:at] + b"".join(chunks) + png[at:]


def written(size: tuple[int, int], depth: int, kind: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG written by hand.

    Parameters:
      depth: the bits of a sample.
      kind: 0 for grey, 2 for RGB, 3 for a palette, 4 and 6 for grey and RGB with alpha.
      rows: the packed samples of all rows, without filters.
    """
    width = len(rows) // size[1]
    data = b"".join(b"\0" + rows[at : at + width] for at in range(0, len(rows), width))
    header = struct.pack(">2L5B", *size, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    )


def row(colors: list[tuple[int, int, int]], format: str = "PNG", **options: object) -> bytes:
    """A picture of 16 × 16 pixels of each colour, side by side."""
    picture = PIL.Image.new("RGB", (16 * len(colors), 16))
    for number, color in enumerate(colors):
        picture.paste(color, (16 * number, 0, 16 * number + 16, 16))
    buffer, mode = io.BytesIO(), str(options.pop("mode", "RGB"))
    picture = picture.quantize(len(colors)) if mode == "P" else picture.convert(mode)
    picture.save(buffer, format, **options)
    return buffer.getvalue()
