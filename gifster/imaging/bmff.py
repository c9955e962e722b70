"""Read the structure of AVIF and MP4: boxes in boxes (ISO/IEC 14496-12; HEIF, 23008-12).

It finds the size of the pictures, and the number and the delays of the frames of a sequence, and
how often it plays.
"""

import sys
from array import array
from collections.abc import Iterator
from operator import mul
from pathlib import Path
from typing import NamedTuple

from gifster.imaging import bmff_items, bmff_properties, heic
from gifster.imaging.cicp import CodePoints
from gifster.imaging.delays import displayed_ms
from gifster.imaging.errors import Truncated, Unreadable, Unsupported
from gifster.imaging.reader import PART_STEPS, Reader

#: The boxes that contain boxes, and how many bytes come before these.
_CONTAINERS = {
    b"meta": 4, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"edts": 0,
}  # fmt: skip
#: The boxes whose content is read.
_NEEDED = {
    b"pitm", b"iprp", b"mvhd", b"tkhd", b"mdhd", b"stts", b"stsd", b"elst", b"iloc", b"stsz",
    b"stco", b"co64",
}  # fmt: skip
#: Where the duration of a whole presentation and of a track is in its box, by the box's version.
_DURATION_AT = {b"mvhd": (16, 24), b"tkhd": (20, 28)}
_REPEATS, _MAX_PLAYS = 1, 2**31 - 1
_MAX_BOXES, _MAX_CONTENT_BYTES = 10_000, 1_000_000
_BOX_STEPS = 2 * PART_STEPS
_MAJOR_BRAND_AT, _HEAD_BYTES = 8, 8


class Facts(NamedTuple):
    """Width and height of the picture as it is stored (pixels); for a sequence the number of
    frames, their duration (ms), and how often it plays (0 for forever); the orientation (1 to 8);
    and if the file says it, the colours, the brightness of the brightest pixel, the size of the
    part that is shown, the number of the matrix of its colours, and that size if browsers show
    only that part of an AVIF."""

    width: int
    height: int
    frames: int
    duration_ms: int
    plays: int
    orientation: int = 1
    colors: CodePoints | None = None
    peak_nits: float | None = None
    aperture: tuple[int, int] | None = None
    matrix: int | None = None
    shown: tuple[int, int] | None = None


class _Box(NamedTuple):
    kind: bytes
    content: bytes
    track: int
    #: The offset of its content.
    at: int


def is_avif(head: bytes) -> bool:
    """Whether the first bytes of a file announce AVIF."""
    return not {b"avif", b"avis"}.isdisjoint(_brands(head))


def _brands(head: bytes) -> set[bytes]:
    brands = head[8 : max(16, int.from_bytes(head[:4], "big"))]
    is_box = head[4:8] == b"ftyp"
    return {brands[at : at + 4] for at in range(0, len(brands), 4)} if is_box else set()


def is_heic(head: bytes) -> bool:
    """Whether the first bytes of a file announce HEIC."""
    return not heic.BRANDS.isdisjoint(_brands(head))


