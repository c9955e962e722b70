"""Write MP4 without sound (H.264, 4:2:0) by x264, which comes with PyAV."""

import importlib
import importlib.util
from fractions import Fraction
from pathlib import Path
from typing import Any

import PIL.Image

from gifster.imaging.patches import Track

_NEAREST = PIL.Image.Resampling.NEAREST
_TICK = Fraction(1, 1000)
#: No B-frames: they would save some bytes, and leave open how long the last frame is displayed.
_OPTIONS = {"preset": "veryfast", "threads": "1", "bf": "0"}
#: x264's constant rate factor (0 to 51) for our quality. The default is right for small films; from
#: 18 on a film looks like its source, which is 100.
_DEFAULT_CRF, _DEFAULT_QUALITY, _CRF_STEP, _MAX_CRF = 24, 85, 0.4, 51


def is_available() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def preload() -> None:
    """Import PyAV if it is installed. It takes 20 MB, which web servers have no use for."""
    if is_available():
        importlib.import_module("av")


def write(target: Path, track: Track, quality: int | None = None) -> None:
    """Write an MP4 with the delays of the track, its index first so that browsers can stream it.

    H.264 has no transparency and needs even sides. An odd side loses its last pixel; a side of one
    pixel is doubled.
    """
    import av  # noqa: PLC0415

    width, height = (max(2, side - side % 2) for side in track.size)
    box = (0, 0, min(width, track.size[0]), min(height, track.size[1]))
    with av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as file:
        stream = file.add_stream("libx264", options=_OPTIONS | {"crf": _crf(quality)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = _TICK
        now_ms = delay_ms = 0
        packets: list[Any] = []
        for picture, delay_ms in zip(track.pictures(), track.delays_ms, strict=True):
            fits = picture.size == (width, height)
            even = picture if fits else picture.resize((width, height), _NEAREST, box)
            frame = av.VideoFrame.from_image(even)  # type: ignore[no-untyped-call]
            frame.pts, frame.time_base = now_ms, _TICK
            now_ms += delay_ms
            packets += stream.encode(frame)
            file.mux(packets[:-1])
            packets = packets[-1:]
        packets += stream.encode(None)
        packets[-1].duration = delay_ms  # no later frame tells when the last one ends
        file.mux(packets)


def _crf(quality: int | None) -> str:
    crf = _DEFAULT_CRF + (_DEFAULT_QUALITY - (quality or _DEFAULT_QUALITY)) * _CRF_STEP
    return str(min(_MAX_CRF, round(crf)))
