"""Animated GIFs of any size, made of what changes from frame to frame.

Most frames of most GIFs change a part of the picture, those of screen recordings a few pixels. So
each frame comes with the box that it changed. That part alone is resized, just as it would be in
the whole; brought to the palette; and compared with what is shown by then. What differs becomes the
frame. All versions come from one decoding, smaller ones from larger ones.

The palette has as many colours as the picture needs, and pixels that hardly change keep their
colour; both save bytes that nobody sees. `frames` reads, `gif_writer` writes.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import PIL.Image
import PIL.ImageOps
import PIL.ImageSequence
from PIL import ImageChops, ImageStat
from PIL.Image import Resampling

from gifster.uploads.imaging.boxes import Box
from gifster.uploads.imaging.frames import Frame, frames
from gifster.uploads.imaging.gif_writer import GifWriter, Part
from gifster.uploads.imaging.masks import above, furthest, solid
from gifster.uploads.imaging.probe import ImageInfo
from gifster.uploads.imaging.recipe import FrameFunction, Plan

#: How far the filter reaches, in pixels of the smaller picture.
_FILTER, _REACH = Resampling.BICUBIC, 2
#: A version is made from a larger one of at least so many times its width, rather than from the
#: original.
_STEP = 1.5
#: What may be kept in memory of resized frames until the palette is known. Of a longer animation
#: they are made anew for each version.
_HOLD_BYTES = 64 * 2**20
#: From this many frames, spread over the whole, the palette is chosen; each as a tile so large.
_TILES, _TILE_PIXELS = 12, 4_000
_COLORS = (16, 32, 64, 128, 240)
#: So far off is a colour that was lost, if there are so many pixels of it; it gets up to so many
#: more.
_FAR_OFF, _RARE_PIXELS, _RARE_COLORS = 28, 4, 15


class _Effort(NamedTuple):
    """How exact to be: the mean square error that the palette may cost, and the most by which the
    colour of a pixel may change without being drawn again (both in steps of 0 to 255)."""

    error: float
    tolerance: int


#: If a version has more bytes than its share of the original's by `_SHARE`, the next is tried:
#: there is noise or dithering in it, which costs bytes and is not missed.
_EFFORTS = (_Effort(7, 3), _Effort(60, 8))
_SHARE = 1.8


@dataclass(frozen=True)
class Output:
    """A GIF to be made: the part and size of it, what is done to each frame, and where it goes."""

    plan: Plan
    functions: Sequence[FrameFunction]
    target: Path


_NOTHING = Part(None, (0, 0, 0, 0))


def make(source: Path, info: ImageInfo, outputs: Sequence[Output]) -> None:
    """Make GIFs of an animation, all from one decoding.

    Total duration and loop count stay; identical neighbours become one frame. What is more than
    half transparent is transparent.

    Parameters:
      source: the animation, of any format that Pillow reads.
      info: what `probe()` said about it.

    Raises:
      Unreadable: Pillow cannot decode it.
    """
    scalers = _scalers(info, outputs)
    steps: Iterable[tuple[int, list[Part]]] | None = []
    held = 0
    for step in _steps(source, info, scalers):
        if isinstance(steps, list):
            steps.append(step)
            held += sum(_bytes(part) for part in step[1])
            if held > _HOLD_BYTES:
                steps = None
    for number, scaler in enumerate(scalers):
        for effort in _EFFORTS:
            again = steps if steps is not None else _steps(source, info, scalers)
            with scaler.output.target.open("wb") as file:
                palette = scaler.tiles.palette(effort.error)
                writer = GifWriter(file, scaler.size, palette, effort.tolerance)
                writer.begin(_loop(info))
                for delay, parts in again:
                    writer.add(parts[number], delay)
                writer.end()
                if file.tell() <= scaler.share * source.stat().st_size * _SHARE:
                    break


def _loop(info: ImageInfo) -> int | None:
    """How often it plays, as a GIF says it: one that plays once says nothing."""
    if info.content_type == "image/gif" or info.loop != 1:
        return info.loop
    return None


def _bytes(part: Part) -> int:
    return 0 if part.picture is None else part.picture.width * part.picture.height * 4


def _steps(
    source: Path, info: ImageInfo, scalers: "Sequence[_Scaler]"
) -> Iterator[tuple[int, list[Part]]]:
    """Of each frame how long it is shown, and what it changes in each output."""
    for scaler in scalers:
        scaler.begin()
    for frame in frames(source, info):
        yield frame.delay_cs, [scaler.part(frame) for scaler in scalers]


def _scalers(info: ImageInfo, outputs: Sequence[Output]) -> "list[_Scaler]":
    """The largest first."""
    made: list[_Scaler] = []
    for output in sorted(outputs, key=lambda output: -output.plan.width * output.plan.height):
        larger = next((scaler for scaler in reversed(made) if scaler.can_feed(output)), None)
        made.append(_Scaler(output, info, larger))
    return made


class _Scaler:
    """Brings what changes to the size of one output.

    Parameters:
      info: of the original.
      larger: the output that it is made from, if not the original.
    """

    def __init__(self, output: Output, info: ImageInfo, larger: "_Scaler | None") -> None:
        self.output, self._larger = output, larger
        self.size = (output.plan.width, output.plan.height)
        plan = output.plan
        crop = (plan.left, plan.top, plan.right, plan.bottom)
        self._crop: Box = crop if larger is None else (0, 0, *larger.size)
        #: Its part of the original's pixels.
        self.share = self.size[0] * self.size[1] / (info.width * info.height)
        #: What its palette is chosen from, which those made from one another share.
        self.tiles: _Tiles = _Tiles(info) if larger is None else larger.tiles
        #: All of it as it is now, and what the last frame changed.
        self._canvas: PIL.Image.Image | None = None
        self._last = _NOTHING
        self._feeds = False
        if larger is not None:
            larger._feeds = True

    def can_feed(self, output: Output) -> bool:
        """Whether another, smaller output can be made from this one."""
        mine, plan = self.output.plan, output.plan
        same = (mine.left, mine.top, mine.right, mine.bottom) == (
            plan.left, plan.top, plan.right, plan.bottom
        )  # fmt: skip
        return same and not self.output.functions and mine.width >= plan.width * _STEP

    def begin(self) -> None:
        """Forget the frames of a run before."""
        self._canvas, self._number = None, 0

    def part(self, frame: Frame) -> Part:
        """What a frame changes. The larger output has had it before."""
        if self._larger is None:
            self._last = self._resized(frame.picture, frame.changed)
        else:
            changed, canvas = self._larger._last, self._larger._canvas
            self._last = _NOTHING
            if changed.picture is not None and canvas is not None:
                self._last = self._resized(canvas, changed.box)
        self._paint(self._last)
        if not self._feeds and self._canvas is not None:
            self.tiles.take(self._number, self._canvas)
        self._number += 1
        return self._last

    def _resized(self, picture: PIL.Image.Image, changed: Box) -> Part:
        left, top, right, bottom = self._crop
        scale_x, scale_y = (right - left) / self.size[0], (bottom - top) / self.size[1]
        reach_x, reach_y = _REACH * max(1.0, scale_x), _REACH * max(1.0, scale_y)
        if self.output.functions:
            changed = self._crop  # they may look at all of it
        box = (
            max(0, math.floor((changed[0] - reach_x - left) / scale_x)),
            max(0, math.floor((changed[1] - reach_y - top) / scale_y)),
            min(self.size[0], math.ceil((changed[2] + reach_x - left) / scale_x)),
            min(self.size[1], math.ceil((changed[3] + reach_y - top) / scale_y)),
        )
        if box[0] >= box[2] or box[1] >= box[3]:
            return _NOTHING  # beside what is cropped
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
        made = piece.resize((box[2] - box[0], box[3] - box[1]), _FILTER, box=inner)
        for function in self.output.functions:
            made = function(made)
        return Part(made if made.mode in ("RGB", "RGBA") else made.convert("RGBA"), box)

    def _paint(self, part: Part) -> None:
        if part.picture is None:
            return
        if self._canvas is None:
            self._canvas = PIL.Image.new(part.picture.mode, self.size)
        elif self._canvas.mode == "RGB" and part.picture.mode == "RGBA":
            self._canvas = self._canvas.convert("RGBA")
        self._canvas.paste(part.picture.convert(self._canvas.mode), part.box[:2])


def _without_alpha(picture: PIL.Image.Image) -> PIL.Image.Image:
    """RGB where nothing is transparent: it is quicker to work on."""
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema()[0] == 255:
        return picture.convert("RGB")
    return picture


class _Tiles:
    """Some frames of an animation, small, side by side: what the palette is chosen from."""

    def __init__(self, info: ImageInfo) -> None:
        last = max(1, min(_TILES, info.frames) - 1)
        self._wanted = {round(number * (info.frames - 1) / last) for number in range(_TILES)}
        self._tiles: dict[int, PIL.Image.Image] = {}
        self._palettes: dict[float, bytes] = {}

    def take(self, number: int, picture: PIL.Image.Image) -> None:
        """See whether a frame is one of them."""
        if number not in self._wanted or number in self._tiles:
            return
        scale = min(1.0, math.sqrt(_TILE_PIXELS / (picture.width * picture.height)))
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        tile = picture.resize(size, Resampling.HAMMING)
        if tile.mode == "RGBA":
            opaque = solid(tile)
            tile = tile.convert("RGB")
            where = opaque.tobytes().find(255)
            if where < 0:
                return
            some = tile.getpixel((where % size[0], where // size[0]))
            tile.paste(some, mask=ImageChops.invert(opaque))  # type: ignore[arg-type]
        self._tiles[number] = tile

    def palette(self, error: float) -> bytes:
        """The smallest palette that costs no more than this mean square error; 3 bytes a colour."""
        if not self._tiles:
            return bytes(3)  # all of it is transparent
        if error not in self._palettes:
            tiles = list(self._tiles.values())
            width, height = tiles[0].size
            sheet = PIL.Image.new("RGB", (width, height * len(tiles)))
            for number, tile in enumerate(tiles):
                sheet.paste(tile, (0, number * height))
            self._palettes[error] = _palette(sheet, error)
        return self._palettes[error]


def _palette(sheet: PIL.Image.Image, error: float) -> bytes:
    # How many it takes is found out on every fourth pixel
    size = max(1, sheet.width // 2), max(1, sheet.height // 2)
    rough = sheet.resize(size, Resampling.NEAREST)
    for colors in _COLORS:
        off = ImageChops.difference(rough, _reduced(rough, colors).convert("RGB"))
        if sum(ImageStat.Stat(off).sum2) / (3 * rough.width * rough.height) <= error:
            break
    reduced = _reduced(sheet, colors)
    palette = bytes((reduced.getpalette() or [])[: 3 * colors])
    # Median cut goes by how much there is of a colour. What is small and bright gets its own.
    far = above(furthest(sheet, reduced.convert("RGB")), _FAR_OFF)
    room = min(_RARE_COLORS, 255 - len(palette) // 3)
    rare = bytes(compress(sheet.tobytes(), PIL.Image.merge("RGB", (far, far, far)).tobytes()))
    if len(rare) >= 3 * _RARE_PIXELS and room > 0:
        row = PIL.Image.frombytes("RGB", (len(rare) // 3, 1), rare)
        more = _reduced(row, room)
        palette += bytes((more.getpalette() or [])[: 3 * room])
    return palette


def _reduced(picture: PIL.Image.Image, colors: int) -> PIL.Image.Image:
    return picture.quantize(colors, PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE)
