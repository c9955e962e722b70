"""Read the facts of an image from its structure, without decoding a pixel.

`sniff()` tells the type from the first bytes. `probe()` reads the structure of the whole file, so
that a truncated upload is refused while its sender is still there. Each format has a module:
`gif_blocks`, `png_chunks`, `webp_chunks`, `jpeg_segments`, `bmff`, `ebml`. The number of steps is
bounded (`reader`, decision 26).
"""

import struct
import threading
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import filetype
import PIL.Image

from gifster.imaging import (
    bmff,
    bmp,
    cicp,
    ebml,
    heic,
    jpeg_segments,
    orientation,
    png_chunks,
    tiff,
    webp_chunks,
)
from gifster.imaging.delays import Timeline
from gifster.imaging.errors import TooComplex, TooManyPixels, Unreadable, Unsupported
from gifster.imaging.gif_blocks import GifBlocks
from gifster.imaging.image_info import IMAGE_EXTENSIONS, UNKNOWN_TYPE, VIDEO_TYPES, ImageInfo
from gifster.imaging.reader import OutOfSteps, Reader
from gifster.imaging.sandbox import Limits, OutOfTime, call_sandboxed

#: How many bytes `sniff()` needs.
SNIFF_BYTES = 512
#: The steps (see `reader`) of `glance()`: so many, and one more for so many bytes. Sub-blocks of a
#: GIF have 255 bytes. One step takes as long as hashing 135 bytes.
QUICK_STEPS, QUICK_BYTES_A_STEP = 100_000, 192
#: The steps of `examine()`: a tenth of a second, as others wait for their turn.
MAX_STEPS = 1_000_000
#: The limits of its process, in case the steps do not bound it. Its priority is not lowered: a
#: person waits for it.
EXAMINING = Limits(cpu_s=5, wall_s=20, nice=0)
EXAMINED_AT_ONCE = 2
_examined_at_once = threading.BoundedSemaphore(EXAMINED_AT_ONCE)
#: How many threads read the structure of large files at a time. More are no quicker, as Python runs
#: one at a time; but each other thread, such as that of an event loop, waits for all of them.
GLANCED_AT_ONCE = 2
glancing = threading.BoundedSemaphore(GLANCED_AT_ONCE)
_TOO_COMPLEX = (
    "The file has millions of parts, more than any image needs. "
    "Open it in an image editor and save it again."
)
#: Pillow refuses to open larger images, because they may take all memory. These types are refused
#: here already.
_MAX_PIXELS = 2 * (PIL.Image.MAX_IMAGE_PIXELS or 0)
_LIMITED_TYPES = {"image/jpeg", "image/webp"}
#: The errors that Pillow's decoders raise for damaged files.
DECODER_ERRORS = (
    ArithmeticError, EOFError, LookupError, OSError, RuntimeError, SyntaxError, TypeError,
    ValueError, struct.error, zlib.error,
)  # fmt: skip
#: Whether a file of a type begins with these bytes.
_SIGNATURES: dict[str, Callable[[bytes], bool]] = {
    "image/gif": lambda head: head[:6] in (b"GIF87a", b"GIF89a"),
    "image/png": lambda head: head[:8] == b"\x89PNG\r\n\x1a\n",
    "image/jpeg": lambda head: head[:3] == b"\xff\xd8\xff",
    "image/webp": lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
    "image/avif": bmff.is_avif,
    "image/heic": bmff.is_heic,
    "image/bmp": bmp.is_bmp,
    "image/tiff": tiff.is_tiff,
}


def sniff(head: bytes) -> str:
    """The content type of a file from its first `SNIFF_BYTES` bytes; `UNKNOWN_TYPE` if unclear.

    The `filetype` package recognizes the types that are not read as images.
    """
    for content_type, begins in _SIGNATURES.items():
        if begins(head):
            return content_type
    other = filetype.guess_mime(head) or UNKNOWN_TYPE
    # It takes even "GIF90a" for a GIF.
    return UNKNOWN_TYPE if other in IMAGE_EXTENSIONS else other


def probe(path: Path, max_frames: int | None = None, *, videos: bool = False) -> ImageInfo:
    """Read the facts of a file: here, or in a sandboxed process if the file has very many parts.

    Parameters:
      max_frames: how many frames it may have; None means any number.
      videos: whether to read videos as animations, in a sandboxed process, by PyAV (the extra
        `mp4`). Otherwise they are files that are no images.

    Raises:
      TooManyFrames: it has more frames. The rest of the file is not read.
      Unreadable: it is an image, but its structure is wrong.
      Truncated: it is an image that ends in the middle.
      TooManyPixels: it has more pixels than Pillow decodes.
      TooComplex: it has more parts than any image needs.
      ProcessLost: the sandboxed process was killed from outside, or could not be started.
    """
    info = glance(path, max_frames, videos=videos)
    return examine(path, max_frames, videos=videos) if info is None else info


def glance(
    content: Path | bytes, max_frames: int | None = None, *, videos: bool = False
) -> ImageInfo | None:
    """Do what `probe()` does if that takes no longer than hashing the file; else return None.

    At most `GLANCED_AT_ONCE` files are read at a time; further callers wait. Small files, which are
    in memory, do not.

    Parameters:
      content: the file's path, or its bytes if they are in memory already.
    """
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    steps = QUICK_STEPS + size // QUICK_BYTES_A_STEP
    try:
        with nullcontext() if isinstance(content, bytes) else glancing:
            info = _probe(content, max_frames, steps)
    except OutOfSteps:
        return None
    return None if videos and info.content_type in VIDEO_TYPES else info


