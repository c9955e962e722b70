"""Choose the palette of an animation: as few colours as its pictures allow."""

import bisect
import math
from collections.abc import Sequence
from functools import cached_property
from itertools import chain

import PIL.Image
from PIL import ImageChops
from PIL.Image import Resampling

from gifster.imaging.colors_met import ColorsMet
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.lost_colors import MAX_MORE, entries_for_levels, entries_for_lost
from gifster.imaging.masks import opaque_mask
from gifster.imaging.nearest import are_greys, cube, has_many_dark
from gifster.imaging.visible import VisibleError

#: The palette is chosen from so many frames, spread over the animation, as tiles of so many pixels.
_TILES, _TILE_PIXELS = 12, 4_000
MAX_COLORS, _COLORS = 255, (8, 16, 32, 64, 128, 240)
#: The visible error of the palette of a GIF in the most exact quality. One that may have so many
#: colours is chosen from exact pixels, which have the colours of thin lines and of noise; others
#: from averaged pixels, as those of dithering and of large areas are the mean of many.
EXACT_ERROR, MANY_COLORS = 0.45, 128
#: Up to so many colours are those of flat areas.
_FLAT_COLORS = 16
#: k-means stops when at most one pixel in so many changes its colour.
_SETTLED = 50
#: Among few colours, those that differ by no more than this in any channel look the same. Among
#: many they form a gradient.
_SAME, _FEW_COLORS = 2, 64
_NO_DITHER = PIL.Image.Dither.NONE
#: Each tile begins so much of one of its pixels further right and down.
_SHIFTS = (0.618, 0.755)
#: A palette that may only have so many colours leaves this part of them to colours that it would
#: lack altogether. With fewer still, it needs all; with more, it hardly lacks any.
_SHARED, _SHARE = range(16, 49), 4
#: A palette of greys may cause so many times the error of others.
_OF_GREYS = 0.2


def is_exact(error: float, most_colors: int) -> bool:
    """Whether a palette may be so large and exact that colours are looked up in it finely."""
    return error <= EXACT_ERROR and most_colors >= MANY_COLORS


