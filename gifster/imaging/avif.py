"""Write animated AVIF by libavif, which comes with Pillow."""

from pathlib import Path

from gifster.imaging import bmff
from gifster.imaging.frame_sequence import FrameSequence
from gifster.imaging.patches import Track

#: Chromium shows every sequence in the limited range of television, whatever its boxes and its AV1
#: data say.
_RANGE = "limited"
#: Quality of 100, speed of 10. A fast encoder matters more than the fewest bytes.
QUALITY, SPEED = 75, 8


def write(target: Path, track: Track, plays: int, quality: int | None = None) -> None:
    """Write an animated AVIF, by default in `QUALITY`, that plays `plays` times, or forever if that
    is 0."""
    mode, delays = "RGBA" if track.is_transparent else "RGB", track.delays_ms
    frames = (picture.convert(mode) for picture in track.pictures())
    FrameSequence(frames, len(delays)).save(
        target, "AVIF", save_all=True, duration=delays, quality=quality or QUALITY, speed=SPEED,
        range=_RANGE,
    )  # fmt: skip
    if plays and len(delays) > 1:
        bmff.set_plays(target, plays)  # Pillow's encoder always writes forever
