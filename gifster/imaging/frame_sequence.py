"""Hand frames to Pillow's WebP and AVIF encoders one at a time."""

from collections.abc import Iterator

import PIL.Image


class FrameSequence(PIL.Image.Image):
    """An image with several frames that are computed when the encoder asks for them.

    Pillow's `append_images` would keep all frames in memory.

    Parameters:
      frames: RGB or RGBA, all of one size. The same object may come again with new content.
      count: how many frames there are.
    """

    is_animated = True

    def __init__(self, frames: Iterator[PIL.Image.Image], count: int) -> None:
        super().__init__()
        self._frames, self.n_frames, self._number = frames, count, -1
        self.seek(0)

    def seek(self, frame: int) -> None:
        """Go on to the next frame. Encoders ask for the present or the next frame only."""
        if frame >= self.n_frames:
            raise EOFError
        if frame != self._number + 1:
            return
        picture = next(self._frames)
        self._number, self._mode, self._size = frame, picture.mode, picture.size
        self.im = picture.im

    def tell(self) -> int:
        """The number of the present frame."""
        return self._number
