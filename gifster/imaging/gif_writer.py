"""Write animated GIFs whose frames contain only the pixels that change.

A frame leaves unchanged pixels transparent, like gifsicle's `-O2`. Transparency and disposal:
GIF89a, section 23.
"""

from typing import BinaryIO, NamedTuple

import PIL.Image
from PIL import ImageChops

from gifster.imaging.boxes import Box, moved, union
from gifster.imaging.masks import largest_difference, mask_above, opaque_mask
from gifster.imaging.palette import quantizer, to_palette
from gifster.imaging.patches import Patch

_MAX_DELAY_CS = 0xFFFF


class _Frame(NamedTuple):
    """A frame to be written: palette indices (L), their place, how long they are displayed (1/100
    s), and whether they are cleared afterwards."""

    indices: PIL.Image.Image
    box: Box
    delay_cs: int
    clears: bool = False


class GifWriter:
    """Writes one GIF, frame by frame.

    Parameters:
      palette: RGB, 3 bytes for each of at most 255 colours. The index after them is transparent.
      tolerance: a pixel is drawn again only if a channel changes by more than this.
    """

    def __init__(
        self, file: BinaryIO, size: tuple[int, int], palette: bytes, tolerance: int
    ) -> None:
        self._file, self._size, self._palette = file, size, palette
        self._transparent = len(palette) // 3
        self._bits = max(2, self._transparent.bit_length())
        self._quantizer = quantizer(palette)
        self._tolerance = tolerance
        #: The picture that is shown now: indices, and the colours that they stand for.
        self._indices = PIL.Image.new("L", size, self._transparent)
        self._colors = PIL.Image.new("RGB", size)
        #: Whether some of that picture may be transparent.
        self._has_transparency = False
        #: The last frame. The next one decides whether it is cleared, so it is not yet written.
        self._last: _Frame | None = None

    def begin(self, plays: int) -> None:
        """Write the header; `plays` is how often it plays, 0 for forever."""
        table = self._palette.ljust(3 * 2**self._bits, b"\0")
        flags = 0x80 | 7 << 4 | self._bits - 1
        self._file.write(b"GIF89a" + _words(*self._size) + bytes([flags, 0, 0]) + table)
        self._file.write(loop_extension(plays))

    def add(self, patch: Patch, delay_cs: int) -> None:
        """Add a frame: what it changes, and how long it is displayed (1/100 s)."""
        difference = self._difference(patch)
        if self._last is None:
            # The first frame is whole: the later ones only contain their differences from it.
            if difference is not None:
                self._show(difference)
            self._last = _Frame(self._indices.copy(), (0, 0, *self._size), delay_cs)
            return
        if difference is None:
            self._last = self._last._replace(delay_cs=self._last.delay_cs + delay_cs)
            return
        erased_box = None
        if self._has_transparency:
            erased = ImageChops.darker(
                difference.differs, self._transparent_pixels(difference.indices)
            )
            erased_box = erased.getbbox()
        self._show(difference)
        if erased_box is not None:
            # A frame cannot draw transparent pixels: clear the frame before it there.
            self._last = self._cleared_at(moved(erased_box, difference.box), self._last)
            drawn = self._redrawn(difference, self._last.box, delay_cs)
        else:
            drawn = self._drawn(difference, delay_cs)
        self._write(self._last)
        self._last = drawn

    def end(self) -> None:
        """Write the last frame and the trailer."""
        if self._last is not None:
            self._write(self._last)
        self._file.write(b"\x3b")

    def _difference(self, patch: Patch) -> "_Difference | None":
        if patch.picture is None:
            return None
        colors = patch.picture if patch.picture.mode == "RGB" else patch.picture.convert("RGB")
        reduced = to_palette(colors, self._quantizer)
        indices = PIL.Image.frombytes("L", reduced.size, reduced.tobytes())
        if patch.picture.mode == "RGBA":
            self._has_transparency = True
            indices.paste(self._transparent, mask=ImageChops.invert(opaque_mask(patch.picture)))
        differs = self._differs(indices, colors, patch.box)
        inner = differs.getbbox()
        if inner is None:
            return None
        if inner != (0, 0, *differs.size):
            indices, colors, differs = (each.crop(inner) for each in (indices, colors, differs))
        return _Difference(indices, colors, differs, moved(inner, patch.box))

    def _differs(
        self, indices: PIL.Image.Image, colors: PIL.Image.Image, box: Box
    ) -> PIL.Image.Image:
        """A mask of the pixels in a box that have to be drawn."""
        shown = self._indices.crop(box)
        differs = mask_above(ImageChops.difference(indices, shown), 0)
        if self._last is None:
            return differs
        far = mask_above(largest_difference(colors, self._colors.crop(box)), self._tolerance)
        if self._has_transparency:
            toggled = ImageChops.difference(
                self._transparent_pixels(indices), self._transparent_pixels(shown)
            )
            far = ImageChops.lighter(far, toggled)
        return ImageChops.darker(differs, far)

    def _transparent_pixels(self, indices: PIL.Image.Image) -> PIL.Image.Image:
        """A mask of the transparent pixels."""
        return mask_above(indices, self._transparent - 1)

    def _show(self, difference: "_Difference") -> None:
        where = difference.box[:2]
        self._indices.paste(difference.indices, where, difference.differs)
        self._colors.paste(difference.colors, where, difference.differs)

    def _drawn(self, difference: "_Difference", delay_cs: int) -> _Frame:
        """The frame that draws only the pixels that differ. It changes `difference.indices`."""
        difference.indices.paste(self._transparent, mask=ImageChops.invert(difference.differs))
        return _Frame(difference.indices, difference.box, delay_cs)

    def _redrawn(self, difference: "_Difference", cleared: Box, delay_cs: int) -> _Frame:
        """The frame that draws the pixels that differ, and all pixels of the cleared box."""
        box = union(cleared, difference.box)
        drawn = self._indices.crop(box)
        wanted = PIL.Image.new("L", drawn.size, 0)
        wanted.paste(difference.differs, (difference.box[0] - box[0], difference.box[1] - box[1]))
        wanted.paste(255, moved(cleared, (-box[0], -box[1])))
        drawn.paste(self._transparent, mask=ImageChops.invert(wanted))
        return self._cropped(drawn, box, delay_cs)

    def _cleared_at(self, box: Box, drawn: _Frame) -> _Frame:
        """A frame that is cleared after it was shown, enlarged to contain a box."""
        larger = union(drawn.box, box)
        indices = PIL.Image.new(
            "L", (larger[2] - larger[0], larger[3] - larger[1]), self._transparent
        )
        indices.paste(drawn.indices, (drawn.box[0] - larger[0], drawn.box[1] - larger[1]))
        return _Frame(indices, larger, drawn.delay_cs, clears=True)

    def _cropped(self, drawn: PIL.Image.Image, box: Box, delay_cs: int) -> _Frame:
        """A frame without its transparent edges; at least one pixel."""
        blank = PIL.Image.new("L", drawn.size, self._transparent)
        inner = ImageChops.difference(drawn, blank).getbbox() or (0, 0, 1, 1)
        return _Frame(drawn.crop(inner), moved(inner, box), delay_cs)

    def _write(self, drawn: _Frame) -> None:
        first, *more = _delays(drawn.delay_cs)
        self._write_frame(drawn.indices, drawn.box, first, drawn.clears and not more)
        pixel = PIL.Image.new("L", (1, 1), self._transparent)
        for number, delay_cs in enumerate(more, 1):
            if drawn.clears and number == len(more):
                blank = PIL.Image.new("L", drawn.indices.size, self._transparent)
                self._write_frame(blank, drawn.box, delay_cs, clears=True)
            else:
                self._write_frame(pixel, (0, 0, 1, 1), delay_cs, clears=False)

    def _write_frame(self, indices: PIL.Image.Image, box: Box, delay_cs: int, clears: bool) -> None:
        control = (
            bytes([(2 if clears else 1) << 2 | 1])
            + _words(delay_cs)
            + bytes([self._transparent, 0])
        )
        descriptor = _words(*box[:2], *indices.size) + b"\0"
        data = indices.tobytes("gif", "L", self._bits, 0)
        self._file.write(b"\x21\xf9\x04" + control + b"\x2c" + descriptor)
        self._file.write(bytes([self._bits]) + data + b"\0")


class _Difference(NamedTuple):
    """What a frame changes: the indices and colours of a box, and a mask of those that differ."""

    indices: PIL.Image.Image
    colors: PIL.Image.Image
    differs: PIL.Image.Image
    box: Box


def loop_extension(plays: int) -> bytes:
    """The extension that says how often a GIF plays, 0 for forever. It counts the repetitions: a
    GIF that plays once has none."""
    if plays == 1:
        return b""
    repetitions = min(plays - 1, 0xFFFF) if plays else 0
    return b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + _words(repetitions) + b"\0"


def _delays(delay_cs: int) -> list[int]:
    """A delay, split into delays that fit into a GIF's 16 bits."""
    whole, rest = divmod(delay_cs, _MAX_DELAY_CS)
    return [_MAX_DELAY_CS] * whole + ([rest] if rest or not whole else [])


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "little") for number in numbers)
