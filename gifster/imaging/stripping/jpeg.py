"""JPEG: which segments are the picture (ITU T.81, annex B; JFIF 1.02; ICC.1, annex B.4).

What is between the segments, and what comes after the end of the image, is left out: the film of a
"motion photo", a gain map, further pictures.
"""

from gifster.imaging.jpeg_segments import Segment, segments
from gifster.imaging.reader import Reader
from gifster.imaging.stripping.exif import minimal
from gifster.imaging.stripping.pieces import Pieces

_JFIF, _EXIF, _PROFILE, _ADOBE = b"JFIF\0", b"Exif\0", b"ICC_PROFILE\0", b"Adobe"
_APP0, _APP1, _APP2, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
#: Reserved for extensions of JPEG, which nobody has made: they are no part of a picture.
_RESERVED = {0x01, 0xC8, *range(0xF0, 0xFE)}
_SCAN = 0xDA
#: What a JFIF segment has before its thumbnail, and all that an Adobe segment has (bytes).
_JFIF_BYTES, _ADOBE_BYTES = 14, 12


def strip(reader: Reader) -> Pieces:
    """The segments of the picture, and its orientation."""
    pieces = Pieces()
    walk(reader, pieces)
    return pieces


def walk(reader: Reader, pieces: Pieces) -> None:
    """Put the segments of the picture, and its orientation, into `pieces`."""
    pieces.keep(0, 2)
    exif: tuple[int, int] | bytes | None = None
    kept: list[tuple[int, int] | bytes] = []
    has_scan = False
    try:
        for number, segment in enumerate(segments(reader)):
            if segment.marker == _APP0:
                if number == 0:
                    _keep_jfif(reader, segment, pieces)
            elif segment.marker == _APP1:
                content = reader.read(segment.end - segment.content)
                # Behind the first scan it turns nothing, in browsers and here.
                if exif is None and not has_scan and content.startswith(_EXIF):
                    exif = _orientation(content)
                    if exif == content and not kept:
                        exif = segment.start, segment.end
            elif segment.marker == _APP14 and segment.end - segment.content > _ADOBE_BYTES:
                content = reader.read(_ADOBE_BYTES)
                if content.startswith(_ADOBE):
                    kept.append(_segment(_APP14, content))
            elif _is_picture(reader, segment):
                has_scan = has_scan or segment.marker == _SCAN
                kept.append((segment.start, segment.end))
    finally:  # also if the rest of the file has not come yet (see `heads`)
        _keep_segments(exif, kept, pieces)


def _keep_segments(
    exif: tuple[int, int] | bytes | None, kept: list[tuple[int, int] | bytes], pieces: Pieces
) -> None:
    """Put the segments behind JFIF, which must be first, into `pieces`.

    Parameters:
      exif: an orientation, as a segment of the file or as the content of a new one.
    """
    if exif:
        pieces.are_turned = True
    if isinstance(exif, tuple):
        pieces.keep(*exif)
    elif exif:
        pieces.add(_segment(_APP1, exif))
    for part in kept:
        if isinstance(part, bytes):
            pieces.add(part)
        else:
            pieces.keep(*part)


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def _orientation(content: bytes) -> bytes:
    """A segment's EXIF with its orientation alone; empty if that is upright."""
    exif = minimal(content[len(_EXIF) + 1 :])
    return exif and _EXIF + b"\0" + exif


def _is_picture(reader: Reader, segment: Segment) -> bool:
    if segment.marker in _RESERVED or segment.marker == _COMMENT:
        return False
    if segment.marker == _APP2:
        return reader.read(min(12, segment.end - segment.content)) == _PROFILE
    if segment.marker == _APP14:
        return reader.read(min(5, segment.end - segment.content)) == _ADOBE
    return not _APP0 <= segment.marker <= _APP15


def _keep_jfif(reader: Reader, segment: Segment, pieces: Pieces) -> None:
    """Keep a JFIF segment without its thumbnail."""
    content = reader.read(min(_JFIF_BYTES, segment.end - segment.content))
    if len(content) < _JFIF_BYTES or not content.startswith(_JFIF):
        return
    if segment.end - segment.content == _JFIF_BYTES:
        pieces.keep(segment.start, segment.end)
    else:
        pieces.add(b"\xff\xe0\0\x10" + content[:-2] + b"\0\0")
