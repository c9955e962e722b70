"""Write a GIF again without loss: the same pictures for the same times, as often, in fewer bytes.

An animation of at most 255 colours gets one palette of them, and each frame becomes what changes in
it (`gif_writer`). In one of more colours each frame keeps a palette and its disposal, without the
pixels that are there already (`gif_local_colors`). If that saves nothing, the frames keep their
bytes. Comments and other metadata are left out in any case.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gifster.imaging import gif_local_colors, stripping
from gifster.imaging.gif_blocks import GifBlocks
from gifster.imaging.gif_frames import DecodedGif, without_needless_disposal
from gifster.imaging.gif_image import control, descriptor, header
from gifster.imaging.gif_indices import TRANSPARENT, IndexedFrames
from gifster.imaging.gif_writer import GifWriter
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.reader import Reader

#: Stills and colours of more pixels are not written anew, as that would take too much memory.
_MAX_STILL_PIXELS, _MAX_COMPARED_PIXELS = 16_000_000, 2_500_000


def rewrite(source: Path, info: ImageInfo, target: Path) -> IndexedFrames | DecodedGif:
    """Write a GIF again, in no more bytes than it has.

    Parameters:
      info: what `probe()` returned for it.

    Returns:
      what has its frames, as far as they are known now.

    Raises:
      Unreadable: its first frame cannot be decoded.
    """
    size, plays = (info.width, info.height), 1 if info.loop is None else info.loop
    gif = DecodedGif(source, info)
    with target.open("wb") as file:
        indexed = IndexedFrames.of(gif, size) if info.frames > 1 else None
        is_written = _write(file, source, info, plays, indexed or gif)
    if not is_written or target.stat().st_size >= sum(map(len, _stripped(source, size, plays))):
        with target.open("wb") as file:
            file.writelines(_stripped(source, size, plays))
    if target.stat().st_size > source.stat().st_size:
        _keep_blocks(source, target)
    return indexed or gif


def _write(
    file: BinaryIO, source: Path, info: ImageInfo, plays: int, gif: IndexedFrames | DecodedGif
) -> bool:
    """Write all frames anew, unless that would take too much memory. Returns whether it did."""
    size = info.width, info.height
    if info.frames == 1 and isinstance(gif, DecodedGif):
        if size[0] * size[1] > _MAX_STILL_PIXELS:
            return False
        gif_local_colors.write_still(file, size, *next(iter(gif)))
        return True
    if isinstance(gif, IndexedFrames):
        writer = GifWriter(file, size, gif.palette, TRANSPARENT, thorough=True)
        writer.begin(plays)
        for change, delay_cs in gif:
            writer.add(change, delay_cs)
        writer.end()
    elif size[0] * size[1] <= _MAX_COMPARED_PIXELS:
        frames = without_needless_disposal(gif)
        gif_local_colors.write(file, size, plays, _global_palette(source), frames)
    else:
        return False
    return True


def _global_palette(source: Path) -> bytes:
    with source.open("rb") as file:
        return GifBlocks(Reader(file)).palette


def _stripped(source: Path, size: tuple[int, int], plays: int) -> Iterator[bytes]:
    """The parts of a GIF that has the frames of another, byte by byte, and nothing else."""
    palette, disposal = _global_palette(source), 0
    yield header(size, palette, plays)
    with source.open("rb") as structure, source.open("rb") as pixels:
        for frame in GifBlocks(Reader(structure)):
            # A frame without one has, to Pillow, the disposal of the frame before.
            if disposal or frame.disposal or frame.delay_ms or frame.transparent is not None:
                yield control(frame.delay_ms // 10, frame.disposal, frame.transparent)
            disposal = frame.disposal
            own = b"" if frame.palette == palette else frame.palette
            yield descriptor(frame.box, own, interlaced=frame.interlaced)
            pixels.seek(frame.data[0])
            yield bytes([frame.bits]) + pixels.read(frame.data[1] - frame.data[0])
    yield b"\x3b"


def _keep_blocks(source: Path, target: Path) -> None:
    """Write the blocks of a GIF as they are, without its metadata. A trailer is not added to one
    that has none, if it has nothing that could be left out."""
    with source.open("rb") as file:
        stripping.stripped(file, "image/gif").write(file, target)
    if target.stat().st_size > source.stat().st_size:
        os.truncate(target, source.stat().st_size)
