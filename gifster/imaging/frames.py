"""Decode an animation frame by frame: the whole picture, and the box that has changed in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import PIL.Image
import PIL.ImageSequence
from PIL import ImageChops

from gifster.imaging import pillow
from gifster.imaging.boxes import Box, intersection, union
from gifster.imaging.delays import displayed_ms
from gifster.imaging.errors import Unreadable
from gifster.imaging.gif_blocks import GifBlocks, GifFrame
from gifster.imaging.probe import ImageInfo
from gifster.imaging.reader import Reader

#: Larger frames are not compared with one another: that would take too much memory.
_MAX_COMPARED_PIXELS = 4_000_000
#: Disposal methods of GIF: after the frame its box is cleared, or gets back its former content.
_BACKGROUND, _PREVIOUS = 2, 3


class Frame(NamedTuple):
    """The whole picture (RGB or RGBA), the box that has changed in it, and its delay."""

    picture: PIL.Image.Image
    changed: Box
    delay_ms: int


def frames(source: Path, info: ImageInfo) -> Iterator[Frame]:
    """The frames of an animation. A picture is valid until the next one is asked for.

    Parameters:
      info: what `probe()` returned for it.

    Raises:
      Unreadable: the animation cannot be decoded.
    """
    if info.content_type == "image/gif":
        return _frames_of_gif(source, info)
    return _frames_by_pillow(source, info)


def _frames_of_gif(source: Path, info: ImageInfo) -> Iterator[Frame]:
    """Compose the frames of a GIF (GIF89a, section 23).

    Pillow gets some cases of "restore to previous" wrong, and copies the whole picture for each
    frame.
    """
    whole = (0, 0, info.width, info.height)
    canvas, cleared = _GifCanvas((info.width, info.height)), None
    with source.open("rb") as structure, source.open("rb") as pixels:
        for number, frame in enumerate(GifBlocks(Reader(structure))):
            pixels.seek(frame.data[0])
            data = pixels.read(frame.data[1] - frame.data[0])
            picture = canvas.show(frame, _decoded(frame, data, is_first=number == 0))
            changed = whole if number == 0 else intersection(union(frame.box, cleared), whole)
            yield Frame(picture, changed, round(displayed_ms(frame.delay_ms)))
            cleared = frame.box if frame.disposal in (_BACKGROUND, _PREVIOUS) else None
            canvas.dispose(frame)


class _GifCanvas:
    """The picture on which the frames of a GIF are drawn. It avoids copies where it can."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size, self._whole = size, (0, 0, *size)
        self._picture = PIL.Image.new("RGBA", size)
        #: A box in which the canvas is certainly empty.
        self._empty: Box | None = self._whole
        #: What is shown until `dispose()`.
        self._shown = self._picture

    def show(self, frame: GifFrame, drawn: PIL.Image.Image) -> PIL.Image.Image:
        """Draw a frame, and return the whole picture."""
        on_empty = self._is_empty_below(frame)
        if frame.box == self._whole and (on_empty or drawn.mode == "RGB"):
            self._shown = drawn
        else:
            needs_copy = frame.disposal == _PREVIOUS and not on_empty
            self._shown = self._picture.copy() if needs_copy else self._picture
            mask = drawn if drawn.mode == "RGBA" and not on_empty else None
            self._shown.paste(drawn, frame.box[:2], mask)
        return self._shown

    def dispose(self, frame: GifFrame) -> None:
        """Do what the frame says becomes of it after it was shown."""
        on_empty = self._is_empty_below(frame)
        # The former content of an empty box is empty, too.
        if frame.disposal == _BACKGROUND or (frame.disposal == _PREVIOUS and on_empty):
            if self._shown is self._picture:
                if self._picture.mode != "RGBA":
                    self._picture = self._picture.convert("RGBA")
                self._picture.paste((0, 0, 0, 0), intersection(frame.box, self._whole))
            elif not on_empty:
                self._picture = PIL.Image.new("RGBA", self._size)
            self._empty = self._empty if on_empty else frame.box
        elif frame.disposal != _PREVIOUS:
            self._picture, self._empty = self._shown, None

    def _is_empty_below(self, frame: GifFrame) -> bool:
        return self._empty is not None and union(self._empty, frame.box) == self._empty


def _decoded(frame: GifFrame, data: bytes, *, is_first: bool) -> PIL.Image.Image:
    """The pixels of a frame: RGBA, or RGB if it has no transparent index.

    Like browsers, show a damaged frame as far as it can be decoded, unless it is the first.
    """
    size = frame.box[2] - frame.box[0], frame.box[3] - frame.box[1]
    indices = PIL.Image.new("P", size, frame.transparent or 0)
    try:
        indices.frombytes(data, "gif", frame.bits, frame.interlaced)
    except (ValueError, OSError) as error:
        if is_first:
            raise Unreadable("The GIF is damaged: it cannot be decoded.") from error
    indices.putpalette(frame.palette.ljust(3 * 256, b"\0"))
    if frame.transparent is None:
        return indices.convert("RGB")
    indices.info["transparency"] = frame.transparent
    return indices.convert("RGBA")


def _frames_by_pillow(source: Path, info: ImageInfo) -> Iterator[Frame]:
    """The frames of animated PNG, WebP and AVIF."""
    before: PIL.Image.Image | None = None
    compares = info.width * info.height <= _MAX_COMPARED_PIXELS
    now_ms, rounded_ms = 0.0, 0
    with pillow.open_image(source, info) as image:
        for frame in PIL.ImageSequence.Iterator(image):
            frame.load()  # a WebP frame has no duration before this
            now_ms += displayed_ms(frame.info.get("duration") or 0)
            delay_ms = round(now_ms) - rounded_ms
            rounded_ms += delay_ms
            picture = pillow.upright(frame)
            yield Frame(picture, _changed(picture, before), delay_ms)
            if compares:
                before = picture.copy() if picture is frame else picture


def _changed(picture: PIL.Image.Image, before: PIL.Image.Image | None) -> Box:
    """The box in which two pictures differ; an empty one if they do not."""
    if before is None or (before.mode, before.size) != (picture.mode, picture.size):
        return (0, 0, *picture.size)
    return ImageChops.difference(picture, before).getbbox(alpha_only=False) or (0, 0, 0, 0)
