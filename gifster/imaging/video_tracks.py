"""Open a video by PyAV, choose the track that browsers show, and decode it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gifster.imaging.errors import Unreadable
from gifster.imaging.image_info import VIDEO_TYPES

#: Tracks of these codecs beside a film are its cover, or a photo.
_STILLS = {"mjpeg", "png", "bmp", "gif", "tiff", "webp"}
#: The decoders that know transparency: those of FFmpeg itself, which it prefers, overlook it.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


@contextmanager
def opened(path: Path, content_type: str) -> Iterator[tuple[Any, Any]]:
    """A video and the stream of pictures that browsers show.

    Parameters:
      content_type: one of `VIDEO_TYPES`.

    Raises:
      Unreadable: it is damaged; also within the `with` block.
    """
    try:
        import av  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "reading a video needs PyAV, which is not installed: pip install 'gifster[mp4]'",
            name="av",
        ) from None
    try:
        # Only this demuxer, and no other file.
        with av.open(
            str(path),
            format=VIDEO_TYPES[content_type],
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        ) as container:
            if not container.streams.video:
                raise Unreadable("The video contains no pictures.")
            stream = _shown(container.streams.video, VIDEO_TYPES[content_type])
            if stream.codec_context is None:
                raise Unreadable("The codec of the video is not known here.")
            stream.thread_count = 1
            yield container, stream
    except MemoryError:
        raise
    except (av.FFmpegError, ValueError, EOFError) as error:
        raise Unreadable("The video is damaged, or its codec is not known here.") from error


def _shown(streams: Sequence[Any], demuxer: str) -> Any:
    """The stream that browsers show: the first one that is a film, and enabled in an MP4 or MOV."""
    from av.stream import Disposition  # noqa: PLC0415

    films = [
        stream for stream in streams
        if stream.codec_context is not None and stream.codec_context.name not in _STILLS
    ] or streams  # fmt: skip
    enabled = [stream for stream in films if stream.disposition & Disposition.default]
    return enabled[0] if enabled and demuxer == "mov" else films[0]


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """The frames of a stream, from where the container is, with their transparency."""
    import av  # noqa: PLC0415

    codec = _WITH_ALPHA.get(stream.codec_context.name)
    is_transparent = stream.metadata.get("alpha_mode") == "1" and codec in av.codecs_available
    if codec is None or not is_transparent:
        yield from container.decode(stream)
        return
    decoder: Any = av.CodecContext.create(codec, "r")
    decoder.thread_count = 1
    for packet in container.demux(stream):
        yield from decoder.decode(packet)
