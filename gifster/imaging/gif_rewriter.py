"""Write a GIF again without loss: the same pictures for the same times, as often, in fewer bytes.

An animation of at most 255 colours gets one palette of them, and each frame becomes what changes in
it (`gif_writer`). In one of more colours each frame keeps a palette and its disposal, without the
pixels that are there already (`gif_local_colors`). If that saves nothing, the frames keep their
bytes. Comments and other metadata are left out in any case.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import PIL.Image
from PIL import ImageChops

from gifster.imaging import gif_local_colors
from gifster.imaging.boxes import Box, intersection, is_empty, union
from gifster.imaging.delays import displayed_ms
from gifster.imaging.gif_blocks import CLEARED, RESTORED, GifBlocks, GifFrame
from gifster.imaging.gif_frames import decoded
from gifster.imaging.gif_writer import GifWriter, control, descriptor, header
from gifster.imaging.masks import mask_above
from gifster.imaging.probe import ImageInfo
from gifster.imaging.reader import Reader

#: A GIF of at most so many pixels in all its frames is decoded once, and a larger one twice.
_KEPT_PIXELS = 16_000_000
#: Stills and colours of more pixels are not written anew, as that would take too much memory.
_MAX_STILL_PIXELS, _MAX_COMPARED_PIXELS = 16_000_000, 2_500_000
_MAX_COLORS, _TRANSPARENT = 255, 0
_BLACK = b"\0\0\0"


def rewrite(source: Path, info: ImageInfo, target: Path) -> None:
    """Write a GIF again, in no more bytes than it has.

    Parameters:
      info: what `probe()` returned for it.

    Raises:
      Unreadable: its first frame cannot be decoded.
    """
    size, plays = (info.width, info.height), 1 if info.loop is None else info.loop
    with target.open("wb") as file:
        is_written = _write(file, source, info, size, plays)
    if not is_written or target.stat().st_size >= sum(map(len, _stripped(source, size, plays))):
        with target.open("wb") as file:
            file.writelines(_stripped(source, size, plays))


def _write(
    file: BinaryIO, source: Path, info: ImageInfo, size: tuple[int, int], plays: int
) -> bool:
    """Write all frames anew, unless that would take too much memory. Returns whether it did."""
    if info.frames == 1:
        if size[0] * size[1] > _MAX_STILL_PIXELS:
            return False
        gif_local_colors.write_still(file, size, *next(decoded(source)))
        return True
    colors = _Colors.of(source, size)
    if colors.palette is not None:
        writer = GifWriter(file, size, colors.palette, _TRANSPARENT, thorough=True)
        writer.begin(plays)
        for indices, box, delay_cs in _shown(size, colors.palette, colors.kept or decoded(source)):
            writer.add(writer.change(indices, box), delay_cs)
        writer.end()
    elif size[0] * size[1] <= _MAX_COMPARED_PIXELS:
        gif_local_colors.write(file, size, plays, _global_palette(source), decoded(source))
    else:
        return False
    return True


class _Colors(NamedTuple):
    """The palette of all colours, the transparent index first; None if there are too many of them.
    And the decoded frames, if these are few."""

    palette: bytes | None
    kept: list[tuple[GifFrame, PIL.Image.Image]]

    @classmethod
    def of(cls, source: Path, size: tuple[int, int]) -> "_Colors":
        """Those of a GIF."""
        colors: dict[bytes, None] = {}
        kept, pixels = [], 0
        for frame, indices in decoded(source):
            pixels += indices.width * indices.height
            if pixels <= _KEPT_PIXELS:
                kept.append((frame, indices))
            counts = indices.histogram()
            colors |= {
                _color(frame, index): None
                for index, count in enumerate(counts)
                if count and index != frame.transparent
            }
            if len(colors) > _MAX_COLORS:
                return cls(None, [])
        kept = kept if pixels <= _KEPT_PIXELS else []
        palette = _BLACK + b"".join(colors)
        return cls(_ordered(palette, _drawn(size, palette, kept or decoded(source))), kept)


def _drawn(
    size: tuple[int, int], palette: bytes, frames: Iterable[tuple[GifFrame, PIL.Image.Image]]
) -> Iterator[set[int]]:
    """The indices that each frame changes to, those that are transparent excluded."""
    seen = PIL.Image.new("L", size, _TRANSPARENT)
    for indices, box, _ in _shown(size, palette, frames):
        differs = mask_above(ImageChops.difference(indices, seen.crop(box)), 0)
        seen.paste(indices, box[:2])
        yield {index for index, count in enumerate(indices.histogram(differs)) if count} - {0}


def _ordered(palette: bytes, drawn: Iterable[set[int]]) -> bytes:
    """A palette in the order that lets most frames do with its first colours, as their codes are
    shorter then.

    As in gifsicle: the colour that fewest frames need becomes the last one. The frames that need it
    get long codes in any case, and count no more.
    """
    frames = list(drawn)
    needed = Counter(chain.from_iterable(frames))
    left, last_first = set(range(1, len(palette) // 3)), []
    #: How many frames need each index, and of those that as many need, the later first.
    rank = [256 * needed[index] - index for index in range(len(palette) // 3)]
    while left:
        if not frames:  # no rank changes any more
            last_first += sorted(left, key=rank.__getitem__)
            break
        rarest = min(left, key=rank.__getitem__)
        left.remove(rarest)
        last_first.append(rarest)
        for frame in frames:
            if rarest in frame:
                for index in frame:
                    rank[index] -= 256
        frames = [frame for frame in frames if rarest not in frame]
    return _BLACK + b"".join(palette[3 * at : 3 * at + 3] for at in reversed(last_first))


def _color(frame: GifFrame, index: int) -> bytes:
    return frame.palette[3 * index : 3 * index + 3] or _BLACK


def _shown(
    size: tuple[int, int], palette: bytes, frames: Iterable[tuple[GifFrame, PIL.Image.Image]]
) -> Iterator[tuple[PIL.Image.Image, Box, int]]:
    """What may have changed with each frame: the indices of a box in this palette, and how long
    they are shown (1/100 s)."""
    number_of = {palette[at : at + 3]: at // 3 for at in range(len(palette) - 3, 0, -3)}
    tables: dict[tuple[bytes, int | None], bytes] = {}
    whole, canvas = (0, 0, *size), PIL.Image.new("L", size, _TRANSPARENT)
    #: What the last frame does to its box: the box, and the indices that it gets.
    disposal: tuple[Box, PIL.Image.Image | int] | None = None
    for frame, indices in frames:
        key = frame.palette, frame.transparent
        if key not in tables:
            tables[key] = bytes(
                _TRANSPARENT
                if index == frame.transparent
                else number_of.get(_color(frame, index), 0)
                for index in range(256)
            )
        changed = intersection(frame.box, whole)
        if disposal is not None:
            canvas.paste(disposal[1], disposal[0])
            changed = union(disposal[0], None if is_empty(changed) else changed)
        box = intersection(frame.box, whole)
        below = canvas.crop(box) if frame.disposal == RESTORED else _TRANSPARENT
        drawn = PIL.Image.frombytes("L", indices.size, indices.tobytes()).point(tables[key])
        canvas.paste(drawn, frame.box[:2], mask_above(drawn, _TRANSPARENT))
        disposes = frame.disposal in (CLEARED, RESTORED) and not is_empty(box)
        disposal = (box, below) if disposes else None
        yield canvas.crop(changed), changed, round(displayed_ms(frame.delay_ms) / 10)


def _global_palette(source: Path) -> bytes:
    with source.open("rb") as file:
        return GifBlocks(Reader(file)).palette


def _stripped(source: Path, size: tuple[int, int], plays: int) -> Iterator[bytes]:
    """The parts of a GIF that has the frames of another, byte by byte, and nothing else."""
    palette = _global_palette(source)
    yield header(size, palette, plays)
    with source.open("rb") as structure, source.open("rb") as pixels:
        for frame in GifBlocks(Reader(structure)):
            if frame.disposal or frame.delay_ms or frame.transparent is not None:
                yield control(frame.delay_ms // 10, frame.disposal, frame.transparent)
            own = b"" if frame.palette == palette else frame.palette
            yield descriptor(frame.box, own, interlaced=frame.interlaced)
            pixels.seek(frame.data[0])
            yield bytes([frame.bits]) + pixels.read(frame.data[1] - frame.data[0])
    yield b"\x3b"
