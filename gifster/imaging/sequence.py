"""Animations for encoders of Pillow's that take frames one by one."""

from collections.abc import Iterator

import PIL.Image


class Sequence(PIL.Image.Image):
    """An image with several frames, which come one by one: Pillow would have a list of all.

    Parameters:
      frames: RGB or RGBA, all of one size; each may be the same object again.
      count: how many they are.
    """

    is_animated = True

    def __init__(self, frames: Iterator[PIL.Image.Image], count: int) -> None:
        super().__init__()
        self._frames, self.n_frames, self._at = frames, count, -1
        self.seek(0)

    def seek(self, frame: int) -> None:
        """The next frame; any other than that is not asked for."""
        if frame >= self.n_frames:
            raise EOFError
        if frame != self._at + 1:
            return
        picture = next(self._frames)
        self._at, self._mode, self._size, self.im = frame, picture.mode, picture.size, picture.im

    def tell(self) -> int:
        return self._at
