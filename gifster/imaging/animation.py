"""Animations of any size, made from one decoding of another.

Most frames of most animations change a part of the picture, those of screen recordings a few
pixels. So each frame comes with the box that it changed. That part alone is resized, just as it
would be in the whole. Smaller pictures are made from larger ones, and all that have one size from
one resizing. `frames` reads; `gif`, `webp`, `avif`, `apng` and `mp4` write.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
from PIL.Image import Resampling

from gifster.imaging import apng, avif, gif, mp4, webp
from gifster.imaging.boxes import Box, is_empty
from gifster.imaging.frames import Frame, frames
from gifster.imaging.gif_blocks import GifBlocks
from gifster.imaging.palette import Tiles
from gifster.imaging.parts import NOTHING, Canvas, Part, Play, Steps
from gifster.imaging.probe import ImageInfo
from gifster.imaging.reader import Reader
from gifster.imaging.recipe import FrameFunction, Plan

#: How far the filter reaches, in pixels of the smaller picture.
_FILTER, _REACH = Resampling.BICUBIC, 2
#: What has transparency takes Pillow twice as long. Where it is shrunk to less than half, a
#: narrower filter costs no likeness.
_NARROW, _MUCH = Resampling.HAMMING, 2
#: A version is made from a larger one of at least so many times its width, rather than from the
#: original.
_STEP = 1.5
#: A GIF that has more than so many times its share of the original's bytes is made once more.
_SHARE = 1.8

#: Is shown each frame, whole, and its number.
Watcher = Callable[[int, PIL.Image.Image], None]


@dataclass(frozen=True)
class Output:
    """An animation to be made: the part and size of it, what is done to each frame, its type (GIF,
    WebP, AVIF, PNG or MP4), where it goes, and than which target it must be smaller, if any."""

    plan: Plan
    functions: Sequence[FrameFunction]
    content_type: str
    target: Path
    smaller_than: Path | None = None


def make(
    source: Path, info: ImageInfo, outputs: Sequence[Output], watch: Watcher
) -> Iterator[Path]:
    """Make animations of another, in the order in which they are asked for.

    Total duration and loop count stay; identical neighbours become one frame. In a GIF, what is
    more than half transparent is transparent. What is transparent anywhere is not made as MP4, nor
    a WebP that bids fair to be larger than the GIF that it must be smaller than.

    Parameters:
      source: the animation, of any type that can be read.
      info: what `probe()` said about it.

    Returns:
      an iterator over the targets, each as soon as it is complete.

    Raises:
      Unreadable: it cannot be decoded.
    """
    scalers = _scalers(info, outputs)
    with Steps() as steps:
        for number, frame in enumerate(frames(source, info)):
            watch(number, frame.picture)
            steps.add(frame.delay_ms, [scaler.part(number, frame) for scaler in scalers])
        loop = 1 if info.loop is None else info.loop
        grown: dict[Path | None, list[int]] = {}
        for output in outputs:
            number = next(at for at, scaler in enumerate(scalers) if scaler.is_for(output))
            play = steps.of(number, scalers[number].size)
            if output.content_type == "image/gif":
                grown[output.target] = _write_gif(output, play, scalers[number], source, info)
            elif output.content_type == "image/webp":
                rival = _rival(output, grown, info)
                if rival is not None and not webp.promises(play, rival):
                    continue
                webp.write(output.target, play, loop)
            elif output.content_type == "image/png":
                apng.write(output.target, play, loop)
            elif output.content_type == "image/avif":
                avif.write(output.target, play)
            elif mp4.available() and not play.is_transparent:
                mp4.write(output.target, play)
            else:
                continue
            yield output.target


def _write_gif(
    output: Output, play: Play, scaler: "_Scaler", source: Path, info: ImageInfo
) -> list[int]:
    # Those that play once say nothing in a GIF.
    loop = None if info.loop == 1 and info.content_type != "image/gif" else info.loop
    budget = scaler.share * source.stat().st_size * _SHARE
    return gif.write(output.target, play, loop, scaler.tiles, budget)


def _rival(
    output: Output, grown: dict[Path | None, list[int]], info: ImageInfo
) -> list[int] | None:
    """How many bytes the GIF that a version must be smaller than has after each frame, if there is
    such a GIF."""
    rival = output.smaller_than
    if rival in grown:
        return grown[rival]
    if rival is None or info.content_type != "image/gif" or not rival.exists():
        return None
    with rival.open("rb") as file:  # the original itself, which is small enough
        return [frame.data[1] for frame in GifBlocks(Reader(file))]


def _scalers(info: ImageInfo, outputs: Sequence[Output]) -> "list[_Scaler]":
    """One for each size, the largest first."""
    made: list[_Scaler] = []
    for output in sorted(outputs, key=lambda output: -output.plan.width * output.plan.height):
        if not any(scaler.is_for(output) for scaler in made):
            larger = next((scaler for scaler in reversed(made) if scaler.can_feed(output)), None)
            made.append(_Scaler(output, info, larger))
    return made


class _Scaler:
    """Brings what changes to one size.

    Parameters:
      output: one that has this size.
      info: of the original.
      larger: the scaler that it is made from, if not the original.
    """

    def __init__(self, output: Output, info: ImageInfo, larger: "_Scaler | None") -> None:
        self._plan, self._functions, self._larger = output.plan, output.functions, larger
        self.size = (output.plan.width, output.plan.height)
        plan = output.plan
        crop = (plan.left, plan.top, plan.right, plan.bottom)
        self._crop: Box = crop if larger is None else (0, 0, *larger.size)
        #: Its part of the original's pixels.
        self.share = self.size[0] * self.size[1] / (info.width * info.height)
        #: What its palette is chosen from, which those made from one another share.
        self.tiles: Tiles = Tiles(info) if larger is None else larger.tiles
        #: All of it as it is now, and what the last frame changed.
        self._canvas, self._last = Canvas(self.size), NOTHING
        self._feeds = False
        if larger is not None:
            larger._feeds = True

    def is_for(self, output: Output) -> bool:
        """Whether an output has just this size."""
        return (self._plan, self._functions) == (output.plan, output.functions)

    def can_feed(self, output: Output) -> bool:
        """Whether another, smaller output can be made from this one."""
        mine, plan = self._plan, output.plan
        same = (mine.left, mine.top, mine.right, mine.bottom) == (
            plan.left, plan.top, plan.right, plan.bottom
        )  # fmt: skip
        return same and not self._functions and mine.width >= plan.width * _STEP

    def part(self, number: int, frame: Frame) -> Part:
        """What a frame changes. The larger scaler has had it before."""
        if self._larger is None:
            self._last = self._resized(frame.picture, frame.changed)
        else:
            changed, canvas = self._larger._last, self._larger._canvas.picture
            self._last = NOTHING
            if changed.picture is not None and canvas is not None:
                self._last = self._resized(canvas, changed.box)
        self._canvas.paint(self._last)
        if not self._feeds and self._canvas.picture is not None:
            self.tiles.take(number, self._canvas.picture)
        return self._last

    def _resized(self, picture: PIL.Image.Image, changed: Box) -> Part:
        left, top, right, bottom = self._crop
        scale_x, scale_y = (right - left) / self.size[0], (bottom - top) / self.size[1]
        reach_x, reach_y = _REACH * max(1.0, scale_x), _REACH * max(1.0, scale_y)
        if is_empty(changed):
            return NOTHING
        if self._functions:
            changed = self._crop  # they may look at all of it
        box = (
            max(0, math.floor((changed[0] - reach_x - left) / scale_x)),
            max(0, math.floor((changed[1] - reach_y - top) / scale_y)),
            min(self.size[0], math.ceil((changed[2] + reach_x - left) / scale_x)),
            min(self.size[1], math.ceil((changed[3] + reach_y - top) / scale_y)),
        )
        if is_empty(box):
            return NOTHING  # beside what is cropped
        exact = (left + box[0] * scale_x, top + box[1] * scale_y,
                 left + box[2] * scale_x, top + box[3] * scale_y)  # fmt: skip
        around = (
            max(left, math.floor(exact[0] - reach_x)),
            max(top, math.floor(exact[1] - reach_y)),
            min(right, math.ceil(exact[2] + reach_x)),
            min(bottom, math.ceil(exact[3] + reach_y)),
        )
        whole = around == (0, 0, *picture.size)
        piece = _without_alpha(picture if whole else picture.crop(around))
        inner = (exact[0] - around[0], exact[1] - around[1],
                 min(exact[2], right) - around[0], min(exact[3], bottom) - around[1])  # fmt: skip
        size = box[2] - box[0], box[3] - box[1]
        narrow = piece.mode == "RGBA" and min(scale_x, scale_y) >= _MUCH
        made = piece.resize(size, _NARROW if narrow else _FILTER, box=inner)
        for function in self._functions:
            made = function(made)
        return Part(made if made.mode in ("RGB", "RGBA") else made.convert("RGBA"), box)


def _without_alpha(picture: PIL.Image.Image) -> PIL.Image.Image:
    """RGB where nothing is transparent: it is quicker to work on."""
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema()[0] == 255:
        return picture.convert("RGB")
    return picture
