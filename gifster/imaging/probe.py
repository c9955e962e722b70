"""What an image says about itself, read from its structure without decoding a pixel.

`sniff()` names the type from the first bytes; `probe()` walks the whole file, so that one that
ends in the middle is noticed while the person who sent it is still there. Each type has a module
that walks its parts: `gif_blocks`, `png_chunks`, `webp_chunks`, `jpeg_segments`, `bmff`. The steps
that a walk may take are bounded (decision 26).
"""

import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

import filetype
import PIL.Image

from gifster.imaging import bmff, jpeg_segments, png_chunks, webp_chunks
from gifster.imaging.delays import Timeline
from gifster.imaging.errors import TooComplex, TooManyPixels, Unreadable
from gifster.imaging.gif_blocks import GifBlocks
from gifster.imaging.reader import Reader, StepsSpent
from gifster.imaging.sandbox import Limits, OutOfTime, run_apart

#: How many bytes `sniff()` wants to see.
SNIFF_BYTES = 512
#: What a file is called whose content shows no type.
UNKNOWN_TYPE = "application/octet-stream"
#: How many steps (see `reader`) `glance()` takes: so many, and another one for so many bytes. GIFs
#: have sub-blocks of 255 bytes. A step takes as long as hashing 135 bytes does.
QUICK_STEPS, QUICK_BYTES_A_STEP = 100_000, 192
#: How many `examine()` takes: a tenth of a second. It is a bound for those that wait.
MOST_STEPS = 1_000_000
#: What its process may take. The steps end long before; this is for what nobody has thought of.
#: Somebody waits for it, so it comes before decoders.
EXAMINING = Limits(cpu_s=5, wall_s=20, nice=0)
EXAMINED_AT_ONCE = 2
_examined_at_once = threading.BoundedSemaphore(EXAMINED_AT_ONCE)
_TOO_COMPLEX = "The file has millions of parts, more than any picture needs. Save it anew."
#: Pillow refuses to open what has more pixels, to be safe from what takes all memory.
_MOST_PIXELS = 2 * (PIL.Image.MAX_IMAGE_PIXELS or 0)
_CHECKED_BY_PILLOW = {"image/jpeg", "image/webp"}
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
    """Read the facts of a file: here, or, if it has very many parts, in a process of its own.

    Parameters:
      max_frames: from how many on it need not be read to its end.

    Raises:
      TooManyFrames: it has more.
      Unreadable: it is an image, and its structure is wrong.
      Truncated: it is an image that ends in the middle.
      TooManyPixels: it has more than Pillow decodes at all.
      TooComplex: it has more parts than any picture needs.
      ProcessLost: the process was ended from outside, or could not be started.
    """
    info = glance(path, max_frames)
    return examine(path, max_frames) if info is None else info


def glance(path: Path, max_frames: int | None = None) -> ImageInfo | None:
    """What `probe()` does, as far as that costs no more than hashing the file; None if it would."""
    try:
        return _walked(path, max_frames, QUICK_STEPS + path.stat().st_size // QUICK_BYTES_A_STEP)
    except StepsSpent:
        return None


def examine(path: Path, max_frames: int | None = None) -> ImageInfo:
    """What `probe()` does with a file of very many parts, in a process of its own. It may have to
    wait: there are never more than `EXAMINED_AT_ONCE`."""
    with _examined_at_once:
        examining = run_apart(walk_whole, path, max_frames, limits=EXAMINING)
        try:
            while True:
                next(examining)
        except StopIteration as end:
            info: ImageInfo = end.value
            return info
        except OutOfTime:
            raise TooComplex(_TOO_COMPLEX) from None


def walk_whole(path: Path, max_frames: int | None) -> ImageInfo:
    """What `examine()` does, in this process."""
    try:
        return _walked(path, max_frames, MOST_STEPS)
    except StepsSpent:
        raise TooComplex(_TOO_COMPLEX) from None


def _walked(path: Path, max_frames: int | None, steps: int) -> ImageInfo:
    with path.open("rb", buffering=0) as file:
        content_type = sniff(file.read(SNIFF_BYTES))
        reader = Reader(cast("BinaryIO", file), steps)
        walk = _WALKERS.get(content_type)
        info = ImageInfo(content_type, 0, 0, frames=0)
        if walk is not None:
            info = walk(reader, Timeline(max_frames))
    if content_type in IMAGE_EXTENSIONS and min(info.width, info.height, info.frames) < 1:
        raise Unreadable("The image has no picture in it.")
    if info.content_type in _CHECKED_BY_PILLOW and info.width * info.height > _MOST_PIXELS:
        raise TooManyPixels("The image has more pixels than can be decoded.")
    return replace(info, bytes=reader.size)


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
    width, height, frames, loop = png_chunks.read(reader, timeline)
    return ImageInfo("image/png", width, height, frames, timeline.duration_ms, loop)


def _probe_webp(reader: Reader, timeline: Timeline) -> ImageInfo:
    width, height, loop = webp_chunks.read(reader, timeline)
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
    return ImageInfo("image/jpeg", *jpeg_segments.read(reader))


_WALKERS: dict[str, Callable[[Reader, Timeline], ImageInfo]] = {
    "image/gif": _probe_gif,
    "image/png": _probe_png,
    "image/webp": _probe_webp,
    "image/jpeg": _probe_jpeg,
    "image/avif": _probe_avif,
    "video/mp4": _probe_mp4,
}
