"""Compose a GIF of few colours in indices of one palette: that takes a third of what colours take.

It is done in one pass: a colour gets its number where it is met. What each frame changes is kept,
unless that is too much; then the GIF is decoded and composed once more. As the last step, the
palette is put into the order in which its codes are shortest.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, compress

import PIL.Image
from PIL import ImageChops

from gifster.imaging.boxes import Box, intersection, is_empty, moved, union
from gifster.imaging.delays import displayed_ms
from gifster.imaging.frame import Frame
from gifster.imaging.gif_blocks import CLEARED, RESTORED, GifFrame
from gifster.imaging.gif_frames import DecodedGif
from gifster.imaging.gif_writer import Change
from gifster.imaging.masks import mapped, mask_above

#: What is transparent. The colours have the numbers from 1 on.
TRANSPARENT = 0
_MAX_COLORS = 255
#: What changes is kept up to so many pixels in all frames.
_KEPT_PIXELS = 16_000_000
_BLACK = b"\0\0\0"

#: What a frame changes, if anything, and how long it is shown (1/100 s).
Step = tuple[Change | None, int]


class IndexedFrames:
    """The frames of a GIF of at most 255 colours, each as what it changes.

    Attributes:
      palette: RGB, 3 bytes for each colour; the first is transparent.
    """

    def __init__(self, gif: DecodedGif, size: tuple[int, int], *, only_used: bool) -> None:
        self._gif, self._size = gif, size
        self._numbers = _Numbers(only_used=only_used)
        self._kept: list[Step] | None = []
        drawn: list[set[int]] = []
        pixels = 0
        for step in self._steps():
            change = step[0]
            if change is not None:
                pixels += change.indices.width * change.indices.height
                counts = change.indices.histogram(change.differs)
                drawn.append(set(compress(range(256), counts)) - {TRANSPARENT})
            if self._kept is not None and pixels <= _KEPT_PIXELS:
                self._kept.append(step)
            else:
                self._kept = None
        order = [TRANSPARENT, *_ordered(drawn)]
        colors = [_BLACK, *self._numbers.colors]
        self.palette = b"".join(colors[number] for number in order)
        self._places = bytearray(256)
        for place, number in enumerate(order):
            self._places[number] = place

    @classmethod
    def of(cls, gif: DecodedGif, size: tuple[int, int]) -> "IndexedFrames | None":
        """Those of a GIF; None if it has more colours.

        Most GIFs have one palette of no more colours, and which of them are used need not be
        counted.
        """
        for only_used in (False, True):
            try:
                return cls(gif, size, only_used=only_used)
            except _TooManyColors:
                pass
        return None

    def __iter__(self) -> Iterator[Step]:
        """The first change is of the whole picture, unless nothing is to be seen of it."""
        for change, delay_cs in self._steps() if self._kept is None else self._kept:
            if change is None:
                yield None, delay_cs
            else:
                yield change._replace(indices=mapped(change.indices, self._places)), delay_cs

    def frames(self) -> Iterator[Frame]:
        """The same as `gif_frames.frames()` returns, composed from what is kept if all is."""
        return self._gif.frames() if self._kept is None else self._composed(self._kept)

    def _composed(self, kept: Sequence[Step]) -> Iterator[Frame]:
        palette = b"".join([_BLACK, *self._numbers.colors])
        canvas, whole = PIL.Image.new("RGB", self._size), (0, 0, *self._size)
        for number, (change, delay_cs) in enumerate(kept):
            if number == 0 and (change is None or change.box != whole or _is_holey(change)):
                canvas = PIL.Image.new("RGBA", self._size)
            if change is not None:
                if canvas.mode == "RGB" and _is_holey(change):
                    canvas = canvas.convert("RGBA")
                piece = PIL.Image.frombytes("P", change.indices.size, change.indices.tobytes())
                piece.putpalette(palette)
                if canvas.mode == "RGBA":
                    piece.info["transparency"] = TRANSPARENT
                canvas.paste(piece.convert(canvas.mode), change.box[:2])
            box = whole if number == 0 else (0, 0, 0, 0) if change is None else change.box
            yield Frame(canvas, box, 10 * delay_cs)

    def _steps(self) -> Iterator[Step]:
        whole, canvas = (0, 0, *self._size), PIL.Image.new("L", self._size, TRANSPARENT)
        #: What the last frame does to its box: the box, and the indices that it gets.
        disposal: tuple[Box, PIL.Image.Image | int] | None = None
        for frame, indices in self._gif:
            drawn = mapped(indices, self._numbers.table(frame, indices))
            box = changed = intersection(frame.box, whole)
            if disposal is not None:
                changed = union(disposal[0], None if is_empty(box) else box)
            before = canvas.crop(changed)
            if disposal is not None:
                canvas.paste(disposal[1], disposal[0])
            below = canvas.crop(box) if frame.disposal == RESTORED else TRANSPARENT
            mask = None if frame.transparent is None else mask_above(drawn, TRANSPARENT)
            canvas.paste(drawn, frame.box[:2], mask)
            is_all = mask is None and changed == frame.box
            yield (
                _change(drawn if is_all else canvas.crop(changed), before, changed),
                round(displayed_ms(frame.delay_ms) / 10),
            )
            disposes = frame.disposal in (CLEARED, RESTORED) and not is_empty(box)
            disposal = (box, below) if disposes else None


def _change(after: PIL.Image.Image, before: PIL.Image.Image, box: Box) -> Change | None:
    difference = ImageChops.difference(after, before)
    inner = difference.getbbox()
    if inner is None:
        return None
    if inner != (0, 0, *after.size):
        after, difference = after.crop(inner), difference.crop(inner)
    return Change(after, mask_above(difference, 0), moved(inner, box))


def _is_holey(change: Change) -> bool:
    """Whether some of it is transparent."""
    return change.indices.getextrema()[0] == TRANSPARENT


class _TooManyColors(Exception):
    """A GIF has more colours than a palette."""


class _Numbers:
    """Gives each colour a number from 1 on, as colours are met.

    Parameters:
      only_used: whether colours that no pixel has get no number.

    Raises, as tables are asked for:
      _TooManyColors: there are no more numbers.
    """

    def __init__(self, *, only_used: bool) -> None:
        self._only_used = only_used
        self._number_of: dict[bytes, int] = {}
        #: By palette, transparent index and code size: the number of each index, and those that
        #: have one.
        self._tables: dict[tuple[bytes, int | None, int], tuple[bytearray, set[int]]] = {}

    @property
    def colors(self) -> Sequence[bytes]:
        """All colours that have numbers, in their order."""
        return list(self._number_of)

    def table(self, frame: GifFrame, indices: PIL.Image.Image) -> bytearray:
        """The number of each index of a frame."""
        key = frame.palette, frame.transparent, frame.bits
        known = key in self._tables
        table, numbered = self._tables.setdefault(key, (bytearray(256), set()))
        if self._only_used:
            used = set(compress(range(256), indices.histogram()))
        elif known:
            return table
        elif any(palette != frame.palette for palette, _, _ in self._tables):
            raise _TooManyColors  # most of those of several palettes may be in no pixel
        else:
            # Codes may lie beyond the palette, and are black.
            used = set(range(min(256, max(len(frame.palette) // 3, 1 << frame.bits))))
        used.discard(-1 if frame.transparent is None else frame.transparent)
        for index in sorted(used - numbered):
            color = frame.palette[3 * index : 3 * index + 3] or _BLACK
            number = self._number_of.setdefault(color, len(self._number_of) + 1)
            if number > _MAX_COLORS:
                raise _TooManyColors
            table[index] = number
        numbered |= used
        return table


def _ordered(drawn: Sequence[set[int]]) -> list[int]:
    """Colours in the order that lets most frames do with the first ones, as their codes are shorter
    then.

    As in gifsicle: the colour that fewest frames need becomes the last one. The frames that need it
    get long codes in any case, and count no more.

    Parameters:
      drawn: the colours that each frame changes pixels to.
    """
    frames, last_first = list(drawn), list[int]()
    #: How many frames need each colour, and of those that as many need, the later first.
    rank = {
        color: 256 * count - color for color, count in Counter(chain.from_iterable(frames)).items()
    }
    while rank:
        if not frames:  # no rank changes any more
            last_first += sorted(rank, key=rank.__getitem__)
            break
        rarest = min(rank, key=rank.__getitem__)
        del rank[rarest]
        last_first.append(rarest)
        for frame in frames:
            if rarest in frame:
                for color in frame - {rarest}:
                    rank[color] -= 256
        frames = [frame for frame in frames if rarest not in frame]
    return last_first[::-1]
