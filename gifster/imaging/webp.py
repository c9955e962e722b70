"""Animated WebP, encoded by libwebp, which Pillow has."""

import io
from pathlib import Path
from typing import IO

import PIL.Image

from gifster.imaging.parts import Play
from gifster.imaging.sequence import Sequence

#: Of 100; and how much time the encoder takes, of 6.
_QUALITY, _METHOD = 75, 0
#: So much of an animation, and so many frames at least, tell whether it is worth the time.
_SAMPLE, _LEAST_FRAMES = 1 / 8, 4
#: Transparency costs more bytes than colours, as it is kept without loss. So it has four steps.
_ALPHA_STEP = 85
_ALPHAS = [round(alpha / _ALPHA_STEP) * _ALPHA_STEP for alpha in range(256)]


def promises(play: Play, grown: list[int]) -> bool:
    """Whether it looks as if the WebP would be smaller than a GIF: from the first frames of both.

    Parameters:
      grown: the bytes of the GIF after each frame.
    """
    count = max(_LEAST_FRAMES, round(len(grown) * _SAMPLE))
    if count >= len(grown):
        return True
    start = io.BytesIO()
    write(start, play.begin(count), 0)
    return start.tell() < grown[count - 1]


def write(target: Path | IO[bytes], play: Play, loop: int) -> None:
    """Write an animated WebP; `loop` is how often it plays, 0 for ever."""
    delays = play.delays_ms
    sequence = Sequence(map(_with_few_alphas, play.pictures()), len(delays))
    # No key frames: nobody seeks in it.
    sequence.save(
        target, "WEBP", save_all=True, duration=delays, loop=loop,
        quality=_QUALITY, method=_METHOD, kmin=0, kmax=0,
    )  # fmt: skip


def _with_few_alphas(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode == "RGBA":
        picture = picture.copy()
        picture.putalpha(picture.getchannel("A").point(_ALPHAS))
    return picture
