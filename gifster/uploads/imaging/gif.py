"""Animated GIFs of any size, made of what changes from frame to frame.

Most frames of most GIFs change a part of the picture, those of screen recordings a few pixels. So
each frame comes with the box that it changed. That part alone is resized, just as it would be in
the whole; brought to the palette; and compared with what is shown by then. What differs becomes the
frame. All versions come from one decoding, smaller ones from larger ones.

The palette has as many colours as the picture needs, and pixels that hardly change keep their
colour; both save bytes that nobody sees. Transparency and disposal: GIF89a, section 23. That a
frame need not repeat what is shown already, and leaves it out as transparent: gifsicle's `-O2`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import PIL.Image
import PIL.ImageOps
import PIL.ImageSequence
from PIL import ImageChops, ImageStat
from PIL.Image import Resampling

from gifster.uploads.errors import Unreadable
from gifster.uploads.imaging import pillow
from gifster.uploads.imaging.gif_blocks import DEFAULT_CS, SHORTEST_CS, Box, GifBlocks, GifFrame
from gifster.uploads.imaging.probe import ImageInfo
from gifster.uploads.imaging.reader import Reader
from gifster.uploads.imaging.recipe import FrameFunction, Plan

#: What becomes of a frame after it was shown: it is cleared, or what was there before comes back.
_BACKGROUND, _PREVIOUS = 2, 3
_LONGEST_CS = 0xFFFF
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
_NO_DITHER = PIL.Image.Dither.NONE
_COLORS = (16, 32, 64, 128, 240)
#: So far off is a colour that was lost, if there are so many pixels of it; it gets up to so many
#: more.
_FAR_OFF, _RARE_PIXELS, _RARE_COLORS = 28, 4, 15
#: From this much on, of 255, a pixel is opaque.
_OPAQUE = 128


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


class _Part(NamedTuple):
    """What one frame changes in one output: nothing, or a picture (RGB, or RGBA where not all of it
    is opaque) and where it lies."""

    picture: PIL.Image.Image | None
    box: Box


_NOTHING = _Part(None, (0, 0, 0, 0))


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
    steps: Iterable[tuple[int, list[_Part]]] | None = []
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
                writer = _Writer(file, scaler.size, palette, effort.tolerance)
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


def _bytes(part: _Part) -> int:
    return 0 if part.picture is None else part.picture.width * part.picture.height * 4


class _Frame(NamedTuple):
    """The whole picture (RGB or RGBA), what is new in it, and how long it is shown."""

    picture: PIL.Image.Image
    changed: Box
    delay_cs: int


def _frames(source: Path, info: ImageInfo) -> Iterator[_Frame]:
    if info.content_type == "image/gif":
        return _frames_of_gif(source, info)
    return _frames_by_pillow(source, info)


def _frames_of_gif(source: Path, info: ImageInfo) -> Iterator[_Frame]:
    """Composed here, by 23 of the specification: Pillow forgets some of what "restore to previous"
    means, and copies the whole for each frame."""
    size, whole = (info.width, info.height), (0, 0, info.width, info.height)
    canvas, emptied = PIL.Image.new("RGBA", size), None
    with source.open("rb") as structure, source.open("rb") as pixels:
        for number, frame in enumerate(GifBlocks(Reader(structure))):
            left, top = frame.box[:2]
            pixels.seek(frame.data[0])
            data = pixels.read(frame.data[1] - frame.data[0])
            drawn = _decoded(frame, data, is_first=number == 0)
            before = canvas.copy() if frame.disposal == _PREVIOUS else None
            if number == 0 and frame.box == whole and drawn.mode == "RGB":
                canvas = drawn
            else:
                canvas.paste(drawn, (left, top), drawn if drawn.mode == "RGBA" else None)
            changed = whole if number == 0 else _within(_union(frame.box, emptied), whole)
            yield _Frame(canvas, changed, frame.shown_cs)
            emptied = frame.box if frame.disposal in (_BACKGROUND, _PREVIOUS) else None
            if before is not None:
                canvas = before
            elif frame.disposal == _BACKGROUND:
                canvas = canvas if canvas.mode == "RGBA" else canvas.convert("RGBA")
                canvas.paste((0, 0, 0, 0), _within(frame.box, whole))


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


def _frames_by_pillow(source: Path, info: ImageInfo) -> Iterator[_Frame]:
    """Those of animated PNG and WebP, whose delays are in ms."""
    with pillow.opened(source, info) as image:
        shown_ms, told_cs = 0.0, 0
        for number, frame in enumerate(PIL.ImageSequence.Iterator(image)):
            frame.load()
            shown_ms += frame.info.get("duration") or DEFAULT_CS * 10
            delay_cs = round(shown_ms / 10) - told_cs
            if delay_cs < SHORTEST_CS and number < info.frames - 1:
                continue  # shorter than a GIF can say
            told_cs += delay_cs
            upright = PIL.ImageOps.exif_transpose(frame)
            if upright.mode not in ("RGB", "RGBA"):
                upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
            yield _Frame(upright, (0, 0, *upright.size), max(delay_cs, SHORTEST_CS))


def _steps(
    source: Path, info: ImageInfo, scalers: "Sequence[_Scaler]"
) -> Iterator[tuple[int, list[_Part]]]:
    """Of each frame how long it is shown, and what it changes in each output."""
    for scaler in scalers:
        scaler.begin()
    for frame in _frames(source, info):
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

    def part(self, frame: _Frame) -> _Part:
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

    def _resized(self, picture: PIL.Image.Image, changed: Box) -> _Part:
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
        return _Part(made if made.mode in ("RGB", "RGBA") else made.convert("RGBA"), box)

    def _paint(self, part: _Part) -> None:
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
            solid = _above(tile.getchannel("A"), _OPAQUE - 1)
            tile = tile.convert("RGB")
            where = solid.tobytes().find(255)
            if where < 0:
                return
            some = tile.getpixel((where % size[0], where // size[0]))
            tile.paste(some, mask=ImageChops.invert(solid))  # type: ignore[arg-type]
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
    off = ImageChops.difference(sheet, reduced.convert("RGB"))
    palette = bytes((reduced.getpalette() or [])[: 3 * colors])
    # Median cut goes by how much there is of a colour. What is small and bright gets some of its
    # own.
    red, green, blue = off.split()
    far = _above(ImageChops.lighter(ImageChops.lighter(red, green), blue), _FAR_OFF)
    room = min(_RARE_COLORS, 255 - len(palette) // 3)
    rare = bytes(compress(sheet.tobytes(), PIL.Image.merge("RGB", (far, far, far)).tobytes()))
    if len(rare) >= 3 * _RARE_PIXELS and room > 0:
        row = PIL.Image.frombytes("RGB", (len(rare) // 3, 1), rare)
        more = _reduced(row, room)
        palette += bytes((more.getpalette() or [])[: 3 * room])
    return palette


def _reduced(picture: PIL.Image.Image, colors: int) -> PIL.Image.Image:
    return picture.quantize(colors, PIL.Image.Quantize.MEDIANCUT, dither=_NO_DITHER)


class _Drawn(NamedTuple):
    """A frame of the GIF that is being written: palette indices (L), where, and how long."""

    indices: PIL.Image.Image
    box: Box
    delay_cs: int
    clears: bool = False


class _Writer:
    """Writes one GIF, frame by frame, each being what differs from what is shown.

    Parameters:
      palette: RGB, 3 bytes each, at most 255 colours; one more index is the transparent one.
      tolerance: the most by which a channel of a pixel may change without being drawn again.
    """

    def __init__(
        self, file: BinaryIO, size: tuple[int, int], palette: bytes, tolerance: int
    ) -> None:
        self._file, self._size, self._palette = file, size, palette
        self._clear = len(palette) // 3
        self._bits = max(2, self._clear.bit_length())
        self._quantizer = PIL.Image.new("P", (1, 1))
        self._quantizer.putpalette(palette)
        self._tolerance = tolerance
        #: What is shown: indices, and the colours that they were chosen for.
        self._indices = PIL.Image.new("L", size, self._clear)
        self._colors = PIL.Image.new("RGB", size)
        #: Whether something may be transparent in what is shown.
        self._has_holes = False
        #: The last frame, which is not written before it is known how it is to be cleared.
        self._last: _Drawn | None = None

    def begin(self, loop: int | None) -> None:
        """Write the header; `loop` is how often it plays, 0 for ever, None for once."""
        table = self._palette.ljust(3 * 2**self._bits, b"\0")
        flags = 0x80 | 7 << 4 | self._bits - 1
        self._file.write(b"GIF89a" + _words(*self._size) + bytes([flags, 0, 0]) + table)
        if loop is not None:
            self._file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + _words(loop) + b"\0")

    def add(self, part: _Part, delay_cs: int) -> None:
        """Show a frame for so long (1/100 s)."""
        changes = self._changes(part)
        if self._last is not None and changes is None:
            self._last = self._last._replace(delay_cs=self._last.delay_cs + delay_cs)
            return
        if self._last is None or changes is None:
            # The first covers everything, so that all that follows has something to differ from.
            if changes is not None:
                self._show(changes)
            self._last = _Drawn(self._indices.copy(), (0, 0, *self._size), delay_cs)
            return
        vanishing = ImageChops.darker(changes.differs, _above(changes.indices, self._clear - 1))
        self._show(changes)
        if vanishes := vanishing.getbbox():
            # Nothing can be drawn as transparent: the frame before has to be cleared there.
            self._last = self._cleared_at(_moved(vanishes, changes.box), self._last)
            drawn = self._redrawn(changes, self._last.box, delay_cs)
        else:
            drawn = self._drawn(changes, delay_cs)
        self._write(self._last)
        self._last = drawn

    def end(self) -> None:
        """Write the last frame, and the trailer."""
        if self._last is not None:
            self._write(self._last)
        self._file.write(b"\x3b")

    def _changes(self, part: _Part) -> "_Changes | None":
        if part.picture is None:
            return None
        colors = part.picture.convert("RGB")
        reduced = colors.quantize(palette=self._quantizer, dither=_NO_DITHER)
        indices = PIL.Image.frombytes("L", reduced.size, reduced.tobytes())
        if part.picture.mode == "RGBA":
            self._has_holes = True
            solid = _above(part.picture.getchannel("A"), _OPAQUE - 1)
            indices.paste(self._clear, mask=ImageChops.invert(solid))
        shown = self._indices.crop(part.box)
        differs = _above(ImageChops.difference(indices, shown), 0)
        if self._last is not None:
            far = self._far_off(colors, part.box)
            if part.picture.mode == "RGBA" or self._has_holes:
                holes, were = (_above(them, self._clear - 1) for them in (indices, shown))
                far = ImageChops.lighter(far, ImageChops.difference(holes, were))
            differs = ImageChops.darker(differs, far)
        return _Changes(indices, colors, differs, part.box) if differs.getbbox() else None

    def _far_off(self, colors: PIL.Image.Image, box: Box) -> PIL.Image.Image:
        red, green, blue = ImageChops.difference(colors, self._colors.crop(box)).split()
        return _above(ImageChops.lighter(ImageChops.lighter(red, green), blue), self._tolerance)

    def _show(self, changes: "_Changes") -> None:
        where = changes.box[:2]
        self._indices.paste(changes.indices, where, changes.differs)
        self._colors.paste(changes.colors, where, changes.differs)

    def _drawn(self, changes: "_Changes", delay_cs: int) -> _Drawn:
        """The frame that draws what differs, and nothing else."""
        drawn = changes.indices.copy()
        drawn.paste(self._clear, mask=ImageChops.invert(changes.differs))
        return self._cropped(drawn, changes.box, delay_cs)

    def _redrawn(self, changes: "_Changes", cleared: Box, delay_cs: int) -> _Drawn:
        """The frame that draws what differs, and again whatever was in a box that was cleared."""
        box = _union(cleared, changes.box)
        drawn = self._indices.crop(box)
        wanted = PIL.Image.new("L", drawn.size, 0)
        wanted.paste(changes.differs, (changes.box[0] - box[0], changes.box[1] - box[1]))
        wanted.paste(255, _moved(cleared, (-box[0], -box[1])))
        drawn.paste(self._clear, mask=ImageChops.invert(wanted))
        return self._cropped(drawn, box, delay_cs)

    def _cleared_at(self, box: Box, drawn: _Drawn) -> _Drawn:
        """A frame, made larger if need be, that is cleared after it was shown, a box with it."""
        larger = _union(drawn.box, box)
        indices = PIL.Image.new("L", (larger[2] - larger[0], larger[3] - larger[1]), self._clear)
        indices.paste(drawn.indices, (drawn.box[0] - larger[0], drawn.box[1] - larger[1]))
        return _Drawn(indices, larger, drawn.delay_cs, clears=True)

    def _cropped(self, drawn: PIL.Image.Image, box: Box, delay_cs: int) -> _Drawn:
        """Without the edges that are transparent; at least a pixel."""
        clear = PIL.Image.new("L", drawn.size, self._clear)
        inner = ImageChops.difference(drawn, clear).getbbox() or (0, 0, 1, 1)
        return _Drawn(drawn.crop(inner), _moved(inner, box), delay_cs)

    def _write(self, drawn: _Drawn) -> None:
        first, *more = _delays(drawn.delay_cs)
        self._write_frame(drawn.indices, drawn.box, first, drawn.clears and not more)
        dot = PIL.Image.new("L", (1, 1), self._clear)
        for number, delay_cs in enumerate(more, 1):
            if drawn.clears and number == len(more):
                blank = PIL.Image.new("L", drawn.indices.size, self._clear)
                self._write_frame(blank, drawn.box, delay_cs, clears=True)
            else:
                self._write_frame(dot, (0, 0, 1, 1), delay_cs, clears=False)

    def _write_frame(self, indices: PIL.Image.Image, box: Box, delay_cs: int, clears: bool) -> None:
        control = (
            bytes([(2 if clears else 1) << 2 | 1]) + _words(delay_cs) + bytes([self._clear, 0])
        )
        descriptor = _words(*box[:2], *indices.size) + b"\0"
        data = indices.tobytes("gif", "L", self._bits, 0)
        self._file.write(b"\x21\xf9\x04" + control + b"\x2c" + descriptor)
        self._file.write(bytes([self._bits]) + data + b"\0")


class _Changes(NamedTuple):
    """What a frame may change: indices and colours of a box, and a mask of those that differ."""

    indices: PIL.Image.Image
    colors: PIL.Image.Image
    differs: PIL.Image.Image
    box: Box


def _delays(delay_cs: int) -> list[int]:
    """A delay in pieces that a GIF can say."""
    whole, rest = divmod(delay_cs, _LONGEST_CS)
    return [_LONGEST_CS] * whole + ([rest] if rest or not whole else [])


def _above(channel: PIL.Image.Image, limit: int) -> PIL.Image.Image:
    """A mask: 255 where a channel is above the limit. Five times as fast as `point()`."""
    return ImageChops.subtract(channel, PIL.Image.new("L", channel.size, limit), 1 / 255)


def _union(one: Box, other: Box | None) -> Box:
    if other is None:
        return one
    return (
        min(one[0], other[0]), min(one[1], other[1]),
        max(one[2], other[2]), max(one[3], other[3]),
    )  # fmt: skip


def _within(box: Box, whole: Box) -> Box:
    """The part of a box that is in another; one without area if there is none."""
    left, top = max(box[0], whole[0]), max(box[1], whole[1])
    return (left, top, max(left, min(box[2], whole[2])), max(top, min(box[3], whole[3])))


def _moved(box: Box, by: Sequence[int]) -> Box:
    return (box[0] + by[0], box[1] + by[1], box[2] + by[0], box[3] + by[1])


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "little") for number in numbers)
