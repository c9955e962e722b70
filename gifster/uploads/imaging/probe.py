"""What an image says about itself, read from its structure without decoding a pixel.

`sniff()` names the type from the first bytes; `probe()` walks the whole file, so that one that
ends in the middle is noticed while the person who sent it is still there. Sources: GIF89a
specification; PNG (Third Edition) with APNG; WebP container (RFC 9649); JPEG (ITU T.81). AVIF and
MP4 are read by `bmff`.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import filetype
import PIL.ExifTags
import PIL.Image

from gifster.uploads.errors import TooManyPixels, Truncated, Unreadable
from gifster.uploads.imaging import bmff
from gifster.uploads.imaging.delays import Timeline
from gifster.uploads.imaging.gif_blocks import GifBlocks
from gifster.uploads.imaging.reader import BUFFER_BYTES, Reader

#: How many bytes `sniff()` wants to see.
SNIFF_BYTES = 512
#: What a file is called whose content shows no type.
UNKNOWN_TYPE = "application/octet-stream"
_MOST_EXIF = 65_536
#: What Pillow's decoders raise where a file is damaged.
DAMAGE = (
    ArithmeticError, EOFError, LookupError, OSError, RuntimeError, SyntaxError, TypeError,
    ValueError, struct.error, zlib.error,
)  # fmt: skip
#: The extensions of the types that are read as images.
IMAGE_EXTENSIONS = {
    "image/gif": "gif",
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/avif": "avif",
}


@dataclass(frozen=True)
class ImageInfo:
    """Facts of one image. Sizes are in pixels, as it is to be seen: turned as its EXIF orientation
    says. The duration is that of one pass, in ms, as browsers take it: a frame that has no delay,
    or one of 10 ms, is shown for 100 ms.

    A file of another kind has a content type and a number of bytes, an MP4 its width and height as
    well, and 0 for everything else. `loop` is how often an animation plays, 0 for ever; None where
    the file does not say (a still, or a GIF that plays once).
    """

    content_type: str
    width: int
    height: int
    frames: int = 1
    duration_ms: int = 0
    loop: int | None = None
    bytes: int = 0

    @property
    def is_image(self) -> bool:
        """Whether it is an image of a type that is read here."""
        return self.frames > 0


def extension(content_type: str) -> str:
    """The extension, without a dot, that a file of this type gets."""
    if content_type in IMAGE_EXTENSIONS:
        return IMAGE_EXTENSIONS[content_type]
    known = filetype.get_type(mime=content_type) if content_type != UNKNOWN_TYPE else None
    return known.extension if known is not None else "bin"


def sniff(head: bytes) -> str:
    """The content type from a file's first `SNIFF_BYTES` bytes; `UNKNOWN_TYPE` if they show none.

    What is no image of ours is told by the `filetype` package.
    """
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    if head[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if bmff.is_avif(head):
        return "image/avif"
    other = filetype.guess_mime(head) or UNKNOWN_TYPE
    # It takes "GIF90a" for a GIF, too.
    return UNKNOWN_TYPE if other in IMAGE_EXTENSIONS else other


def probe(path: Path, max_frames: int | None = None) -> ImageInfo:
    """Read the facts of a file.

    Parameters:
      max_frames: from how many on it need not be read to its end.

    Raises:
      TooManyFrames: it has more.
      Unreadable: it is an image, and its structure is wrong.
      Truncated: it is an image that ends in the middle.
      TooManyPixels: it has so many that Pillow refuses to say more.
    """
    with path.open("rb", buffering=BUFFER_BYTES) as file:
        content_type = sniff(file.read(SNIFF_BYTES))
        size = file.seek(0, 2)
        file.seek(0)
        walk = _WALKERS.get(content_type)
        info = ImageInfo(content_type, 0, 0, frames=0)
        if walk is not None:
            info = walk(Reader(file), Timeline(max_frames))
    if content_type in IMAGE_EXTENSIONS and min(info.width, info.height, info.frames) < 1:
        raise Unreadable("The image has no picture in it.")
    return replace(info, bytes=size)


def _probe_gif(reader: Reader, timeline: Timeline) -> ImageInfo:
    blocks = GifBlocks(reader)
    for frame in blocks:
        timeline.add(frame.delay_ms)
    return ImageInfo(
        "image/gif",
        blocks.width,
        blocks.height,
        timeline.frames,
        timeline.duration_ms,
        blocks.loop,
    )


def _probe_png(reader: Reader, timeline: Timeline) -> ImageInfo:
    reader.take(8)
    width = height = 0
    frames, loop, exif = 1, None, b""
    first = True
    while True:
        size, kind = int.from_bytes(reader.take(4), "big"), reader.take(4)
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
                width, height = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
            elif kind == b"acTL":
                frames, loop = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
            else:
                parts, of = int.from_bytes(data[20:22], "big"), int.from_bytes(data[22:24], "big")
                timeline.add(1000 * parts / (of or 100))
        else:
            reader.skip(size)
        reader.take(4)  # the chunk's CRC
        if kind == b"IEND":
            width, height = _turned(width, height, exif)
            return ImageInfo("image/png", width, height, frames, timeline.duration_ms, loop)


def _probe_webp(reader: Reader, timeline: Timeline) -> ImageInfo:
    left = int.from_bytes(reader.take(12)[4:8], "little") - 4
    loop = None
    while left >= 8:
        kind, size = reader.take(4), int.from_bytes(reader.take(4), "little")
        padded = size + size % 2
        left -= 8 + padded
        if kind in (b"ANIM", b"ANMF") and size >= 6:
            data = reader.take(min(size, 16))
            if kind == b"ANIM":
                loop = int.from_bytes(data[4:6], "little")
            else:
                timeline.add(int.from_bytes(data[12:15], "little"))
            padded -= len(data)
        # Writers differ on whether the last chunk's padding byte is there.
        reader.skip(padded if left >= 8 else padded - size % 2)
    width, height = _size_by_pillow(reader, "WEBP")
    frames = max(timeline.frames, 1)
    return ImageInfo("image/webp", width, height, frames, timeline.duration_ms, loop)


def _probe_avif(reader: Reader, _: Timeline) -> ImageInfo:
    facts = bmff.read(reader)
    moves = facts.frames > 1
    return ImageInfo(
        "image/avif",
        facts.width,
        facts.height,
        facts.frames if moves else 1,
        facts.duration_ms if moves else 0,
        0 if moves else None,
    )


def _probe_mp4(reader: Reader, _: Timeline) -> ImageInfo:
    facts = bmff.read(reader)
    return ImageInfo("video/mp4", facts.width, facts.height, frames=0)


def _probe_jpeg(reader: Reader, _: Timeline) -> ImageInfo:
    width, height = _size_by_pillow(reader, "JPEG")
    reader.file.seek(0)
    end, tail = False, b""
    while piece := reader.file.read(BUFFER_BYTES):
        end = end or b"\xff\xd9" in tail + piece  # end of image
        tail = piece[-1:]
    if not end:
        raise Truncated("The file is incomplete: it ends in the middle of the image.")
    return ImageInfo("image/jpeg", width, height)


def _size_by_pillow(reader: Reader, format: str) -> tuple[int, int]:
    reader.file.seek(0)
    try:
        with PIL.Image.open(reader.file, formats=[format]) as image:
            return _turned(*image.size, image.info.get("exif", b""))
    except PIL.Image.DecompressionBombError as error:
        raise TooManyPixels("The image has more pixels than can be decoded.") from error
    except DAMAGE as error:
        raise Unreadable("The image is damaged.") from error


def _turned(width: int, height: int, exif: bytes) -> tuple[int, int]:
    """The size of a picture that is turned as EXIF says."""
    tags = PIL.Image.Exif()
    try:
        tags.load(exif)
        lies = tags.get(PIL.ExifTags.Base.Orientation) in (5, 6, 7, 8)
    except DAMAGE:
        lies = False
    return (height, width) if lies else (width, height)


_WALKERS: dict[str, Callable[[Reader, Timeline], ImageInfo]] = {
    "image/gif": _probe_gif,
    "image/png": _probe_png,
    "image/webp": _probe_webp,
    "image/jpeg": _probe_jpeg,
    "image/avif": _probe_avif,
    "video/mp4": _probe_mp4,
}
