"""Writes animated GIFs whose frames are what differs from what is shown.

Transparency and disposal: GIF89a, section 23. That a frame need not repeat what is shown already,
and leaves it out as transparent: gifsicle's `-O2`.
"""

from typing import BinaryIO, NamedTuple

import PIL.Image
from PIL import ImageChops

from gifster.imaging.boxes import Box, moved, union
from gifster.imaging.masks import above, furthest, solid
from gifster.imaging.palette import nearest, quantizer
from gifster.imaging.parts import Part

_LONGEST_CS = 0xFFFF


class _Drawn(NamedTuple):
    """A frame of the GIF that is being written: palette indices (L), where, and how long."""

    indices: PIL.Image.Image
    box: Box
    delay_cs: int
    clears: bool = False


class GifWriter:
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
        self._quantizer = quantizer(palette)
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

    def add(self, part: Part, delay_cs: int) -> None:
        """Show a frame for so long (1/100 s)."""
        changes = self._changes(part)
        if self._last is None:
            # The first covers everything, so that all that follows has something to differ from.
            if changes is not None:
                self._show(changes)
            self._last = _Drawn(self._indices.copy(), (0, 0, *self._size), delay_cs)
            return
        if changes is None:
            self._last = self._last._replace(delay_cs=self._last.delay_cs + delay_cs)
            return
        vanishes = None
        if self._has_holes:
            vanishing = ImageChops.darker(changes.differs, self._holes(changes.indices))
            vanishes = vanishing.getbbox()
        self._show(changes)
        if vanishes is not None:
            # Nothing can be drawn as transparent: the frame before has to be cleared there.
            self._last = self._cleared_at(moved(vanishes, changes.box), self._last)
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

    def _changes(self, part: Part) -> "_Changes | None":
        if part.picture is None:
            return None
        colors = part.picture if part.picture.mode == "RGB" else part.picture.convert("RGB")
        reduced = nearest(colors, self._quantizer)
        indices = PIL.Image.frombytes("L", reduced.size, reduced.tobytes())
        if part.picture.mode == "RGBA":
            self._has_holes = True
            indices.paste(self._clear, mask=ImageChops.invert(solid(part.picture)))
        differs = self._differs(indices, colors, part.box)
        inner = differs.getbbox()
        if inner is None:
            return None
        if inner != (0, 0, *differs.size):
            indices, colors, differs = (each.crop(inner) for each in (indices, colors, differs))
        return _Changes(indices, colors, differs, moved(inner, part.box))

    def _differs(
        self, indices: PIL.Image.Image, colors: PIL.Image.Image, box: Box
    ) -> PIL.Image.Image:
        """A mask of what is to be drawn anew in a box."""
        shown = self._indices.crop(box)
        differs = above(ImageChops.difference(indices, shown), 0)
        if self._last is None:
            return differs
        far = above(furthest(colors, self._colors.crop(box)), self._tolerance)
        if self._has_holes:
            come_or_go = ImageChops.difference(self._holes(indices), self._holes(shown))
            far = ImageChops.lighter(far, come_or_go)
        return ImageChops.darker(differs, far)

    def _holes(self, indices: PIL.Image.Image) -> PIL.Image.Image:
        """A mask of what is transparent."""
        return above(indices, self._clear - 1)

    def _show(self, changes: "_Changes") -> None:
        where = changes.box[:2]
        self._indices.paste(changes.indices, where, changes.differs)
        self._colors.paste(changes.colors, where, changes.differs)

    def _drawn(self, changes: "_Changes", delay_cs: int) -> _Drawn:
        """The frame that draws what differs, and nothing else. Its indices are changed."""
        changes.indices.paste(self._clear, mask=ImageChops.invert(changes.differs))
        return _Drawn(changes.indices, changes.box, delay_cs)

    def _redrawn(self, changes: "_Changes", cleared: Box, delay_cs: int) -> _Drawn:
        """The frame that draws what differs, and again whatever was in a box that was cleared."""
        box = union(cleared, changes.box)
        drawn = self._indices.crop(box)
        wanted = PIL.Image.new("L", drawn.size, 0)
        wanted.paste(changes.differs, (changes.box[0] - box[0], changes.box[1] - box[1]))
        wanted.paste(255, moved(cleared, (-box[0], -box[1])))
        drawn.paste(self._clear, mask=ImageChops.invert(wanted))
        return self._cropped(drawn, box, delay_cs)

    def _cleared_at(self, box: Box, drawn: _Drawn) -> _Drawn:
        """A frame, made larger if need be, that is cleared after it was shown, a box with it."""
        larger = union(drawn.box, box)
        indices = PIL.Image.new("L", (larger[2] - larger[0], larger[3] - larger[1]), self._clear)
        indices.paste(drawn.indices, (drawn.box[0] - larger[0], drawn.box[1] - larger[1]))
        return _Drawn(indices, larger, drawn.delay_cs, clears=True)

    def _cropped(self, drawn: PIL.Image.Image, box: Box, delay_cs: int) -> _Drawn:
        """Without the edges that are transparent; at least a pixel."""
        clear = PIL.Image.new("L", drawn.size, self._clear)
        inner = ImageChops.difference(drawn, clear).getbbox() or (0, 0, 1, 1)
        return _Drawn(drawn.crop(inner), moved(inner, box), delay_cs)

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
    """What a frame changes: indices and colours of a box, and a mask of those that differ."""

    indices: PIL.Image.Image
    colors: PIL.Image.Image
    differs: PIL.Image.Image
    box: Box


def _delays(delay_cs: int) -> list[int]:
    """A delay in pieces that a GIF can say."""
    whole, rest = divmod(delay_cs, _LONGEST_CS)
    return [_LONGEST_CS] * whole + ([rest] if rest or not whole else [])


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "little") for number in numbers)
