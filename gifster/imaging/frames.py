"""The frames of an animation, composed: the whole picture at each moment, and what is new in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import PIL.Image
import PIL.ImageSequence
from PIL import ImageChops

from gifster.imaging import pillow
from gifster.imaging.boxes import Box, union, within
from gifster.imaging.delays import shown_ms
from gifster.imaging.errors import Unreadable
from gifster.imaging.gif_blocks import GifBlocks, GifFrame
from gifster.imaging.probe import ImageInfo
from gifster.imaging.reader import Reader

#: Of so many pixels at most two frames are compared: of more they are too much memory.
_COMPARED_PIXELS = 4_000_000
#: What becomes of a frame after it was shown: it is cleared, or what was there before comes back.
_BACKGROUND, _PREVIOUS = 2, 3


class Frame(NamedTuple):
    """The whole picture (RGB or RGBA), what is new in it, and how long it is shown."""

    picture: PIL.Image.Image
    changed: Box
    delay_ms: int


def frames(source: Path, info: ImageInfo) -> Iterator[Frame]:
    """The frames of an animation, as `probe()` described it.

    Raises:
      Unreadable: it cannot be decoded.
    """
    if info.content_type == "image/gif":
        return _frames_of_gif(source, info)
    return _frames_by_pillow(source, info)


def _frames_of_gif(source: Path, info: ImageInfo) -> Iterator[Frame]:
    """Composed here, by 23 of the specification: Pillow forgets some of what "restore to previous"
    means, and copies the whole for each frame."""
    size, whole = (info.width, info.height), (0, 0, info.width, info.height)
    canvas, emptied = PIL.Image.new("RGBA", size), None
    #: A part of the canvas where there is nothing.
    empty: Box | None = whole
    with source.open("rb") as structure, source.open("rb") as pixels:
        for number, frame in enumerate(GifBlocks(Reader(structure))):
            pixels.seek(frame.data[0])
            data = pixels.read(frame.data[1] - frame.data[0])
            drawn = _decoded(frame, data, is_first=number == 0)
            on_empty = empty is not None and union(empty, frame.box) == empty
            # What was there before may be nothing.
            clears = frame.disposal == _BACKGROUND or (frame.disposal == _PREVIOUS and on_empty)
            if frame.box == whole and (on_empty or drawn.mode == "RGB"):
                shown = drawn
            else:
                shown = canvas.copy() if frame.disposal == _PREVIOUS and not clears else canvas
                through = drawn if drawn.mode == "RGBA" and not on_empty else None
                shown.paste(drawn, frame.box[:2], through)
            changed = whole if number == 0 else within(union(frame.box, emptied), whole)
            yield Frame(shown, changed, round(shown_ms(frame.delay_ms)))
            emptied = frame.box if frame.disposal in (_BACKGROUND, _PREVIOUS) else None
            if clears:
                if shown is canvas:
                    canvas = canvas if canvas.mode == "RGBA" else canvas.convert("RGBA")
                    canvas.paste((0, 0, 0, 0), within(frame.box, whole))
                elif not on_empty:
                    canvas = PIL.Image.new("RGBA", size)
                empty = empty if on_empty else frame.box
            elif frame.disposal != _PREVIOUS:
                canvas, empty = shown, None


def _decoded(frame: GifFrame, data: bytes, *, is_first: bool) -> PIL.Image.Image:
    """The pixels of a frame: RGBA, or RGB where it has no transparent index. Damaged ones are there
    as far as they can be decoded, as browsers do, unless the animation begins so."""
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
    """Those of animated PNG, WebP and AVIF."""
    before: PIL.Image.Image | None = None
    compared = info.width * info.height <= _COMPARED_PIXELS
    now_ms, told_ms = 0.0, 0
    with pillow.opened(source, info) as image:
        for frame in PIL.ImageSequence.Iterator(image):
            frame.load()  # WebP learns the duration only then
            now_ms += shown_ms(frame.info.get("duration") or 0)
            delay_ms = round(now_ms) - told_ms
            told_ms += delay_ms
            picture = pillow.upright(frame)
            yield Frame(picture, _changed(picture, before), delay_ms)
            if compared:
                before = picture.copy() if picture is frame else picture


def _changed(picture: PIL.Image.Image, before: PIL.Image.Image | None) -> Box:
    """The box in which two pictures differ; one without area if they do not."""
    if before is None or (before.mode, before.size) != (picture.mode, picture.size):
        return (0, 0, *picture.size)
    return ImageChops.difference(picture, before).getbbox(alpha_only=False) or (0, 0, 0, 0)
