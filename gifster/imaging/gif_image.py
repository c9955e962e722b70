"""The blocks of a GIF that is written, as bytes (GIF89a, 17 to 23)."""

import PIL.Image

from gifster.imaging.boxes import Box

#: The disposal method of a frame that stays.
_STAYS = 1


def header(size: tuple[int, int], palette: bytes, plays: int) -> bytes:
    """The beginning of a GIF.

    Parameters:
      palette: RGB, 3 bytes for each colour of the global color table; empty for none.
      plays: how often it plays, 0 for forever.
    """
    flags, table = _color_table(palette)
    repetitions = b""
    if plays != 1:  # a GIF that plays once has no count
        count = min(plays - 1, 0xFFFF) if plays else 0
        repetitions = b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + _words(count) + b"\0"
    return b"GIF89a" + _words(*size) + bytes([0x70 | flags, 0, 0]) + table + repetitions


def control(delay_cs: int, disposal: int, transparent: int | None) -> bytes:
    """The graphic control extension before a frame.

    Parameters:
      disposal: what becomes of it, 0 if it stays. That is written as 1: Pillow takes a 0 for the
        disposal of the frame before.
    """
    flags = (disposal or _STAYS) << 2 | (transparent is not None)
    return b"\x21\xf9\x04" + bytes([flags]) + _words(delay_cs) + bytes([transparent or 0, 0])


def image(indices: PIL.Image.Image, box: Box, palette: bytes = b"") -> bytes:
    """The pixels of a frame (L), with a color table of its own if it needs one."""
    bits = max(2, int(indices.getextrema()[1]).bit_length())  # type: ignore[arg-type]
    data = bytes([bits]) + indices.tobytes("gif", "L", bits, 0) + b"\0"
    return descriptor(box, palette) + data


def descriptor(box: Box, palette: bytes = b"", *, interlaced: bool = False) -> bytes:
    """What comes before the pixels of a frame: its place, and its color table if it has one."""
    flags, table = _color_table(palette)
    place = _words(*box[:2], box[2] - box[0], box[3] - box[1])
    return b"\x2c" + place + bytes([flags | interlaced << 6]) + table


def _color_table(palette: bytes) -> tuple[int, bytes]:
    """The flags that announce a color table, and the table."""
    if not palette:
        return 0, b""
    bits = max(1, (len(palette) // 3 - 1).bit_length())
    return 0x80 | bits - 1, palette.ljust(3 * 2**bits, b"\0")


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "little") for number in numbers)
