"""Decode a GIF frame by frame, and compose what browsers show (GIF89a, section 23).

Pillow gets some cases of "restore to previous" wrong, shows a background colour that browsers leave
transparent, and copies the whole picture for each frame.
"""

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO

import PIL.Image

from gifster.imaging.boxes import Box, intersection, is_empty, moved, union
from gifster.imaging.delays import displayed_ms
from gifster.imaging.errors import Unreadable
from gifster.imaging.frame import MAX_COMPARED_PIXELS, Frame, changed_box
from gifster.imaging.gif_blocks import CLEARED, RESTORED, GifBlocks, GifFrame
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.masks import selecting
from gifster.imaging.reader import Reader

_BLACK = b"\0\0\0"
#: The frames of a GIF are kept if they have at most so many pixels, of a byte each.
_KEPT_PIXELS = 16_000_000

#: A frame, and its pixels (P).
DecodedFrame = tuple[GifFrame, PIL.Image.Image]


class DecodedGif:
    """A GIF whose frames are decoded once, however often they are asked for, unless they have too
    many pixels to be kept.

    Parameters:
      info: what `probe()` returned for it.

    Raises, as frames are asked for:
      Unreadable: the first frame cannot be decoded.
    """

    def __init__(self, source: Path, info: ImageInfo) -> None:
        self._source, self._info = source, info
        is_small = info.width * info.height * info.frames <= _KEPT_PIXELS
        self._is_kept = is_small and _pixels(source) <= _KEPT_PIXELS
        self._decoding = decoded(source)
        self._kept: list[DecodedFrame] = []

    def __iter__(self) -> Iterator[DecodedFrame]:
        """The frames, each with its pixels (P). Do not change these."""
        if not self._is_kept:
            yield from decoded(self._source)
            return
        for number in count():
            if number == len(self._kept):
                following = next(self._decoding, None)
                if following is None:
                    return
                self._kept.append(following)
            yield self._kept[number]

    def frames(self) -> Iterator[Frame]:
        """What `frames()` returns."""
        if not self._is_kept:
            return frames(self._source, self._info)
        return _composed(self._info, ((frame, pixels.copy()) for frame, pixels in self))


def frames(source: Path, info: ImageInfo) -> Iterator[Frame]:
    """The frames of a GIF. A picture is valid until the next one is asked for. Its pixels are
    opaque, or transparent and black: a `scaler` relies on that.

    Parameters:
      info: what `probe()` returned for it.

    Raises:
      Unreadable: the first frame cannot be decoded.
    """
    return _composed(info, decoded(source))


def _composed(info: ImageInfo, decoded: Iterable[DecodedFrame]) -> Iterator[Frame]:
    whole = (0, 0, info.width, info.height)
    canvas, cleared = _Canvas((info.width, info.height)), None
    compares = info.width * info.height <= MAX_COMPARED_PIXELS
    for number, (frame, indices) in enumerate(without_needless_disposal(decoded)):
        fills = frame.box == whole and not canvas.is_opaque
        drawn = _in_colors(frame, indices, may_be_opaque=fills)
        changed = whole if number == 0 else intersection(union(frame.box, cleared), whole)
        before = None
        if number and cleared is None and compares and not is_empty(changed):
            is_replaced = drawn.mode == "RGB" and frame.box == whole
            before = canvas.picture if is_replaced else canvas.picture.crop(changed)
        picture = canvas.show(frame, drawn)
        if before is not None:
            changed = moved(changed_box(_part(picture, changed), before), changed)
        yield Frame(picture, changed, round(displayed_ms(frame.delay_ms)))
        cleared = frame.box if frame.disposal in (CLEARED, RESTORED) else None
        canvas.dispose(frame)


def first(source: Path, info: ImageInfo) -> PIL.Image.Image:
    """The picture that a GIF begins with: P, which takes least memory, or rarely RGBA.

    Raises:
      Unreadable: it cannot be decoded.
    """
    frame, indices = next(decoded(source))
    size, clear = (info.width, info.height), frame.transparent
    if frame.box != (0, 0, *size):
        if clear is None:
            counts = indices.histogram()
            clear = next((index for index, count in enumerate(counts) if not count), None)
        if clear is None:
            return _Canvas(size).show(frame, _in_colors(frame, indices))
        palette = bytearray(frame.palette.ljust(3 * 256, b"\0"))
        palette[3 * clear : 3 * clear + 3] = _BLACK
        whole = PIL.Image.new("P", size, clear)
        whole.putpalette(bytes(palette))
        whole.paste(indices, frame.box[:2])
        indices = whole
    if clear is not None:
        indices.info["transparency"] = clear
    return indices


def decoded(source: Path) -> Iterator[DecodedFrame]:
    """The frames of a GIF, each with its pixels (P).

    Browsers stop at a damaged frame, or show nothing from there on. Here it is shown as far as it
    can be decoded, unless it is the first.

    Raises:
      Unreadable: the first frame cannot be decoded.
    """
    with source.open("rb") as structure, source.open("rb") as pixels:
        for number, frame in enumerate(GifBlocks(Reader(structure))):
            yield frame, _indices(frame, pixels, is_first=number == 0)


