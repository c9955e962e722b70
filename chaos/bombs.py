"""Hostile videos and stills in TIFF, BMP and HEIC: what their structure promises is far more than
what is there, or is nested or repeated without end."""

import io
import struct
from collections.abc import Callable

import PIL.Image

from chaos.damage import compressed_zeros
from tests import images
from tests.videos import video

#: The largest number that 32 bits hold.
_ALL = 0xFFFFFFFF


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def _patched(content: bytes, kind: bytes, at: int, new: bytes) -> bytes:
    """A file of boxes with other bytes in the first box of a kind, behind so many bytes of it."""
    start = content.index(kind) + 4 + at
    return content[:start] + new + content[start + len(new) :]


def _counted(kind: bytes, *numbers: int) -> Callable[[], bytes]:
    """An MP4 whose table of a kind has these numbers behind its version and flags."""
    return lambda: _patched(
        video(frames_each=3), kind, 4, struct.pack(f">{len(numbers)}I", *numbers)
    )


def _nested_boxes(kind: bytes, levels: int) -> bytes:
    content = b"".join(struct.pack(">I", 8 * level) + kind for level in range(levels, 0, -1))
    return _box(b"ftyp", b"isom\0\0\0\0isom") + content


def _mp4_of_empty_samples(count: int) -> bytes:
    """An MP4 that says that each of so many frames has no bytes."""
    table = struct.pack(">3I", 0, 0, count) + bytes(4 * count)
    times = struct.pack(">4I", 0, 1, count, 1)
    made = video(frames_each=3)
    for kind, content in ((b"stsz", table), (b"stts", times)):
        start = made.index(kind) - 4
        (size,) = struct.unpack_from(">I", made, start)
        box = _box(kind, content)
        made = made[:start] + box + made[start + size :]
        for parent in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            at = made.index(parent) - 4
            (old,) = struct.unpack_from(">I", made, at)
            made = made[:at] + struct.pack(">I", old + len(box) - size) + made[at + 4 :]
    return made


def _element(name: str, content: bytes, size: bytes = b"") -> bytes:
    """An element of a WebM, with its size in 8 bytes."""
    return bytes.fromhex(name) + (size or struct.pack(">Q", len(content) | 1 << 56)) + content


def _nested_elements(levels: int) -> bytes:
    content = b""
    for _ in range(levels):
        content = _element("4DBB", content)  # Seek
    return _webm(_element("114D9B74", content))


def _webm(content: bytes) -> bytes:
    head = _element("1A45DFA3", b"\x42\x82\x84webm")
    return head + _element("18538067", content)


def _webm_of_size(side: int) -> bytes:
    """A WebM with another size in its track."""
    made = bytearray(video(frames_each=3, format="webm"))
    for name in (b"\xb0\x81\x60", b"\xba\x81\x40"):  # 96 and 64 pixels
        at = made.index(name)
        made[at : at + 3] = name[:1] + b"\x82" + struct.pack(">H", side)
    return bytes(made)


def _webm_without_end() -> bytes:
    """A WebM whose clusters contain each other, each as long as a number can say."""
    made = video(frames_each=3, format="webm")
    at = made.index(b"\x1f\x43\xb6\x75")
    return made[:at] + _element("1F43B675", b"", b"\x01" + b"\xff" * 6 + b"\xfe") * 9_999


def _tiff(size: tuple[int, int], strip: bytes, compression: int, **more: int) -> bytes:
    """A TIFF of one strip of grey pixels."""
    tags = {256: size[0], 257: size[1], 258: 8, 259: compression, 262: 1, 273: 0, 277: 1,
            278: size[1], 279: len(strip)}  # fmt: skip
    tags |= {int(tag[1:]): value for tag, value in more.items()}
    start = 8 + 2 + 12 * len(tags) + 4
    tags[273] = start
    entries = b"".join(
        struct.pack("<2H2L", tag, 4, 1, value) for tag, value in sorted(tags.items())
    )
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + strip


def _tiff_of_parts(count: int) -> bytes:
    """A TIFF that says that it has so many strips, which all begin at the same place."""
    made = bytearray(_tiff((60, 60), bytes(3_600), 1))
    for tag in (273, 279):
        at = made.index(struct.pack("<2H", tag, 4)) + 4
        struct.pack_into("<2L", made, at, count, 8)
    return bytes(made)


def _bmp(size: tuple[int, int], rows: bytes, compression: int, colors: int = 2) -> bytes:
    head = struct.pack("<L2l2H6L", 40, *size, 1, 8, compression, len(rows), 0, 0, colors, 0)
    body = head + bytes(range(8)) + rows
    return b"BM" + struct.pack("<3L", 14 + len(body), 0, 14 + 40 + 8) + body


