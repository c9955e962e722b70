"""Animated WebP, encoded by libwebp, which Pillow has."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import PIL.Image

from gifster.uploads.imaging.parts import Play

#: Of 100; and how much time the encoder takes, of 6.
_QUALITY, _METHOD = 75, 0
#: So much of an animation, and so many frames at least, tell whether it is worth the time.
_SAMPLE, _LEAST_FRAMES = 1 / 8, 4
#: Transparency costs more bytes than colours, as it is kept without loss. So it has four steps.
_ALPHA_STEP = 85
_ALPHAS = [round(alpha / _ALPHA_STEP) * _ALPHA_STEP for alpha in range(256)]


def promises(play: Play, grown: Sequence[int]) -> bool:
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
    delays = [10 * delay_cs for delay_cs in play.delays_cs]
    sequence = _Sequence(play.pictures(), len(delays))
    # No key frames: nobody seeks in it.
    sequence.save(
        target, "WEBP", save_all=True, duration=delays, loop=loop,
        quality=_QUALITY, method=_METHOD, kmin=0, kmax=0,
    )  # fmt: skip


class _Sequence(PIL.Image.Image):
    """An image with several frames, which come one by one: Pillow would have a list of all."""

    def __init__(self, frames: Iterator[PIL.Image.Image], count: int) -> None:
        super().__init__()
        self._frames, self.n_frames, self._at = frames, count, -1
        self.seek(0)

    def seek(self, frame: int) -> None:
        """The next frame; any other than that is not asked for."""
        if frame != self._at + 1:
            return
        picture = next(self._frames)
        if picture.mode == "RGBA":
            picture = picture.copy()
            picture.putalpha(picture.getchannel("A").point(_ALPHAS))
        self._at, self._mode, self._size, self.im = frame, picture.mode, picture.size, picture.im

    def tell(self) -> int:
        return self._at
