"""Write films without sound by PyAV: MP4 (H.264 by x264) and WebM (VP9 by libvpx), both 4:2:0."""

import importlib
import importlib.util
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import PIL.Image

from gifster.imaging.patches import Track

_NEAREST = PIL.Image.Resampling.NEAREST
_TICK = Fraction(1, 1000)
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
    "video/webm": _Format(
        "webm", {},
        "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "threads": "1", "b": "0"},
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


def write(target: Path, content_type: str, track: Track, quality: int | None = None) -> None:
    """Write a film with the delays of the track. An MP4 has its index first, so that browsers can
    stream it.

    H.264 has no transparency: what is transparent becomes white, as in JPEG. Both formats need even
    sides. An odd side loses its last pixel; a side of one pixel is doubled.

    Parameters:
      content_type: one of `TYPES`.
      quality: 1 to 100; None is what suits the format.
    """
    import av  # noqa: PLC0415

    format = _FORMATS[content_type]
    is_transparent = track.is_transparent and format.keeps_transparency
    options = format.codec_options | {"crf": format.rate_factor(quality)}
    width, height = (max(2, side - side % 2) for side in track.size)
    box = (0, 0, min(width, track.size[0]), min(height, track.size[1]))
    with av.open(
        str(target), "w", format=format.container, options=format.container_options
    ) as file:
        stream: Any = file.add_stream(format.codec, options=options)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuva420p" if is_transparent else "yuv420p"
        stream.time_base = stream.codec_context.time_base = _TICK
        now_ms = delay_ms = 0
        packets: list[Any] = []
        for picture, delay_ms in zip(track.pictures(), track.delays_ms, strict=True):
            fits = picture.size == (width, height)
            even = picture if fits else picture.resize((width, height), _NEAREST, box)
            if is_transparent:
                pixels = even.convert("RGBA").tobytes()
                frame = av.VideoFrame.from_bytes(pixels, width, height)
            else:
                frame = av.VideoFrame.from_image(_on_white(even))  # type: ignore[no-untyped-call]
            frame.pts, frame.time_base = now_ms, _TICK
            now_ms += delay_ms
            packets += stream.encode(frame)
            file.mux(packets[:-1])
            packets = packets[-1:]
        packets += stream.encode(None)
        packets[-1].duration = delay_ms  # no later frame tells when the last one ends
        file.mux(packets)


def _on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode == "RGB":
        return picture
    white = PIL.Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white
