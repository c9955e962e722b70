"""Read the structure of a PNG or animated PNG: chunks with a length before and a CRC behind them.

The format: PNG specification (Third Edition, W3C), section 5.
"""

import struct
from typing import NamedTuple

from gifster.imaging import orientation
from gifster.imaging.delays import Timeline
from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import Reader

_HEAD = struct.Struct(">I4s")
_MAX_EXIF_BYTES = 65_536


class Facts(NamedTuple):
    """Width and height of the upright picture (pixels), the number of frames, and how often they
    play (0 for forever, None for a still)."""

    width: int
    height: int
    frames: int
    loop: int | None


def read(reader: Reader, timeline: Timeline) -> Facts:
    """Read the facts of a file, and add its frames to the timeline.

    Raises:
      Truncated: the file ends in the middle.
      Unreadable: the structure is wrong.
      TooManyFrames: there are more frames than the timeline accepts.
      OutOfSteps: there are more chunks than the reader has steps.
    """
    reader.skip(8)
    width = height = 0
    frames, loop, exif = 1, None, b""
    first, kind = True, b""
    while kind != b"IEND":
        reader.step()
        size, kind = _HEAD.unpack(reader.read(8))
        if first != (kind == b"IHDR"):
            raise Unreadable("The PNG is damaged.")
        first = False
        if kind == b"eXIf" and size <= _MAX_EXIF_BYTES:
            exif = reader.read(size)
        elif kind in (b"IHDR", b"acTL", b"fcTL"):
            if not 8 <= size <= 64:
                raise Unreadable("The PNG is damaged.")
            data = reader.read(size)
            if kind == b"IHDR":
                width, height = struct.unpack_from(">2I", data)
            elif kind == b"acTL":
                frames, loop = struct.unpack_from(">2I", data)
            else:
                delay, unit = int.from_bytes(data[20:22], "big"), int.from_bytes(data[22:24], "big")
                timeline.add(1000 * delay / (unit or 100))
        else:
            reader.skip(size)
        reader.skip(4)  # the CRC
    return Facts(*orientation.upright_size(width, height, exif), frames, loop)
