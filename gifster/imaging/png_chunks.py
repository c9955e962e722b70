"""The structure of a PNG, moving or not: chunks, each with its length before it and a check behind
it (PNG, Third Edition, section 5)."""

import struct
from typing import NamedTuple

from gifster.imaging import orientation
from gifster.imaging.delays import Timeline
from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import Reader

_HEAD = struct.Struct(">I4s")
_MOST_EXIF = 65_536


class Facts(NamedTuple):
    """Width and height as it is to be seen (pixels), the number of frames, and how often they play
    (0 for ever), None for a still."""

    width: int
    height: int
    frames: int
    loop: int | None


def read(reader: Reader, timeline: Timeline) -> Facts:
    """Read the facts of a file, and count its frames.

    Raises:
      Truncated: it ends in the middle.
      Unreadable: its structure is wrong.
      TooManyFrames: it has more than the timeline takes.
      StepsSpent: it has more chunks than the reader has steps.
    """
    reader.skip(8)
    width = height = 0
    frames, loop, exif = 1, None, b""
    first, kind = True, b""
    while kind != b"IEND":
        reader.step()
        size, kind = _HEAD.unpack(reader.take(8))
        if first != (kind == b"IHDR"):
            raise Unreadable("The PNG is damaged.")
        first = False
        if kind == b"eXIf" and size <= _MOST_EXIF:
            exif = reader.take(size)
        elif kind in (b"IHDR", b"acTL", b"fcTL"):
            if not 8 <= size <= 64:
                raise Unreadable("The PNG is damaged.")
            data = reader.take(size)
            if kind == b"IHDR":
                width, height = struct.unpack_from(">2I", data)
            elif kind == b"acTL":
                frames, loop = struct.unpack_from(">2I", data)
            else:
                parts, of = int.from_bytes(data[20:22], "big"), int.from_bytes(data[22:24], "big")
                timeline.add(1000 * parts / (of or 100))
        else:
            reader.skip(size)
        reader.skip(4)  # the chunk's CRC
    return Facts(*orientation.upright_size(width, height, exif), frames, loop)
