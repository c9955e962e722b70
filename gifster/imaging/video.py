"""Write films without sound by PyAV: MP4 (H.264 by x264) and WebM (VP9 by libvpx), both 4:2:0."""

import importlib
import importlib.util
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

from gifster.imaging.patches import Track
from gifster.imaging.yuv import YuvCanvas

_TICK = Fraction(1, 1000)
#: A film is given up that has, after this part of its pictures, and at least so many, so many times
#: the bytes that its rival has there. The first pictures say little: encoders spend the more on
#: them the longer they are shown.
_HOPELESS, _FEW_PICTURES = ((1 / 8, 1.3), (1 / 2, 1.1)), 4
#: So is one that would come to so many times the bytes that it may have, if all that changes takes
#: as many as this first part of it.
_SEEN, _TOO_MUCH = 1 / 4, 1.2
#: Our quality where a recipe names none (1 to 100).
_DEFAULT_QUALITY = 85


@dataclass(frozen=True)
class _Format:
    """A container, its encoder, and the encoder's constant quality: a number that is `default` at
    our default quality, `step` more for each quality less, and at most `most`."""

    container: str
    container_options: dict[str, str]
    codec: str
    codec_options: dict[str, str]
    default: int
    step: float
    most: int
    keeps_transparency: bool

    def rate_factor(self, quality: int | None) -> str:
        factor = self.default + (_DEFAULT_QUALITY - (quality or _DEFAULT_QUALITY)) * self.step
        return str(max(0, min(self.most, round(factor))))


_FORMATS = {
    # No B-frames: they would save some bytes, and leave open how long the last frame is displayed.
    # A factor of 24 is right for small films; from 18 on a film looks like its source.
    "video/mp4": _Format(
        "mp4", {"movflags": "faststart"},
        "libx264", {"preset": "veryfast", "threads": "1", "bf": "0"},
        24, 0.4, 51, keeps_transparency=False,
    ),
    # `realtime` takes as long as x264 does; `good` takes five times that, for a tenth fewer bytes.
    # To look at later frames first would take a sixth longer, for the same bytes.
    "video/webm": _Format(
        "webm", {},
        "libvpx-vp9",
        {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "threads": "1", "b": "0"},
        36, 0.4, 63, keeps_transparency=True,
    ),
}  # fmt: skip
#: The content types of films that are written here.
TYPES = frozenset(_FORMATS)


def is_available() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def preload() -> None:
    """Import PyAV if it is installed. It takes 20 MB, which web servers have no use for."""
    if is_available():
        importlib.import_module("av")


def write(  # noqa: PLR0913, PLR0917
    target: Path,
    content_type: str,
    track: Track,
    quality: int | None = None,
    rival: Sequence[int] | None = None,
    most_bytes: float = math.inf,
) -> list[int] | None:
    """Write a film with the delays of the track. An MP4 has its index first, so that browsers can
    stream it.

    H.264 has no transparency: what is transparent becomes white, as in JPEG. Both formats need even
    sides. An odd side loses its last pixel; a side of one pixel is doubled.

    Parameters:
      content_type: one of `TYPES`.
      quality: 1 to 100; None is what suits the format.
      rival: what another film returned. The film is given up as soon as it is unlikely to be
        smaller.
      most_bytes: the film is given up as soon as it has more, or surely will have.

    Returns:
      the size of the film after each picture (bytes), without the container; None if it was given
      up.

    Raises:
      MemoryError: the encoder has none left.
    """
    import av  # noqa: PLC0415

    format = _FORMATS[content_type]
    is_transparent = track.is_transparent and format.keeps_transparency
    options = format.codec_options | {"crf": format.rate_factor(quality)}
    canvas = YuvCanvas(track.size, keeps_transparency=is_transparent)
    sizes: list[int] = []
    with av.open(
        str(target), "w", format=format.container, options=format.container_options
    ) as file:
        stream: Any = file.add_stream(format.codec, options=options)
        stream.width, stream.height = canvas.size
        stream.pix_fmt = "yuva420p" if is_transparent else "yuv420p"
        stream.time_base = stream.codec_context.time_base = _TICK
        now_ms = delay_ms = 0
        packets: list[Any] = []
        areas = list(accumulate(track.shown_areas))
        for (picture, changed), delay_ms in zip(track.shown(), track.delays_ms, strict=True):
            canvas.paint(picture, changed)
            frame = av.VideoFrame(*canvas.size, stream.pix_fmt)
            strides = [plane.line_size for plane in frame.planes]
            for plane, pixels in zip(frame.planes, canvas.planes(strides), strict=True):
                plane.update(pixels)
            frame.pts, frame.time_base = now_ms, _TICK
            now_ms += delay_ms
            encoded = _encoded(stream, frame)
            _count(encoded, sizes)
            if rival is not None and _is_lost(sizes, rival):
                return None
            if _is_over(sizes, most_bytes) or _will_be_over(sizes, areas, most_bytes):
                return None
            packets += encoded
            file.mux(packets[:-1])
            packets = packets[-1:]
        encoded = _encoded(stream, None)
        _count(encoded, sizes)
        packets += encoded
        packets[-1].duration = delay_ms  # no later frame tells when the last one ends
        file.mux(packets)
    return None if _is_over(sizes, most_bytes) else sizes


def _encoded(stream: Any, frame: Any) -> list[Any]:
    """The packets of a picture, or with None those that are left.

    Raises:
      MemoryError: the encoder has none left. It gives no reason, and takes all of our pictures.
    """
    import av  # noqa: PLC0415

    try:
        return list(stream.encode(frame))
    except av.error.ExternalError as error:
        raise MemoryError(str(error)) from error


def _count(packets: Iterable[Any], sizes: list[int]) -> None:
    """Add the size of the film after each of these packets. Alpha is beside the colours."""
    for packet in packets:
        size = packet.size + sum(
            beside.data_size
            for beside in packet.iter_sidedata()
            if beside.data_type == "matroska_block_additional"
        )
        sizes.append(size + (sizes[-1] if sizes else 0))


def _is_over(sizes: Sequence[int], most_bytes: float) -> bool:
    return bool(sizes) and sizes[-1] > most_bytes


def _will_be_over(sizes: Sequence[int], areas: Sequence[int], most_bytes: float) -> bool:
    """Whether a film is far too large, judging by what its changes took after the first picture.

    Parameters:
      areas: how many pixels each picture and all before it change.
    """
    count = len(sizes)
    if count < _FEW_PICTURES:
        return False
    seen, total = areas[count - 1] - areas[0], areas[-1] - areas[0]
    if seen <= 0 or seen < _SEEN * total:
        return False
    return sizes[0] + (sizes[-1] - sizes[0]) * total / seen > _TOO_MUCH * most_bytes


def _is_lost(sizes: Sequence[int], rival: Sequence[int]) -> bool:
    """Whether a film is unlikely to become smaller than another of the same pictures."""
    count = len(sizes)
    if not count or sizes[-1] >= rival[-1]:
        return bool(count)
    return count >= _FEW_PICTURES and any(
        count >= part * len(rival) and sizes[-1] > factor * rival[count - 1]
        for part, factor in _HOPELESS
    )
