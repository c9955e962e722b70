"""The first bytes of a file that is still coming, without the metadata in them.

Cameras and editors write metadata before the picture. What is left out before it is written need
not be written and hashed. What comes later, and what the first bytes do not tell, is left for
`stripped()`, which has the last word: it finds the same picture in both.
"""

from io import BytesIO

from gifster.imaging import probe
from gifster.imaging.errors import ImagingError
from gifster.imaging.reader import PART_STEPS, OutOfSteps, Reader
from gifster.imaging.stripping import gif, jpeg, png
from gifster.imaging.stripping.pieces import Pieces

#: The formats whose parts come one after the other, each with its own length. In others the first
#: bytes say where or how long the rest is.
_WALKS = {"image/gif": gif.walk, "image/jpeg": jpeg.walk, "image/png": png.walk}
#: More than any file has (bytes).
_ANY_SIZE = 2**62


class _EndOfHead(Exception):
    """The rest has not come yet."""


class _Head(Reader):
    """Reads the first bytes of a file whose size nobody knows."""

    def __init__(self, content: bytes, max_steps: int) -> None:
        super().__init__(BytesIO(content), max_steps)
        self._known, self.size = self.size, _ANY_SIZE
        self._window = content
        #: Where the last part begins. What is before it has been read.
        self.last_part = 0

    def part(self, steps: int = PART_STEPS) -> None:
        if self.tell() <= self._known:
            self.last_part = self.tell()
        super().part(steps)

    def _fill(self, count: int) -> None:
        if self.tell() + count > self._known:
            raise _EndOfHead
        super()._fill(count)


def without_metadata(head: bytes) -> bytes:
    """The first bytes of a file without the metadata that is known to be in them. The rest of the
    file follows as it is.

    Parameters:
      head: at least 64 KiB, which is the longest segment of a JPEG.
    """
    content_type = probe.sniff(head[: probe.SNIFF_BYTES])
    walk = _WALKS.get(content_type)
    if walk is None:
        return head
    steps = 2 * (probe.QUICK_STEPS + len(head) // probe.QUICK_BYTES_A_STEP)
    reader, pieces = _Head(head, steps), Pieces()
    try:
        with probe.glancing:
            walk(reader, pieces)
    except _EndOfHead:
        pass
    except (ImagingError, OutOfSteps):  # `stripped()` will say so
        return head
    pieces.keep_rest(reader.last_part, len(head))
    pieces.check(len(head))
    if pieces.are_all:
        return head
    made = b"".join(pieces.read(BytesIO(head)))
    # Garbage that comes first is no JPEG any more.
    return made if probe.sniff(made[: probe.SNIFF_BYTES]) == content_type else head