def examine(path: Path, max_frames: int | None = None, *, videos: bool = False) -> ImageInfo:
    """Do what `probe()` does with a video, or a file of very many parts, in a sandboxed process.

    At most `EXAMINED_AT_ONCE` files are examined at a time; further callers wait.
    """
    with _examined_at_once:
        try:
            return call_sandboxed(probe_unsandboxed, path, max_frames, videos, limits=EXAMINING)
        except OutOfTime:
            raise TooComplex(_TOO_COMPLEX) from None


def probe_unsandboxed(path: Path, max_frames: int | None, videos: bool = False) -> ImageInfo:
    """Do what `examine()` does, in this process."""
    try:
        info = _probe(path, max_frames, MAX_STEPS)
    except OutOfSteps:
        raise TooComplex(_TOO_COMPLEX) from None
    if not videos or info.content_type not in VIDEO_TYPES:
        return info
    from gifster.imaging import video_frames  # noqa: PLC0415 it loads PyAV

    return replace(video_frames.read(path, info.content_type, max_frames), bytes=info.bytes)


def _opened(content: Path | bytes) -> BinaryIO:
    if isinstance(content, bytes):
        return BytesIO(content)
    return cast("BinaryIO", content.open("rb", buffering=0))


def _probe(content: Path | bytes, max_frames: int | None, steps: int) -> ImageInfo:
    with _opened(content) as file:
        content_type = sniff(file.read(SNIFF_BYTES))
        reader = Reader(file, steps)
        probe_format = _PROBES.get(content_type)
        info = ImageInfo(content_type, 0, 0, frames=0)
        if content_type == "image/heic" and not heic.is_available():
            probe_format = None
        if probe_format is not None:
            info = replace(probe_format(reader, Timeline(max_frames)), content_type=content_type)
    is_image = content_type in IMAGE_EXTENSIONS and probe_format is not None
    if is_image and min(info.width, info.height, info.frames) < 1:
        raise Unreadable("The image is damaged: it contains no picture.")
    if info.content_type in _LIMITED_TYPES and info.width * info.height > _MAX_PIXELS:
        raise TooManyPixels(
            f"The image has {info.width:,} × {info.height:,} pixels, which is more than can be "
            "decoded. Make it smaller first."
        )
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
        blocks.plays if timeline.frames > 1 else None,
    )


def _probe_png(reader: Reader, timeline: Timeline) -> ImageInfo:
    facts = png_chunks.read(reader, timeline)
    turned = orientation.of_exif(facts.describing.get(b"eXIf", b""))
    size = orientation.upright_size(facts.width, facts.height, turned)
    return ImageInfo("image/png", *size, facts.frames, timeline.duration_ms, facts.loop)


def _probe_webp(reader: Reader, timeline: Timeline) -> ImageInfo:
    width, height, loop = webp_chunks.read(reader, timeline)
    frames = max(timeline.frames, 1)
    return ImageInfo("image/webp", width, height, frames, timeline.duration_ms, loop)


def _probe_avif(reader: Reader, _: Timeline) -> ImageInfo:
    facts = bmff.read(reader)
    if facts.matrix in cicp.UNREAD_MATRICES:
        raise Unsupported(
            f"An AVIF whose colours have the matrix {facts.matrix} cannot be read here. "
            "Save it as a PNG."
        )
    moves = facts.frames > 1
    return ImageInfo(
        "image/avif",
        *orientation.upright_size(*(facts.shown or facts[:2]), facts.orientation),
        facts.frames if moves else 1,
        facts.duration_ms if moves else 0,
        facts.plays if moves else None,
    )


def _probe_heic(reader: Reader, _: Timeline) -> ImageInfo:
    facts = bmff.read(reader)
    size = orientation.upright_size(*(facts.aperture or facts[:2]), facts.orientation)
    return ImageInfo("image/heic", *size)


def _probe_bmp(reader: Reader, _: Timeline) -> ImageInfo:
    layout = bmp.layout(reader)
    return ImageInfo("image/bmp", layout.width, layout.height)


def _probe_tiff(reader: Reader, _: Timeline) -> ImageInfo:
    facts = tiff.read(reader)
    size = orientation.upright_size(facts.width, facts.height, facts.orientation)
    return ImageInfo("image/tiff", *size)


def _probe_mp4(reader: Reader, _: Timeline) -> ImageInfo:
    facts = bmff.read(reader)
    return ImageInfo("video/mp4", facts.width, facts.height, frames=0)


def _probe_webm(reader: Reader, _: Timeline) -> ImageInfo:
    return ImageInfo("video/webm", *ebml.read(reader), frames=0)


def _probe_jpeg(reader: Reader, _: Timeline) -> ImageInfo:
    facts = jpeg_segments.read(reader)
    size = orientation.upright_size(facts.width, facts.height, facts.orientation)
    return ImageInfo("image/jpeg", *size)


_PROBES: dict[str, Callable[[Reader, Timeline], ImageInfo]] = {
    "image/gif": _probe_gif,
    "image/png": _probe_png,
    "image/webp": _probe_webp,
    "image/jpeg": _probe_jpeg,
    "image/avif": _probe_avif,
    "image/heic": _probe_heic,
    "image/bmp": _probe_bmp,
    "image/tiff": _probe_tiff,
    "video/mp4": _probe_mp4,
    "video/x-m4v": _probe_mp4,
    "video/quicktime": _probe_mp4,
    "video/webm": _probe_webm,
}
