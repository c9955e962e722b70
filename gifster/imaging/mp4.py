"""MP4 without sound (H.264, 4:2:0), encoded by x264, which PyAV has."""

import importlib
import importlib.util
from fractions import Fraction
from pathlib import Path
from typing import Any

import PIL.Image

from gifster.imaging.parts import Play

_NEAREST = PIL.Image.Resampling.NEAREST
_TICK = Fraction(1, 1000)
#: Frames that are made of later ones (`bf`) would save some bytes, and leave open how long the last
#: one is shown.
_OPTIONS = {"crf": "24", "preset": "veryfast", "threads": "1", "bf": "0"}


def available() -> bool:
    """Whether PyAV can be loaded."""
    return importlib.util.find_spec("av") is not None


def load() -> None:
    """Load PyAV. Not before it is needed, as web servers have no use for its 20 MB."""
    if available():
        importlib.import_module("av")


def write(target: Path, play: Play) -> None:
    """Write an MP4, each frame as long as it is shown, the index first, as browsers like it.

    H.264 has no transparency, and even sides: of an odd one a pixel is left out, or one added where
    it is the only one.
    """
    import av  # noqa: PLC0415

    width, height = (max(2, side - side % 2) for side in play.size)
    box = (0, 0, min(width, play.size[0]), min(height, play.size[1]))
    with av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as file:
        stream = file.add_stream("libx264", options=_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = _TICK
        now_ms = delay_ms = 0
        packets: list[Any] = []
        for picture, delay_ms in zip(play.pictures(), play.delays_ms, strict=True):
            as_it_is = picture.size == (width, height)
            even = picture if as_it_is else picture.resize((width, height), _NEAREST, box)
            frame = av.VideoFrame.from_image(even)  # type: ignore[no-untyped-call]
            frame.pts, frame.time_base = now_ms, _TICK
            now_ms += delay_ms
            packets += stream.encode(frame)
            file.mux(packets[:-1])
            packets = packets[-1:]
        packets += stream.encode(None)
        packets[-1].duration = delay_ms  # nothing follows that would tell
        file.mux(packets)