def _pixels(source: Path) -> int:
    """How many pixels all frames of a GIF have, also beyond the picture."""
    with source.open("rb") as file:
        boxes = [frame.box for frame in GifBlocks(Reader(file))]
    return sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)


def without_needless_disposal(
    frames: Iterable[DecodedFrame],
) -> Iterator[DecodedFrame]:
    """The same frames, of which none is cleared or restored where the next one draws all pixels.

    Many programs have every frame cleared. As that says nothing of what changes, all frames would
    have to be drawn as a whole.
    """
    last: DecodedFrame | None = None
    for frame, indices in frames:
        if last is not None:
            before, its_indices = last
            if before.disposal and _draws_over(frame, indices, before):
                before = before._replace(disposal=0)
            yield before, its_indices
        last = frame, indices
    if last is not None:
        yield last


def _draws_over(frame: GifFrame, indices: PIL.Image.Image, before: GifFrame) -> bool:
    """Whether nothing can be seen any more of what became of the frame before."""
    covers = union(frame.box, before.box) == frame.box and frame.disposal != RESTORED
    return covers and (frame.transparent is None or not indices.histogram()[frame.transparent])


def _indices(frame: GifFrame, file: BinaryIO, *, is_first: bool) -> PIL.Image.Image:
    size = frame.box[2] - frame.box[0], frame.box[3] - frame.box[1]
    indices = PIL.Image.new("P", size, frame.transparent or 0)
    indices.putpalette(frame.palette.ljust(3 * 256, b"\0"))
    if is_empty(frame.box):
        return indices
    file.seek(frame.data[0])
    try:
        data = file.read(frame.data[1] - frame.data[0])
        indices.frombytes(data, "gif", frame.bits, frame.interlaced)
    except (ValueError, OSError) as error:
        if is_first:
            raise Unreadable("The GIF is damaged: it cannot be decoded.") from error
    return indices


def _part(picture: PIL.Image.Image, box: Box) -> PIL.Image.Image:
    return picture if box == (0, 0, *picture.size) else picture.crop(box)


def _in_colors(
    frame: GifFrame, indices: PIL.Image.Image, *, may_be_opaque: bool = False
) -> PIL.Image.Image:
    """The pixels of a frame: RGBA, or RGB if it has no transparent index, or has no such pixel.
    What is transparent is black."""
    if frame.transparent is None or (may_be_opaque and not indices.histogram()[frame.transparent]):
        return indices.convert("RGB")
    palette, clear = bytearray(frame.palette.ljust(3 * 256, b"\0")), frame.transparent
    palette[3 * clear : 3 * clear + 3] = _BLACK
    indices.putpalette(bytes(palette))
    indices.info["transparency"] = clear
    return indices.convert("RGBA")


class _Canvas:
    """The picture on which the frames of a GIF are drawn. It avoids copies where it can."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size, self._whole = size, (0, 0, *size)
        self._picture = PIL.Image.new("RGBA", size)
        #: A box in which the canvas is certainly empty.
        self._empty: Box | None = self._whole
        #: What is shown until `dispose()`.
        self._shown = self._picture

    @property
    def picture(self) -> PIL.Image.Image:
        """The picture before the next frame. `show()` may draw on it."""
        return self._picture

    @property
    def is_opaque(self) -> bool:
        """Whether no pixel is transparent: then the pictures are RGB."""
        return self._picture.mode == "RGB"

    def show(self, frame: GifFrame, drawn: PIL.Image.Image) -> PIL.Image.Image:
        """Draw a frame, and return the whole picture."""
        on_empty = self._is_empty_below(frame)
        if frame.box == self._whole and (on_empty or drawn.mode == "RGB"):
            self._shown = drawn
        else:
            needs_copy = frame.disposal == RESTORED and not on_empty
            self._shown = self._picture.copy() if needs_copy else self._picture
            is_holey = drawn.mode == "RGBA" and not on_empty
            mask = selecting(drawn.getchannel("A")) if is_holey else None
            self._shown.paste(drawn, frame.box[:2], mask)
        return self._shown

    def dispose(self, frame: GifFrame) -> None:
        """Do what the frame says becomes of it after it was shown."""
        on_empty = self._is_empty_below(frame)
        # The former content of an empty box is empty, too.
        if frame.disposal == CLEARED or (frame.disposal == RESTORED and on_empty):
            if self._shown is self._picture:
                if self._picture.mode != "RGBA":
                    self._picture = self._picture.convert("RGBA")
                self._picture.paste((0, 0, 0, 0), intersection(frame.box, self._whole))
            elif not on_empty:
                self._picture = PIL.Image.new("RGBA", self._size)
            self._empty = self._empty if on_empty else frame.box
        elif frame.disposal != RESTORED:
            self._picture, self._empty = self._shown, None

    def _is_empty_below(self, frame: GifFrame) -> bool:
        return self._empty is not None and union(self._empty, frame.box) == self._empty
