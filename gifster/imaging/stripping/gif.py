"""GIF: which blocks are the picture. Numbers in comments are sections of the GIF89a specification.

The comments, the plain texts, which no browser shows, and the blocks of applications are left out,
except for the number of plays and the colour profile.
"""

from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import Reader
from gifster.imaging.stripping.pieces import Pieces

_IMAGE, _EXTENSION, _TRAILER = b"\x2c", b"\x21", b"\x3b"
_CONTROL, _CONTROL_BYTES, _APPLICATION = 0xF9, 4, 0xFF
_APPLICATIONS = {b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"}


def strip(reader: Reader) -> Pieces:
    """The blocks of the picture, up to its end."""
    pieces = Pieces()
    walk(reader, pieces)
    return pieces


def walk(reader: Reader, pieces: Pieces) -> None:
    """Put the blocks of the picture into `pieces`."""
    frames = 0
    reader.seek(0)
    _skip_table(reader, reader.read(13)[10])  # 17, 18: header and logical screen descriptor
    pieces.keep(0, reader.tell())
    while reader.tell() < reader.size:
        reader.part()
        start = reader.tell()
        block = reader.read(1)
        is_kept = True
        if block == _IMAGE:  # 20: descriptor, color table, LZW code size, data
            _skip_table(reader, reader.read(9)[8])
            reader.skip(1)
            reader.skip_sub_blocks()
            frames += 1
        elif block == _EXTENSION:
            label = reader.read(1)[0]
            first = reader.read(reader.read(1)[0])
            if label == _CONTROL and len(first) != _CONTROL_BYTES and frames:
                break  # browsers take it for the end
            ends = reader.tell() + 1
            if first:
                reader.skip_sub_blocks()
            if label == _CONTROL and reader.tell() > ends:  # 23: it is one sub-block
                pieces.keep(start, ends - 1)
                pieces.add(b"\0")
                continue
            is_kept = label == _CONTROL or (label == _APPLICATION and first in _APPLICATIONS)
        elif block == _TRAILER or frames:  # like browsers, end at any byte that begins no block
            break
        else:
            raise Unreadable("The GIF is damaged: its first frame cannot be found.")
        if is_kept:
            pieces.keep(start, reader.tell())
    else:
        return
    if block == _TRAILER:
        pieces.keep(start, start + 1)
    else:
        pieces.add(_TRAILER)


def _skip_table(reader: Reader, packed: int) -> None:
    """Skip a color table, if there is one (19, 21)."""
    if packed & 0x80:
        reader.skip(3 * 2 ** ((packed & 7) + 1))