class PaletteSamples:
    """Some frames of an animation as tiles, from which its palette is chosen.

    Parameters:
      info: facts of the source.
      exact: colours that the palette must have, such as a background's.
    """

    def __init__(self, info: ImageInfo, exact: Sequence[tuple[int, int, int]] = ()) -> None:
        #: Whether the palette is going to be asked for. If not, nothing need be added.
        self.are_needed = False
        self._exact = bytes(chain.from_iterable(dict.fromkeys(exact)))[: 3 * MAX_MORE]
        last = max(1, min(_TILES, info.frames) - 1)
        self._sampled = {round(number * (info.frames - 1) / last) for number in range(_TILES)}
        #: By frame number: a tile of averaged pixels, one of exact pixels, one of those of the
        #: largest size, and how busy the picture is around these.
        self._tiles: dict[int, tuple[PIL.Image.Image, ...]] = {}
        self._met = ColorsMet()
        self._palettes: dict[tuple[float, int], bytes] = {}
        self._sheets: _Sheets | None = None

    def add(
        self,
        number: int,
        picture: PIL.Image.Image,
        changed: PIL.Image.Image | None,
        largest: PIL.Image.Image,
    ) -> None:
        """Keep tiles of a frame, if it is one of the samples, and the colours of what changes in
        it.

        Parameters:
          picture, largest: the frame in the smallest size that gets this palette, and the largest.
        """
        if changed is not None:
            self._met.add(changed)
        if number not in self._sampled or number in self._tiles:
            return
        scale = min(1.0, math.sqrt(_TILE_PIXELS / (picture.width * picture.height)))
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        averaged = _opaque(picture.resize(size, Resampling.HAMMING))
        exact = _opaque(picture.resize(size, Resampling.NEAREST))
        half = max(1, size[0] // 2), max(1, size[1] // 2)
        large, around = _with_ranges(largest, half, len(self._tiles))
        if averaged is None or exact is None:
            return
        if large is None:  # its few pixels are transparent
            large, around = exact.resize(half, Resampling.NEAREST), PIL.Image.new("L", half)
        self._tiles[number] = averaged, exact, large, around

    def palette(self, error: float, most_colors: int = MAX_COLORS) -> bytes:
        """The smallest palette within a visible error (`visible`), or the best of so many colours;
        3 bytes for each colour."""
        if not self._tiles:
            return self._exact or bytes(3)  # all frames are transparent
        key = error, most_colors
        if key not in self._palettes:
            self._palettes[key] = _palette(
                self._all, error, most_colors, self._exact, self._met.all
            )
        return self._palettes[key]

    @property
    def smoothness(self) -> float:
        """How much of an error shows in these frames: 1 where they are flat, and less where they
        are busy."""
        return self._all.visible.mean_weight if self._tiles else 1.0

    @property
    def _all(self) -> "_Sheets":
        if self._sheets is None:
            self._sheets = _Sheets(*map(_sheet, zip(*self._tiles.values(), strict=True)))
        return self._sheets


class _Sheets:
    """All tiles: averaged, exact, of the largest size, and a quarter of the averaged pixels. Those
    are enough to find out how many colours are needed."""

    def __init__(
        self,
        averaged: PIL.Image.Image,
        exact: PIL.Image.Image,
        large: PIL.Image.Image,
        around: PIL.Image.Image,
    ) -> None:
        self.averaged, self.exact, self.large, self.around = averaged, exact, large, around
        size = max(1, averaged.width // 2), max(1, averaged.height // 2)
        self.rough = averaged.resize(size, Resampling.NEAREST)
        self.visible = VisibleError(self.rough)
        #: What shows, by the number of colours.
        self._errors: dict[int, float] = {}

    def exact_for(self, colors: int) -> PIL.Image.Image:
        """Exact pixels of the smallest size and of the largest. For many colours, which take long
        to choose, those are half of the smallest's."""
        size = self.exact.width, max(1, self.exact.height // (2 if colors > _FEW_COLORS else 1))
        pixels = self.exact.resize(size, Resampling.NEAREST).tobytes() + self.large.tobytes()
        return PIL.Image.frombytes("RGB", (len(pixels) // 3, 1), pixels)

    @cached_property
    def are_greys(self) -> bool:
        """Whether nothing has a colour."""
        return are_greys(self.rough.tobytes())

    def error(self, colors: int) -> float:
        """What shows of the error that so many colours cause."""
        if colors not in self._errors:
            reduced = _reduced(self.rough, colors).convert("RGB")
            self._errors[colors] = self.visible.of(reduced)
        return self._errors[colors]


def _opaque(tile: PIL.Image.Image) -> PIL.Image.Image | None:
    """A tile whose transparent pixels have one of its colours; None if all are transparent."""
    if tile.mode != "RGBA":
        return tile
    opaque = opaque_mask(tile)
    first = opaque.tobytes().find(255)
    if first < 0:
        return None
    tile = tile.convert("RGB")
    color = tile.getpixel((first % tile.width, first // tile.width))
    tile.paste(color, mask=ImageChops.invert(opaque))  # type: ignore[arg-type]
    return tile


def _with_ranges(
    picture: PIL.Image.Image, size: tuple[int, int], number: int
) -> tuple[PIL.Image.Image | None, PIL.Image.Image]:
    """A tile of exact pixels (see `_opaque`), and how far the brightest of each and of those beside
    it is above the darkest (L). Tiles of other numbers have other rows and columns of the picture:
    the same ones would miss most of a straight shadow."""
    reach = min(1, (picture.width - 1) // 2, (picture.height - 1) // 2)
    width, height = picture.width - 2 * reach, picture.height - 2 * reach
    spare = width / (size[0] + 1), height / (size[1] + 1)  # a pixel of the tile
    left, top = (
        reach + part * number % 1 * more for part, more in zip(_SHIFTS, spare, strict=True)
    )
    right, bottom = left + width - spare[0], top + height - spare[1]

    def moved(x: int, y: int) -> PIL.Image.Image:
        box = left + x, top + y, min(right + x, picture.width), min(bottom + y, picture.height)
        return picture.resize(size, Resampling.NEAREST, box=box)

    middle = moved(0, 0)
    brightest = darkest = middle.convert("L")
    for x, y in ((-reach, 0), (reach, 0), (0, -reach), (0, reach)):
        beside = moved(x, y).convert("L")
        brightest = ImageChops.lighter(brightest, beside)
        darkest = ImageChops.darker(darkest, beside)
    return _opaque(middle), ImageChops.subtract(brightest, darkest)


def _sheet(tiles: Sequence[PIL.Image.Image]) -> PIL.Image.Image:
    """All tiles in one picture."""
    width, height = tiles[0].size
    sheet = PIL.Image.new(tiles[0].mode, (width, height * len(tiles)))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (0, number * height))
    return sheet


def _palette(sheets: _Sheets, error: float, most_colors: int, beside: bytes, met: bytes) -> bytes:
    """The palette for these tiles, and the colours that it must have beside.

    Parameters:
      met: the colours of all frames, which may be lost by choosing it from some.
    """
    is_grey = sheets.are_greys and are_greys(beside + met)  # the nearest level is found
    fewer, wanted = _COLORS[:-1], error * (_OF_GREYS if is_grey else 1)
    colors = _COLORS[bisect.bisect_left(fewer, -wanted, key=lambda many: -sheets.error(many))]
    room = max(1, most_colors - len(beside) // 3)
    if colors > room and room in _SHARED:
        room -= room // _SHARE
    finely = is_exact(error, most_colors)
    suits = finely and colors > _FLAT_COLORS
    pixels = sheets.exact_for(colors) if suits else sheets.averaged
    palette = _distinct(_reduced(pixels, min(colors, room)), beside, finely=finely)
    room = most_colors - len(palette) // 3
    palette += entries_for_lost(palette, sheets.exact, met, error, room)
    room = most_colors - len(palette) // 3
    return palette + entries_for_levels(palette, sheets.large, sheets.around, error, room)


def _distinct(reduced: PIL.Image.Image, beside: bytes, *, finely: bool) -> bytes:
    """Some colours, and after them the palette of a picture, the commonest colour first.

    It is without colours that look the same as these or as a commoner one: the noise or dithering
    of a flat area would flicker between them. And it is without those that would not be found.
    """
    table = bytes(reduced.getpalette() or [])
    counts = reduced.histogram()
    colors = [tuple(table[at : at + 3]) for at in range(0, len(table), 3)]
    are_few = len(colors) <= _FEW_COLORS
    exact = [tuple(beside[at : at + 3]) for at in range(0, len(beside), 3)]
    kept: list[tuple[int, ...]] = []
    finely = finely and has_many_dark(beside + table)
    cubes = {cube(color, finely=finely) for color in exact}
    for _, color in sorted(zip(counts, colors, strict=False), reverse=True):
        others = exact + kept if are_few else exact
        is_known = any(_look_same(color, other) for other in others)
        its_cube = cube(color, finely=finely)
        if not is_known and (its_cube not in cubes or are_greys(beside + table)):
            kept.append(color)
            cubes.add(its_cube)
    return beside + bytes(chain.from_iterable(kept))


def _look_same(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two colours differ by so little in each channel that they look the same."""
    return (
        -_SAME <= one[0] - other[0] <= _SAME
        and -_SAME <= one[1] - other[1] <= _SAME
        and -_SAME <= one[2] - other[2] <= _SAME
    )


def _reduced(picture: PIL.Image.Image, colors: int) -> PIL.Image.Image:
    """A picture in so many colours, chosen by median cut and improved by k-means."""
    changing = picture.width * picture.height // _SETTLED
    return picture.quantize(colors, PIL.Image.Quantize.MEDIANCUT, changing, dither=_NO_DITHER)
