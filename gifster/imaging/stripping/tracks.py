"""The tracks of MP4 and MOV: what they are, and where their samples are (ISO/IEC 14496-12, 8.4 to
8.7; QuickTime File Format)."""

from collections.abc import Iterator

from gifster.imaging.bmff import numbers
from gifster.imaging.reader import PART_STEPS, Reader
from gifster.imaging.stripping.bmff_boxes import Box, boxes, content

#: A handler, such as `vide`, is the third number of its box.
_HANDLER_END = 12
#: The greatest table of a track (bytes): four million samples.
_MAX_TABLE_BYTES = 16_000_000


def handler(reader: Reader, track: Box) -> bytes:
    """What a track is, such as `vide`; empty if it does not say."""
    for box in _within(reader, track, b"mdia"):
        if box.kind == b"hdlr" and box.end - box.content >= _HANDLER_END:
            reader.seek(box.content)
            return reader.read(_HANDLER_END)[-4:]
    return b""


def chunks(reader: Reader, track: Box) -> Iterator[tuple[int, int]]:
    """Where the samples of a track are, chunk by chunk: from one offset of the file to another.
    Those of a fragmented file are elsewhere."""
    tables = {
        box.kind: content(reader, box, _MAX_TABLE_BYTES)
        for box in _within(reader, track, b"mdia", b"minf", b"stbl")
        if box.kind in (b"stsz", b"stsc", b"stco", b"co64")
    }
    sizes = numbers("I", tables.get(b"stsz", b"")[4:])
    runs = numbers("I", tables.get(b"stsc", b"")[8:])
    offsets = numbers("I", tables.get(b"stco", b"")[8:])
    offsets = offsets or numbers("Q", tables.get(b"co64", b"")[8:])
    if len(sizes) < 2 or len(runs) < 3:
        return
    reader.step(len(sizes) + len(runs) + PART_STEPS * len(offsets))
    each, run, sample = sizes[0], 0, 2
    for number, start in enumerate(offsets, 1):
        while run + 3 < len(runs) - 2 and runs[run + 3] <= number:
            run += 3
        count = runs[run + 1]
        yield start, start + (each * count or sum(sizes[sample : sample + count]))
        sample += count


def _within(reader: Reader, box: Box, *path: bytes) -> Iterator[Box]:
    """The boxes at the end of a path of boxes in this one."""
    for inner in boxes(reader, box.content, box.end):
        if not path:
            yield inner
        elif inner.kind == path[0]:
            yield from _within(reader, inner, *path[1:])
