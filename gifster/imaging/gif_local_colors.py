"""Write a GIF of very many colours again without loss: each frame keeps its colours and its
disposal, but not the pixels that are there already."""

from collections.abc import Iterable
from itertools import compress
from typing import BinaryIO, NamedTuple

import PIL.Image
from PIL import ImageChops

from gifster.imaging.boxes import Box, intersection, is_empty, moved, union
from gifster.imaging.delays import displayed_ms
from gifster.imaging.gif_blocks import CLEARED, RESTORED, GifFrame
from gifster.imaging.gif_image import control, header, image
from gifster.imaging.gif_variants import Density
from gifster.imaging.masks import mapped, mask_above

_NOWHERE = (0, 0, 1, 1)
_MAX_DELAY_CS = 0xFFFF


class _Written(NamedTuple):
    """A frame that is encoded. The next one may prolong it."""

    image: bytes
    transparent: int | None
    delay_cs: int
    disposal: int


def write(
    file: BinaryIO,
    size: tuple[int, int],
    plays: int,
    palette: bytes,
    frames: Iterable[tuple[GifFrame, PIL.Image.Image]],
) -> None:
    """Write a GIF.

    Parameters:
      plays: how often it plays, 0 for forever.
      palette: the global color table of the GIF that the frames come from.
      frames: what `gif_frames.decoded()` returns.
    """
    file.write(header(size, palette, plays))
    canvas = PIL.Image.new("RGBA", size)
    density = Density()
    last: _Written | None = None
    for frame, indices in frames:
        delay_cs = round(displayed_ms(frame.delay_ms) / 10)
        box = intersection(frame.box, (0, 0, *size))
        drawn = _Drawn(frame, indices, box, canvas)
        if last is not None:
            if drawn.inner is None and _can_last_longer(last, frame, delay_cs):
                last = last._replace(delay_cs=last.delay_cs + delay_cs)
                continue
            _append(file, last)
        last = _Written(*drawn.encoded(palette, density), delay_cs, frame.disposal)
        if frame.disposal == CLEARED:
            canvas.paste((0, 0, 0, 0), box)
        elif frame.disposal != RESTORED:
            canvas.paste(drawn.after, box)
    if last is not None:
        _append(file, last)
    file.write(b"\x3b")


def _can_last_longer(last: _Written, frame: GifFrame, delay_cs: int) -> bool:
    """Whether the last frame can be shown longer, instead of another that draws nothing."""
    is_same = not last.disposal and frame.disposal != CLEARED
    return is_same and last.delay_cs + delay_cs <= _MAX_DELAY_CS


def write_still(
    file: BinaryIO, size: tuple[int, int], frame: GifFrame, pixels: PIL.Image.Image
) -> None:
    """Write a GIF of one frame, with a palette of what it has. It takes less memory."""
    box = intersection(frame.box, (0, 0, *size))
    file.write(header(size, b"", 1))
    if is_empty(box):
        nothing = image(PIL.Image.new("L", (1, 1), 0), _NOWHERE, bytes(6))
        _append(file, _Written(nothing, 0, frame.delay_ms // 10, 0))
    else:
        indices = pixels.crop(moved(box, (-frame.box[0], -frame.box[1])))
        indices = PIL.Image.frombytes("L", indices.size, indices.tobytes())
        encoded = _in_colors((indices, frame.transparent), frame, box, b"")
        _append(file, _Written(*encoded, frame.delay_ms // 10, 0))
    file.write(b"\x3b")


def _append(file: BinaryIO, frame: _Written) -> None:
    if frame.delay_cs or frame.disposal or frame.transparent is not None:
        file.write(control(frame.delay_cs, frame.disposal, frame.transparent))
    file.write(frame.image)


class _Drawn:
    """A frame, drawn on what was there before.

    Parameters:
      box: the part of the frame's box that is on the canvas.
    """

    def __init__(
        self, frame: GifFrame, indices: PIL.Image.Image, box: Box, canvas: PIL.Image.Image
    ) -> None:
        self._frame, self._box = frame, box
        piece = indices.crop(moved(box, (-frame.box[0], -frame.box[1])))
        self._indices = PIL.Image.frombytes("L", piece.size, piece.tobytes())
        if frame.transparent is not None:
            piece.info["transparency"] = frame.transparent
        colors, below = piece.convert("RGBA"), canvas.crop(box)
        self.after = below.copy()
        if not is_empty(box):
            self.after.paste(colors, (0, 0), colors)
        #: A mask of the pixels that change, and the box around them, if there are any.
        self._differs = _differs(below, self.after)
        self.inner = self._differs.getbbox()

    def encoded(self, palette: bytes, density: Density) -> tuple[bytes, int | None]:
        """The smallest encoding of the frame, and its transparent index."""
        inner = self.inner
        if self._frame.disposal == CLEARED:  # what is cleared must be in its box
            inner = union(self.after.getbbox() or _NOWHERE, inner)
        if inner is None or is_empty(self._box):
            blank = PIL.Image.new("L", (1, 1), 0)
            return image(blank, _NOWHERE, b"" if palette else bytes(6)), 0
        place = moved(inner, self._box)
        indices, differs = self._indices.crop(inner), self._differs.crop(inner)
        area, holes = indices.width * indices.height, self._holes(indices, differs)
        made = []
        if holes is not None:
            made.append(_in_colors(holes, self._frame, place, palette))
            if density.is_far_above(len(made[0][0]), area):
                return made[0]
        plain = _in_colors((indices, self._frame.transparent), self._frame, place, palette)
        density.add(len(plain[0]), area)
        return min([plain, *made], key=lambda each: len(each[0]))

    def _holes(
        self, indices: PIL.Image.Image, differs: PIL.Image.Image
    ) -> tuple[PIL.Image.Image, int] | None:
        """Indices that show the frame, with holes for the pixels that do not change, and which of
        them is transparent. None if all change, or no index is free."""
        if differs.getextrema()[0] == 255:
            return None
        hole = self._frame.transparent
        if hole is None:
            counts = indices.histogram(differs)
            hole = next((index for index, count in enumerate(counts) if not count), None)
        if hole is None:
            return None
        holes = PIL.Image.new("L", indices.size, hole)
        holes.paste(indices, mask=differs)
        return holes, hole


def _in_colors(
    variant: tuple[PIL.Image.Image, int | None], frame: GifFrame, place: Box, palette: bytes
) -> tuple[bytes, int | None]:
    """A variant of a frame, encoded in the global palette if that is the frame's, or else in one of
    its own; and its transparent index."""
    indices, transparent = variant
    if frame.palette == palette and palette:
        return image(indices, place), transparent
    used, table = list(compress(range(256), indices.histogram())), bytearray(256)
    for at, index in enumerate(used):
        table[index] = at
    known = frame.palette.ljust(3 * 256, b"\0")
    colors = b"".join([known[3 * at : 3 * at + 3] for at in used])
    made = image(mapped(indices, table), place, colors)
    return made, used.index(transparent) if transparent in used else None


def _differs(before: PIL.Image.Image, after: PIL.Image.Image) -> PIL.Image.Image:
    """A mask of the pixels in which two RGBA pictures differ."""
    red, green, blue, alpha = ImageChops.difference(before, after).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), ImageChops.lighter(blue, alpha))
    return mask_above(most, 0)
