"""AVIF and HEIC, animated or not, and MP4 and MOV: their metadata is blanked where it is (HEIF,
ISO/IEC 23008-12; ISO/IEC 14496-12; QuickTime File Format).

The boxes say at which offsets of the file the pixels are. So nothing is moved: the items
that are EXIF, XMP, other texts or thumbnails get a blank content, and boxes of metadata become free
space. Only what is behind the picture is cut off. The orientation of an AVIF is no EXIF but a
property of the picture, which stays. A video keeps its pictures and its sound. Other tracks, such
as the telemetry of a camera, become free space, and so do their samples, unless the file is
fragmented: then these stay.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from gifster.imaging import bmff_items
from gifster.imaging.errors import Truncated, Unreadable
from gifster.imaging.reader import Reader
from gifster.imaging.stripping import tracks
from gifster.imaging.stripping.bmff_boxes import Box, boxes, content
from gifster.imaging.stripping.pieces import Pieces

#: The boxes of the picture, and those in which boxes are looked for.
_PICTURE = {b"ftyp", b"meta", b"moov", b"mdat", b"moof", b"sidx", b"styp", b"mfra"}
_CONTAINERS = {
    b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex", b"moof", b"traf", b"mfra",
}  # fmt: skip
_UNWANTED = {b"udta", b"uuid", b"free", b"skip"}
#: Properties that say what a picture shows, and when it was made and changed.
_UNWANTED_PROPERTIES = _UNWANTED | {b"udes", b"altt", b"crtt", b"mdft"}
_UNWANTED_ITEMS = {b"Exif", b"mime", b"uri "}
#: The boxes that begin with two times: when the file was made and changed.
_TIMED = {b"mvhd", b"tkhd", b"mdhd"}
#: The handlers of a video's tracks that stay: pictures and sound. Behind the handler come its maker
#: and its name, which may be those of the camera.
_SHOWN_TRACKS = {b"vide", b"soun"}
_MAKER_AT = 12
_MAX_CONTENT_BYTES = 1_000_000
#: The box that says which properties an item has, and what it has before its entries (bytes).
_IPMA, _IPMA_HEAD = b"ipma", 16
#: EXIF without an entry: the offset of its TIFF header, which comes at once, and no directory.
_EMPTY_EXIF = b"\0\0\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"
#: A type of items that nobody reads, and the bytes of the box infe up to behind the type, at most.
_NO_EXIF, _INFE_BYTES = b"free", 14


class _Blank(NamedTuple):
    """New bytes for a range of the file, filled up with zeros."""

    start: int
    end: int
    begin: bytes = b""


def strip(reader: Reader) -> Pieces:
    """A picture with blanks for its metadata."""
    return _stripped(reader, is_video=False)


def strip_video(reader: Reader) -> Pieces:
    """A video with blanks for its metadata."""
    return _stripped(reader, is_video=True)


def _stripped(reader: Reader, *, is_video: bool) -> Pieces:
    found = list(boxes(reader, 0, reader.size))
    while found and found[-1].kind not in _PICTURE:
        found.pop()
    end = found[-1].end if found else 0
    blanks: list[_Blank] = []
    for box in found:
        if box.kind not in _PICTURE:
            blanks.append(_freed(box))
        elif box.kind == b"meta":
            blanks += [_freed(box)] if is_video else _of_items(reader, box)
        elif box.kind in _CONTAINERS:
            blanks += _of_movie(reader, box, is_video=is_video)
            blanks += _of_samples(reader, box, found) if is_video else []
    return _with_blanks(reader, sorted(blanks), end)


def _with_blanks(reader: Reader, blanks: list[_Blank], end: int) -> Pieces:
    pieces, at = Pieces(), 0
    for blank in blanks:
        start, stop = max(blank.start, at), min(blank.end, end)
        if start < stop and not _is_blank(reader, blank):
            pieces.keep(at, start)
            begin = blank.begin[: stop - start] if start == blank.start else b""
            pieces.add(begin)
            pieces.blank(stop - start - len(begin))
            at = stop
    pieces.keep(at, end)
    return pieces


def _is_blank(reader: Reader, blank: _Blank) -> bool:
    """Whether a range is blank already. A large one is blanked again."""
    size = blank.end - blank.start
    if size > _MAX_CONTENT_BYTES:
        return False
    reader.seek(blank.start)
    return reader.read(size) == blank.begin.ljust(size, b"\0")


def _freed(box: Box) -> _Blank:
    """A box as free space of the same size."""
    size = box.end - box.start
    long_size = size.to_bytes(8, "big") if box.content - box.start == 16 else b""
    return _Blank(box.start + 4, box.end, b"free" + long_size)


def _of_movie(reader: Reader, movie: Box, *, is_video: bool) -> Iterator[_Blank]:
    """The blanks in an image sequence or a video. Containers may be in one another thousands of
    times."""
    waiting = [movie]
    while waiting:
        container = waiting.pop()
        for box in boxes(reader, container.content, container.end):
            if (
                is_video
                and box.kind == b"trak"
                and tracks.handler(reader, box) not in _SHOWN_TRACKS
            ):
                yield _freed(box)
            elif box.kind in _CONTAINERS:
                waiting.append(box)
            else:
                yield from _of_box(reader, box, is_video=is_video)


def _of_box(reader: Reader, box: Box, *, is_video: bool) -> Iterator[_Blank]:
    """The blanks of a box that is no container."""
    if box.kind in _UNWANTED or (box.kind == b"meta" and is_video):
        yield _freed(box)
    elif box.kind == b"meta":
        yield from _of_items(reader, box)
    elif box.kind == b"hdlr" and is_video and box.end - box.content > _MAKER_AT:
        yield _Blank(box.content + _MAKER_AT, box.end)
    elif box.kind in _TIMED and box.end > box.content:
        reader.seek(box.content)
        size = 8 if reader.read(1) == b"\1" else 4
        times = box.content + 4
        yield _Blank(times, min(times + 2 * size, box.end))


def _of_samples(reader: Reader, movie: Box, found: list[Box]) -> Iterator[_Blank]:
    """The blanks for the samples of tracks that are neither pictures nor sound."""
    media = [box for box in found if box.kind == b"mdat"]
    for track in boxes(reader, movie.content, movie.end):
        if track.kind == b"trak" and tracks.handler(reader, track) not in _SHOWN_TRACKS:
            for start, end in tracks.chunks(reader, track):
                for box in media:
                    if max(start, box.content) < min(end, box.end):
                        yield _Blank(max(start, box.content), min(end, box.end))


def _of_items(reader: Reader, meta: Box) -> Iterator[_Blank]:
    """The blanks for the items of a box `meta` that are no part of its picture."""
    found: dict[bytes, Box] = {}
    for box in boxes(reader, meta.content + 4, meta.end):
        if box.kind in _UNWANTED:
            yield _freed(box)
        elif box.kind == b"iprp":
            yield from _of_properties(reader, box)
        found.setdefault(box.kind, box)
    types = bmff_items.types(content(reader, found[b"iinf"])) if b"iinf" in found else {}
    unwanted = {number for number, kind in types.items() if kind in _UNWANTED_ITEMS}
    if b"iref" in found:
        unwanted |= bmff_items.thumbnails(content(reader, found[b"iref"]))
    if not unwanted or b"iloc" not in found:
        return
    for extent in bmff_items.extents(content(reader, found[b"iloc"])):
        if extent.item in unwanted and extent.length:
            is_exif = types.get(extent.item) == b"Exif"
            yield _blank_of(extent, found.get(b"idat"), reader.size, is_exif=is_exif)
            if is_exif and extent.length < len(_EMPTY_EXIF):
                yield from _renamed(reader, found[b"iinf"], extent.item)


def _renamed(reader: Reader, infos: Box, item: int) -> Iterator[_Blank]:
    """Another type for an item of EXIF that is too short to be any, as libavif fails at it and
    browsers overlook it (23008-12: box infe)."""
    reader.seek(infos.content)
    counted = 4 + (4 if reader.read(1)[0] else 2)
    for box in boxes(reader, infos.content + counted, infos.end):
        reader.seek(box.content)
        head = reader.read(min(_INFE_BYTES, box.end - box.content))
        wide = head[:1] == b"\3"
        number, kind = (head[4:8], slice(10, 14)) if wide else (head[4:6], slice(8, 12))
        if int.from_bytes(number, "big") == item and head[kind] == b"Exif":
            at = box.content + kind.start
            yield _Blank(at, at + 4, _NO_EXIF)


def _of_properties(reader: Reader, box: Box) -> Iterator[_Blank]:
    """The blanks for the properties that do not change how a picture looks. Others are counted, so
    they keep their places."""
    for inner in boxes(reader, box.content, box.end):
        if inner.kind == b"ipco":
            for found in boxes(reader, inner.content, inner.end):
                if found.kind in _UNWANTED_PROPERTIES:
                    yield _freed(found)
    yield from _merged_associations(reader, box)


def _merged_associations(reader: Reader, properties: Box) -> Iterator[_Blank]:
    """One box ipma instead of several of the same kind, which libavif refuses (HEIF, 9.3.1). Some
    encoders write one for each item, and browsers show these pictures. What is saved becomes free
    space behind the properties."""
    found = [box for box in boxes(reader, properties.content, properties.end) if box.kind == _IPMA]
    contents = [content(reader, box) for box in found]
    kinds = [content[:4] for content in contents]
    if len(found) < 2 or len(set(kinds)) > 1 or not _end_in_a_row(found, properties):
        return
    saved = _IPMA_HEAD * (len(found) - 1)
    entries = sorted(entry for content in contents for entry in bmff_items.associations(content))
    merged = kinds[0] + len(entries).to_bytes(4, "big") + b"".join(entry for _, entry in entries)
    size = (properties.end - properties.start - saved).to_bytes(4, "big")
    yield _Blank(properties.start, properties.start + 4, size)
    head = (8 + len(merged)).to_bytes(4, "big") + _IPMA
    free = saved.to_bytes(4, "big") + b"free"
    yield _Blank(found[0].start, properties.end, head + merged + free)


def _end_in_a_row(found: list[Box], outer: Box) -> bool:
    """Whether these boxes follow one another up to the end of another one, whose size has 32
    bits."""
    follow = all(box.end == after.start for box, after in pairwise(found))
    return follow and found[-1].end == outer.end and outer.content == outer.start + 8


def _blank_of(extent: bmff_items.Extent, idat: Box | None, size: int, *, is_exif: bool) -> _Blank:
    if extent.method == bmff_items.IN_IDAT and idat is not None:
        start, limit = idat.content + extent.start, idat.end
    elif extent.method == bmff_items.IN_FILE:
        start, limit = extent.start, size
    else:
        raise Unreadable("The metadata of the image is where nobody can find it.")
    end = start + extent.length
    if end > limit:
        raise Truncated("The file is incomplete: it ends in the middle of the image.")
    begin = _EMPTY_EXIF if is_exif and end - start >= len(_EMPTY_EXIF) else b""
    return _Blank(start, end, begin)