def read(reader: Reader) -> Facts:
    """Read the facts of a file.

    Raises:
      Truncated: the file ends in the middle.
      Unsupported: it has the short boxes of a "low-overhead" file (box `mini`), which libavif does
        not read yet.
      Unreadable: the structure is wrong.
      OutOfSteps: there are more boxes and entries than the reader has steps.
    """
    samples = _Samples(reader)
    reader.seek(_MAJOR_BRAND_AT)
    # As in libavif and browsers, a file that is first of all a still is one, whatever its tracks.
    is_still = reader.read(4) == b"avif"
    sizes, ticks_a_second = [(0, 0)], 1
    # How many frames in a row have which delay, in ticks. The length of a tick may come later.
    delays: list[tuple[array[int], array[int]]] = []
    track_ticks, plays = 0, 0
    primary: int | None = None
    properties: bmff_properties.Properties = {}
    of_track: bmff_properties.Properties = {}
    for box in _boxes(reader):
        content = box.content
        if box.kind == b"mini" and not box.track:
            raise Unsupported(
                "An AVIF or HEIC of the low-overhead kind cannot be read here. Save it as a PNG."
            )
        if box.kind in (b"stsz", b"stco", b"co64"):
            samples.add(box)
        elif box.track and is_still:
            continue
        elif box.kind == b"pitm":
            primary = int.from_bytes(content[4:], "big")
        elif box.kind == b"iprp":
            properties = bmff_properties.of_item(reader, content, primary)
            sizes.append(bmff_properties.size(properties))
        elif box.kind == b"stsd" and box.track == 1:
            of_track = bmff_properties.of_track(reader, content)
        elif box.kind == b"tkhd":
            # The last two numbers, which are in units of 1/65,536.
            sizes.append((_number(content[-8:], 0) >> 16, _number(content[-8:], 4) >> 16))
            track_ticks = _duration(box) if box.track == 1 else track_ticks
        elif box.kind == b"elst" and box.track == 1:
            plays = _plays(content, track_ticks)
        elif box.kind == b"iloc":
            _check_extents(content, reader)
        elif box.kind == b"mdhd" and box.track == 1:
            ticks_a_second = _number(content, 20 if content[:1] == b"\1" else 12) or 1
        elif box.kind == b"stts" and box.track == 1:
            delays.append(_pairs(content[8:]))
            reader.step(len(delays[-1][0]))
    samples.check()
    # As in libavif and browsers, nothing that is said of the still counts for a sequence.
    properties = of_track if b"av1C" in of_track else properties | of_track
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Facts(
        width,
        height,
        sum(sum(counts) for counts, _ in delays),
        round(sum(_displayed_ms(*pairs, ticks_a_second) for pairs in delays)),
        plays,
        bmff_properties.orientation(properties),
        bmff_properties.colors(properties),
        bmff_properties.peak_nits(properties),
        bmff_properties.aperture(properties),
        bmff_properties.matrix(properties),
        bmff_properties.shown(properties),
    )


def set_plays(path: Path, plays: int) -> None:
    """Say in a sequence how often it plays, instead of forever."""
    with path.open("r+b") as file:
        boxes = [box for box in _boxes(Reader(file)) if box.kind in (*_DURATION_AT, b"elst")]
        segment = max(_segment(box.content) for box in boxes if box.kind == b"elst")
        for box in boxes:
            if box.kind == b"elst":
                file.seek(box.at)
                file.write(bytes([box.content[0], 0, 0, _REPEATS if plays > 1 else 0]))
                continue
            version = box.content[0]
            file.seek(box.at + _DURATION_AT[box.kind][version])
            file.write((segment * plays).to_bytes(8 if version else 4, "big"))


def _boxes(reader: Reader) -> Iterator[_Box]:
    """All boxes that contain no boxes; the needed ones with their content."""
    end = reader.size
    container_ends, track, count, at = [end], 0, 0, 0
    while at < end:
        while container_ends[-1] <= at and len(container_ends) > 1:
            container_ends.pop()
        reader.step(_BOX_STEPS)
        reader.seek(at)
        rest = container_ends[-1] - at
        if rest < _HEAD_BYTES and reader.read(rest) == bytes(rest):  # as QuickTime ends some
            at += rest
            continue
        reader.seek(at)
        head = reader.read(_HEAD_BYTES)
        size, kind, length = _number(head, 0), head[4:8], 8
        if size == 1:
            size, length = int.from_bytes(reader.read(8), "big"), 16
        elif size == 0:
            size = container_ends[-1] - at
        count += 1
        if size < length or count > _MAX_BOXES:
            raise Unreadable("The file is damaged.")
        if at + size > end:
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
        # That of a movie is of QuickTime in most videos of telephones, without the bytes in front.
        if kind in _CONTAINERS and (kind != b"meta" or len(container_ends) == 1):
            track += kind == b"trak"
            container_ends.append(at + size)
            at += length
            is_bare = kind == b"meta" and size >= length + 8 and reader.read(8)[4:] == b"hdlr"
            at += 0 if is_bare else _CONTAINERS[kind]
        else:
            wanted = kind in _NEEDED
            content = reader.read(min(size - length, _MAX_CONTENT_BYTES)) if wanted else b""
            yield _Box(kind, content, track, at + length)
            at += size


