"""Animated AVIF, encoded by libavif, which Pillow has."""

from pathlib import Path

from gifster.imaging.parts import Play
from gifster.imaging.sequence import Sequence

#: Of 100; and how quick the encoder is, up to 10: rather that than the fewest bytes.
QUALITY, SPEED = 75, 8


def write(target: Path, play: Play) -> None:
    """Write an animated AVIF, which plays for ever: it cannot say anything else."""
    mode, delays = "RGBA" if play.is_transparent else "RGB", play.delays_ms
    frames = (picture.convert(mode) for picture in play.pictures())
    Sequence(frames, len(delays)).save(
        target, "AVIF", save_all=True, duration=delays, quality=QUALITY, speed=SPEED
    )
