"""Patches: the part of a picture that one frame changes. A recording keeps those of all frames.

`animation` records the patches of each frame in every size that is wanted; an encoder then reads
the track of one size, as patches or as whole pictures. A recording keeps its pixels in memory up
to a limit, and the rest in a temporary file.
"""

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

import PIL.Image

from gifster.imaging.boxes import Box

#: Pictures of so many bytes are kept in memory, the rest on disk: so many for each pixel and each
#: picture.
_MEMORY_BYTES, _PIXEL_BYTES, _PICTURE_BYTES = 64 * 2**20, 4, 1_000


class Patch(NamedTuple):
    """What one frame changes: a picture and its place, or nothing (None).

    The picture is RGBA if some of it may be transparent, else RGB.
    """

    picture: PIL.Image.Image | None
    box: Box


UNCHANGED = Patch(None, (0, 0, 0, 0))


class Canvas:
    """The whole picture, painted patch by patch."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        #: None before the first patch.
        self.picture: PIL.Image.Image | None = None

    def paint(self, patch: Patch) -> None:
        """Put a patch in its place. The canvas takes the mode of the first patch, and becomes RGBA
        with the first patch that is."""
        if patch.picture is None:
            return
        if self.picture is None:
            self.picture = PIL.Image.new(patch.picture.mode, self.size)
        elif self.picture.mode == "RGB" and patch.picture.mode == "RGBA":
            self.picture = self.picture.convert("RGBA")
        same = patch.picture.mode == self.picture.mode
        painted = patch.picture if same else patch.picture.convert(self.picture.mode)
        self.picture.paste(painted, patch.box[:2])

    @property
    def whole(self) -> PIL.Image.Image:
        """The whole picture; transparent before the first patch."""
        return self.picture or PIL.Image.new("RGBA", self.size)


class _Saved(NamedTuple):
    """A patch whose pixels are in memory, or else in the recording's file, from `offset` on."""

    mode: str
    box: Box
    offset: int
    picture: PIL.Image.Image | None = None


class Recording:
    """The patches of each frame of an animation, one for each size that is wanted."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._frames: list[tuple[int, list[_Saved | None]]] = []
        #: How many bytes more may be kept in memory.
        self._room = _MEMORY_BYTES
        #: The last patch of each size that is in the file, and its pixels.
        self._last: dict[int, tuple[_Saved, bytes]] = {}

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, delay_ms: int, patches: Sequence[Patch]) -> None:
        """Record a frame: its patch in each size, always in the same order. Do not change its
        pictures afterwards."""
        saved = [self._save(number, patch) for number, patch in enumerate(patches)]
        self._frames.append((delay_ms, saved))

    def _save(self, number: int, patch: Patch) -> _Saved | None:
        picture = patch.picture
        if picture is None:
            return None
        needed = picture.width * picture.height * _PIXEL_BYTES + _PICTURE_BYTES
        if needed <= self._room:
            self._room -= needed
            return _Saved(picture.mode, patch.box, 0, picture)
        pixels = picture.tobytes()
        if number in self._last:
            last, last_pixels = self._last[number]
            if (last.mode, last.box, last_pixels) == (picture.mode, patch.box, pixels):
                return last
        saved = _Saved(picture.mode, patch.box, self._file.tell())
        self._file.write(pixels)
        self._last[number] = saved, pixels
        return saved

    def track(self, number: int, size: tuple[int, int]) -> "Track":
        """All frames in one size, by its number. Read one track after the other, not in turns."""
        frames = [(delay_ms, patches[number]) for delay_ms, patches in self._frames]
        return Track(self._file, frames, size)


class Track:
    """The frames of an animation in one size (pixels). It can be read several times."""

    def __init__(
        self, file: IO[bytes], frames: Sequence[tuple[int, _Saved | None]], size: tuple[int, int]
    ) -> None:
        self._file, self._frames, self.size = file, frames, size

    @property
    def is_transparent(self) -> bool:
        """Whether some of it may be transparent."""
        return any(patch is not None and patch.mode == "RGBA" for _, patch in self._frames)

    @property
    def delays_ms(self) -> list[int]:
        """How long each of `pictures()` is displayed (ms)."""
        delays: list[int] = []
        for delay_ms, patch in self._frames:
            if patch is not None or not delays:
                delays.append(0)
            delays[-1] += delay_ms
        return delays

    @property
    def shortest_ms(self) -> int:
        """The delay of the shortest frame."""
        return min(delay_ms for delay_ms, _ in self._frames)

    @property
    def areas(self) -> list[int]:
        """How many pixels each frame changes."""
        boxes = [(0, 0, 0, 0) if patch is None else patch.box for _, patch in self._frames]
        return [(right - left) * (bottom - top) for left, top, right, bottom in boxes]

    @property
    def shown_areas(self) -> list[int]:
        """How many pixels each picture changes that is shown: one for each of `delays_ms`."""
        frames = zip(self._frames, self.areas, strict=True)
        return [area for n, ((_, patch), area) in enumerate(frames) if n == 0 or patch is not None]

    def __len__(self) -> int:
        return len(self._frames)

    def first(self, count: int) -> "Track":
        """The first `count` frames."""
        return Track(self._file, self._frames[:count], self.size)

    def pictures(self) -> Iterator[PIL.Image.Image]:
        """The whole picture after each change. It may be the same object each time: use it before
        you ask for the next."""
        for picture, _ in self.shown():
            yield picture

    def shown(self) -> Iterator[tuple[PIL.Image.Image, Box]]:
        """`pictures()`, each with the box that has changed; the first is whole."""
        canvas = Canvas(self.size)
        for number, (patch, _) in enumerate(self):
            canvas.paint(patch)
            if number == 0:
                yield canvas.whole, (0, 0, *self.size)
            elif patch.picture is not None:
                yield canvas.whole, patch.box

    def changes(self) -> Iterator[tuple[PIL.Image.Image, Box]]:
        """What changes in each of `pictures()`, and where; the first is whole."""
        for number, (patch, _) in enumerate(self):
            if number == 0:
                canvas = Canvas(self.size)
                canvas.paint(patch)
                yield canvas.whole, (0, 0, *self.size)
            elif patch.picture is not None:
                yield patch.picture, patch.box

    def __iter__(self) -> Iterator[tuple[Patch, int]]:
        """The patch of each frame, and its delay (ms)."""
        for delay_ms, patch in self._frames:
            yield self._load(patch), delay_ms

    def _load(self, saved: _Saved | None) -> Patch:
        if saved is None:
            return UNCHANGED
        if saved.picture is not None:
            return Patch(saved.picture, saved.box)
        left, top, right, bottom = saved.box
        size = right - left, bottom - top
        self._file.seek(saved.offset)
        pixels = self._file.read(size[0] * size[1] * len(saved.mode))
        return Patch(PIL.Image.frombytes(saved.mode, size, pixels), saved.box)