def _duration(box: _Box) -> int:
    """The duration that a box says, in its units; 0 if it is indefinite."""
    version = box.content[:1] == b"\1"
    at = _DURATION_AT[box.kind][version]
    field = box.content[at : at + (8 if version else 4)]
    return 0 if field == b"\xff" * len(field) else int.from_bytes(field, "big")


def _plays(edits: bytes, track_ticks: int) -> int:
    """How often a sequence plays, by its edit list (HEIF, 9.6.1): once, or for as long as the track
    lasts. More plays than other formats can express are forever, as in libavif."""
    if not _number(edits, 0) & _REPEATS:
        return 1
    plays = -(-track_ticks // max(1, _segment(edits)))
    return plays if plays <= _MAX_PLAYS else 0


def _segment(edits: bytes) -> int:
    """The duration of what an edit list plays."""
    return int.from_bytes(edits[8:16] if edits[:1] == b"\1" else edits[8:12], "big")


def _check_extents(iloc: bytes, reader: Reader) -> None:
    """Raises `Truncated` if an item's data is beyond the end of the file."""
    for extent in bmff_items.extents(iloc):
        reader.step(1)
        if extent.method == bmff_items.IN_FILE and extent.start + extent.length > reader.size:
            raise Truncated("The file is incomplete: it ends in the middle of the image.")


class _Samples:
    """Where the samples of each track are."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        #: By track: the size of all samples, and the offsets of the chunks that they are in.
        self._bytes: dict[int, int] = {}
        self._chunks: dict[int, array[int]] = {}

    def add(self, box: _Box) -> None:
        """Read a box of sizes (`stsz`) or of offsets (`stco`, `co64`)."""
        if box.kind == b"stsz":
            each, count = _number(box.content, 4), _number(box.content, 8)
            sizes = numbers("I", box.content[12:])
            self._reader.step(len(sizes))
            self._bytes[box.track] = each * count if each else sum(sizes)
        else:
            offsets = numbers("I" if box.kind == b"stco" else "Q", box.content[8:])
            self._reader.step(len(offsets))
            self._chunks[box.track] = offsets

    def check(self) -> None:
        """Raises `Truncated` if there are samples beyond the end of the file. Which samples a chunk
        has is only known of a single one."""
        for track, chunks in self._chunks.items():
            size = self._bytes.get(track, 0) if len(chunks) == 1 else 0
            if chunks and max(chunks) + size > self._reader.size:
                raise Truncated("The file is incomplete: it ends in the middle of the image.")


def _number(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 4], "big")


def _displayed_ms(counts: "array[int]", deltas: "array[int]", ticks_a_second: int) -> float:
    """How long frames are shown, of which so many have such delays."""
    shown = (displayed_ms(1000 * delta / ticks_a_second) for delta in deltas)
    total: float = sum(map(mul, counts, shown))
    return total


def _pairs(content: bytes) -> tuple["array[int]", "array[int]"]:
    """The first numbers and the second numbers of pairs of 32-bit numbers."""
    found = numbers("I", content[: len(content) // 8 * 8])
    return found[::2], found[1::2]


def numbers(code: str, content: bytes) -> "array[int]":
    """The numbers of a table, each of 32 bits (`I`) or 64 (`Q`)."""
    found = array(code)
    found.frombytes(content[: len(content) // found.itemsize * found.itemsize])
    if sys.byteorder == "little":
        found.byteswap()
    return found
