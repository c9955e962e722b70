"""Write animated GIFs whose frames contain only the pixels that change.

A frame leaves unchanged pixels transparent, like gifsicle's `-O2`. Transparency and disposal:
GIF89a, section 23. `gif_quantizer` writes pictures in any colours, and `gif_rewriter` other GIFs
without loss.
"""

from typing import BinaryIO, NamedTuple

import PIL.Image
from PIL import ImageChops

from gifster.imaging.boxes import Box, moved, union
from gifster.imaging.gif_image import control, header, image
from gifster.imaging.gif_variants import Variants
from gifster.imaging.masks import mask_above

_MAX_DELAY_CS = 0xFFFF
#: Disposal methods: after a frame its box stays as it is, or is cleared.
_STAYS, _CLEARED = 1, 2


class Change(NamedTuple):
    """What a frame changes: the indices of a box (L), and a mask of those that differ."""

    indices: PIL.Image.Image
    differs: PIL.Image.Image
    box: Box

    def cropped(self, inner: Box) -> "Change":
        """The part in a box within its own."""
        if inner == (0, 0, *self.indices.size):
            return self
        indices, differs = self.indices.crop(inner), self.differs.crop(inner)
        return Change(indices, differs, moved(inner, self.box))


class _Frame(NamedTuple):
    """A frame to be written: palette indices (L), their place, how long they are displayed (1/100
    s), and whether they are cleared afterwards. `plain` are indices that show the same, without
    holes for what does not change."""

    indices: PIL.Image.Image
    box: Box
    delay_cs: int
    clears: bool = False
    plain: PIL.Image.Image | None = None


class GifWriter:
    """Writes one GIF, frame by frame.

    Parameters:
      palette: RGB, 3 bytes for each of at most 256 colours.
      transparent: the index that is transparent: the first or the last one.
      thorough: whether each frame is also encoded without holes for what does not change, and with
        few of them, and the smallest is written.
    """

    def __init__(
        self,
        file: BinaryIO,
        size: tuple[int, int],
        palette: bytes,
        transparent: int,
        *,
        thorough: bool = False,
    ) -> None:
        self._file, self._size, self._palette = file, size, palette
        self._transparent, self._thorough = transparent, thorough
        #: The picture that is shown now.
        self._indices = PIL.Image.new("L", size, transparent)
        #: Whether some of that picture may be transparent, after the first frame.
        self._has_transparency = thorough
        self._variants = Variants(transparent)
        #: The last frame. The next one decides whether it is cleared, so it is not yet written.
        self._last: _Frame | None = None

    def begin(self, plays: int) -> None:
        """Write the header; `plays` is how often it plays, 0 for forever."""
        self._file.write(header(self._size, self._palette, plays))

    def add(self, difference: Change | None, delay_cs: int) -> None:
        """Add a frame: what it changes, and how long it is displayed (1/100 s)."""
        if self._last is None:
            if difference is not None:
                self._show(difference)
            whole = _Frame(self._indices.copy(), (0, 0, *self._size), delay_cs)
            self._last = self._cropped(whole)
            return
        if difference is None:
            self._last = self._last._replace(delay_cs=self._last.delay_cs + delay_cs)
            return
        erased_box = None
        if self._has_transparency and self._transparent in difference.indices.getextrema():
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

    def _transparent_pixels(self, indices: PIL.Image.Image) -> PIL.Image.Image:
        """A mask of the transparent pixels."""
        if self._transparent == 0:
            return ImageChops.invert(mask_above(indices, 0))
        return mask_above(indices, self._transparent - 1)

    def _show(self, difference: Change) -> None:
        self._indices.paste(difference.indices, difference.box[:2], difference.differs)

    def _drawn(self, difference: Change, delay_cs: int) -> _Frame:
        """The frame that draws only the pixels that differ."""
        indices, differs, box = difference
        holes = PIL.Image.new("L", indices.size, self._transparent)
        holes.paste(indices, mask=differs)
        return _Frame(holes, box, delay_cs, plain=indices if self._thorough else None)

    def _redrawn(self, difference: Change, cleared: Box, delay_cs: int) -> _Frame:
        """The frame that draws the pixels that differ, and all pixels of the cleared box."""
        box = union(cleared, difference.box)
        drawn = self._indices.crop(box)
        plain = drawn.copy() if self._thorough else None
        wanted = PIL.Image.new("L", drawn.size, 0)
        wanted.paste(difference.differs, (difference.box[0] - box[0], difference.box[1] - box[1]))
        wanted.paste(255, moved(cleared, (-box[0], -box[1])))
        drawn.paste(self._transparent, mask=ImageChops.invert(wanted))
        return self._cropped(_Frame(drawn, box, delay_cs, plain=plain))

    def _cleared_at(self, box: Box, drawn: _Frame) -> _Frame:
        """A frame that is cleared after it was shown, enlarged to contain a box."""
        larger = union(drawn.box, box)
        if larger == drawn.box:
            return drawn._replace(clears=True)
        indices = PIL.Image.new(
            "L", (larger[2] - larger[0], larger[3] - larger[1]), self._transparent
        )
        indices.paste(drawn.indices, (drawn.box[0] - larger[0], drawn.box[1] - larger[1]))
        return _Frame(indices, larger, drawn.delay_cs, clears=True)

    def _cropped(self, drawn: _Frame) -> _Frame:
        """A frame without its transparent edges; at least one pixel."""
        blank = PIL.Image.new("L", drawn.indices.size, self._transparent)
        inner = ImageChops.difference(drawn.indices, blank).getbbox() or (0, 0, 1, 1)
        return drawn._replace(
            indices=drawn.indices.crop(inner),
            box=moved(inner, drawn.box),
            plain=None if drawn.plain is None else drawn.plain.crop(inner),
        )

    def _write(self, drawn: _Frame) -> None:
        first, *more = _delays(drawn.delay_cs)
        if drawn.plain is None:
            made = self._variants.without_holes(drawn.indices, drawn.box)
        else:
            made = self._variants.smallest(drawn.indices, drawn.plain, drawn.box)
        self._write_frame(made, first, clears=drawn.clears and not more)
        pixel = PIL.Image.new("L", (1, 1), self._transparent)
        for number, delay_cs in enumerate(more, 1):
            if drawn.clears and number == len(more):
                blank = PIL.Image.new("L", drawn.indices.size, self._transparent)
                self._write_frame(image(blank, drawn.box), delay_cs, clears=True)
            else:
                self._write_frame(image(pixel, (0, 0, 1, 1)), delay_cs, clears=False)

    def _write_frame(self, made: bytes, delay_cs: int, *, clears: bool) -> None:
        disposal = _CLEARED if clears else _STAYS
        self._file.write(control(delay_cs, disposal, self._transparent) + made)


def _delays(delay_cs: int) -> list[int]:
    """A delay, split into delays that fit into a GIF's 16 bits."""
    whole, rest = divmod(delay_cs, _MAX_DELAY_CS)
    return [_MAX_DELAY_CS] * whole + ([rest] if rest or not whole else [])
