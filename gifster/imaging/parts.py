"""What frames change: a part of the picture each. Put together on a canvas, and kept until all are
known."""

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

import PIL.Image

from gifster.imaging.boxes import Box

#: So much is kept in memory, the rest on disk.
_HOLD_BYTES = 64 * 2**20


class Part(NamedTuple):
    """What one frame changes: nothing, or a picture (RGB, or RGBA where not all of it is opaque)
    and where it lies."""

    picture: PIL.Image.Image | None
    box: Box


NOTHING = Part(None, (0, 0, 0, 0))


class Canvas:
    """The whole picture, painted part by part."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        #: None before the first part.
        self.picture: PIL.Image.Image | None = None

    def paint(self, part: Part) -> None:
        """Put a part in its place. The first makes the mode; RGB becomes RGBA when it has to."""
        if part.picture is None:
            return
        if self.picture is None:
            self.picture = PIL.Image.new(part.picture.mode, self.size)
        elif self.picture.mode == "RGB" and part.picture.mode == "RGBA":
            self.picture = self.picture.convert("RGBA")
        same = part.picture.mode == self.picture.mode
        painted = part.picture if same else part.picture.convert(self.picture.mode)
        self.picture.paste(painted, part.box[:2])

    @property
    def whole(self) -> PIL.Image.Image:
        """All of it, transparent before the first part."""
        return self.picture or PIL.Image.new("RGBA", self.size)


class _Kept(NamedTuple):
    """Where the pixels of a part are."""

    mode: str
    box: Box
    at: int


class Steps:
    """The parts of each frame, one for each size in which it is made."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_HOLD_BYTES)  # noqa: SIM115
        self._steps: list[tuple[int, list[_Kept | None]]] = []
        #: Of each size what was kept last, and its pixels.
        self._last: dict[int, tuple[_Kept, bytes]] = {}

    def __enter__(self) -> "Steps":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, delay_ms: int, parts: Sequence[Part]) -> None:
        """Keep a frame."""
        self._steps.append((delay_ms, [self._keep(at, part) for at, part in enumerate(parts)]))

    def _keep(self, number: int, part: Part) -> _Kept | None:
        if part.picture is None:
            return None
        pixels = part.picture.tobytes()
        if number in self._last:
            last, last_pixels = self._last[number]
            if (last.mode, last.box, last_pixels) == (part.picture.mode, part.box, pixels):
                return last
        kept = _Kept(part.picture.mode, part.box, self._file.tell())
        self._file.write(pixels)
        self._last[number] = kept, pixels
        return kept

    def of(self, number: int, size: tuple[int, int]) -> "Play":
        """All frames in one of the sizes. One play is to be read after the other."""
        frames = [(delay_ms, parts[number]) for delay_ms, parts in self._steps]
        return Play(self._file, frames, size)


class Play:
    """The frames of an animation in one size (pixels); may be read again and again."""

    def __init__(
        self, file: IO[bytes], frames: Sequence[tuple[int, _Kept | None]], size: tuple[int, int]
    ) -> None:
        self._file, self._frames, self.size = file, frames, size

    @property
    def is_transparent(self) -> bool:
        """Whether anything in it is transparent."""
        return any(part is not None and part.mode == "RGBA" for _, part in self._frames)

    @property
    def delays_ms(self) -> list[int]:
        """For how long each of `pictures()` is shown (ms)."""
        delays: list[int] = []
        for delay_ms, part in self._frames:
            if part is not None or not delays:
                delays.append(0)
            delays[-1] += delay_ms
        return delays

    @property
    def shortest_ms(self) -> int:
        """For how long the shortest frame is shown."""
        return min(delay_ms for delay_ms, _ in self._frames)

    def __len__(self) -> int:
        return len(self._frames)

    def begin(self, count: int) -> "Play":
        """The first frames only, so many."""
        return Play(self._file, self._frames[:count], self.size)

    def pictures(self) -> Iterator[PIL.Image.Image]:
        """The whole picture at each change. It may be the same object: use it before going on."""
        canvas = Canvas(self.size)
        for number, (part, _) in enumerate(self):
            canvas.paint(part)
            if part.picture is not None or number == 0:
                yield canvas.whole

    def changes(self) -> Iterator[tuple[PIL.Image.Image, Box]]:
        """What is new in each of `pictures()`, and where; in the first, all of it."""
        for number, (part, _) in enumerate(self):
            if number == 0:
                canvas = Canvas(self.size)
                canvas.paint(part)
                yield canvas.whole, (0, 0, *self.size)
            elif part.picture is not None:
                yield part.picture, part.box

    def __iter__(self) -> Iterator[tuple[Part, int]]:
        """What each frame changes, and for how long it is shown (ms)."""
        for delay_ms, part in self._frames:
            yield self._part(part), delay_ms

    def _part(self, kept: _Kept | None) -> Part:
        if kept is None:
            return NOTHING
        left, top, right, bottom = kept.box
        size = right - left, bottom - top
        self._file.seek(kept.at)
        content = self._file.read(size[0] * size[1] * len(kept.mode))
        return Part(PIL.Image.frombytes(kept.mode, size, content), kept.box)
