"""Makes small videos for tests, by PyAV."""

import functools
import io
from fractions import Fraction
from typing import Any

import av
import PIL.Image


@functools.lru_cache(8)
def video(
    colors: tuple[str, ...] = ("red", "lime", "blue"),
    frames_each: int = 10,
    size: tuple[int, int] = (96, 64),
    format: str = "mp4",
    *,
    sound: bool = False,
) -> bytes:
    """A video of 20 frames a second that shows one colour after the other."""
    codec = "libvpx-vp9" if format == "webm" else "libx264"
    content = io.BytesIO()
    with av.open(content, "w", format=format) as file:
        stream: Any = file.add_stream(codec, rate=20)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        noise: Any = file.add_stream("aac", rate=8000, layout="mono") if sound else None
        for number in range(len(colors) * frames_each):
            picture = PIL.Image.new("RGB", size, colors[number // frames_each])
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            frame.pts, frame.time_base = number, Fraction(1, 20)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if noise is not None:
            silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            silence.sample_rate, silence.pts = 8000, 0
            for plane in silence.planes:
                plane.update(bytes(plane.buffer_size))
            file.mux(noise.encode(silence))
            file.mux(noise.encode(None))
    return content.getvalue()