def _heic_of_size(width: int, height: int) -> bytes:
    return _patched(images.heic(), b"ispe", 4, struct.pack(">2I", width, height))


def _heic_of_items(count: int) -> bytes:
    """A HEIC that says that it has so many places of items."""
    made = images.heic()
    at = made.index(b"iloc") + 4 + 4 + 2
    return made[:at] + struct.pack(">H", count) + made[at + 2 :]


def _large(format: str, side: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (side, side), "teal").save(buffer, format)
    return buffer.getvalue()


#: Decoders of videos keep many pictures, so these take more memory than other animations.
LARGE_VIDEOS: dict[str, Callable[[], bytes]] = {
    "MP4 of 8 million pixels, 9 frames": lambda: video(frames_each=3, size=(3_840, 2_160)),
}

#: As large as the limits allow: the engine must process them.
HEAVY: dict[str, Callable[[], bytes]] = {
    "TIFF of 40 million pixels": lambda: _large("TIFF", 6_300),
    **LARGE_VIDEOS,
    "BMP of 40 million pixels, packed": lambda: _bmp(
        (6_300, 6_300), (b"\xff\1" * 24 + b"\xb4\1" + b"\0\0") * 6_300 + b"\0\1", 1
    ),
}

#: They promise more than there is, or take their decoder round in circles.
BOMBS: dict[str, Callable[[], bytes]] = {
    "MP4 of 65,535 × 65,535": lambda: _patched(
        _patched(video(frames_each=3), b"tkhd", 76, struct.pack(">2I", _ALL, _ALL)),
        b"avc1", 24, b"\xff\xff\xff\xff",
    ),
    "MP4 of 4 billion frames of one byte": _counted(b"stsz", 1, _ALL),
    "MP4 of 4 billion frames at once": _counted(b"stts", 1, _ALL, 0),
    "MP4 with a table of 4 billion times": _counted(b"stts", _ALL),
    "MP4 with a table of 4 billion chunks": _counted(b"stsc", _ALL),
    "MP4 with chunks of 4 billion frames": _counted(b"stsc", 1, 1, _ALL, 1),
    "MP4 of 2 million empty frames": lambda: _mp4_of_empty_samples(2_000_000),
    "MP4 of 99,999 boxes in boxes": lambda: _nested_boxes(b"moov", 99_999),
    "MP4 of 99,999 boxes that say nothing": lambda: (
        video(frames_each=3) + _box(b"free", b"") * 99_999
    ),
    "MP4 whose frames are a year apart": _counted(b"stts", 1, 9, _ALL),
    "WebM of 65,535 × 65,535": lambda: _webm_of_size(65_535),
    "WebM of 9,999 elements in elements": lambda: _nested_elements(9_999),
    "WebM of clusters without end": _webm_without_end,
    "WebM of 999,999 empty elements": lambda: _webm(_element("EC", b"") * 999_999),
    "TIFF of 4 billion × 4 billion": lambda: _tiff((_ALL, _ALL), b"", 1),
    "TIFF of 60 × 60 that unpacks to 500 MB": lambda: _tiff(
        (60, 60), compressed_zeros(500_000_000), 8
    ),
    "TIFF with tiles of 65,536 × 65,536": lambda: _tiff(
        (60, 60), bytes(3_600), 8, t322=65_536, t323=65_536, t324=8, t325=3_600
    ),
    "TIFF of 4 billion strips": lambda: _tiff_of_parts(_ALL),
    "TIFF of 999,999 strips at one place": lambda: _tiff_of_parts(999_999) + bytes(4_000_000),
    "TIFF whose pages are a circle": lambda: _tiff((60, 60), bytes(3_600), 1)[:-3_604] + (
        struct.pack("<L", 8) + bytes(3_600)
    ),
    "BMP of 2 billion × 2 billion": lambda: _bmp((2**31 - 1, 2**31 - 1), b"\0\1", 1),
    "BMP of 4 billion colours": lambda: _bmp((60, 60), bytes(3_600), 0, _ALL),
    "BMP that skips to far away": lambda: _bmp((600, 600), b"\0\2\xff\xff" * 99_999, 1),
    "BMP without an end": lambda: _bmp((60, 60), b"\xff\1" * 999_999, 1),
    "HEIC of 65,535 × 65,535": lambda: _heic_of_size(65_535, 65_535),
    "HEIC of 4 billion × 1": lambda: _heic_of_size(_ALL, 1),
    "HEIC of 65,535 items": lambda: _heic_of_items(65_535),
}  # fmt: skip
