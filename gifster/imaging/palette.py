"""The palette of an animation: as small as the pictures allow."""

import bisect
import math
from collections.abc import Sequence
from itertools import chain
from operator import sub

import PIL.Image
from PIL import ImageChops, ImageStat
from PIL.Image import Resampling

from gifster.imaging.masks import above, furthest, solid, under
from gifster.imaging.probe import ImageInfo

#: From this many frames, spread over the whole, the palette is chosen; each as a tile so large.
_TILES, _TILE_PIXELS = 12, 4_000
_COLORS = (16, 32, 64, 128, 240)
#: One pixel in so many may still be nearer to another colour than its own.
_SETTLED = 50
#: Colours that differ by no more, in any channel, look the same. Among many they are a gradient.
_SAME, _FEW_COLORS = 2, 64
_NO_DITHER = PIL.Image.Dither.NONE
#: So far off is a colour that was lost, if there are so many pixels of it; it gets up to so many
#: more.
_FAR_OFF, _RARE_PIXELS, _RARE_COLORS = 36, 4, 15


class Tiles:
    """Some frames of an animation, small, side by side: what the palette is chosen from."""

    def __init__(self, info: ImageInfo) -> None:
        last = max(1, min(_TILES, info.frames) - 1)
        self._wanted = {round(number * (info.frames - 1) / last) for number in range(_TILES)}
        #: Averaged, and as samples.
        self._tiles: dict[int, tuple[PIL.Image.Image, PIL.Image.Image]] = {}
        self._palettes: dict[float, bytes] = {}

    def take(self, number: int, picture: PIL.Image.Image) -> None:
        """See whether a frame is one of them."""
        if number not in self._wanted or number in self._tiles:
            return
        scale = min(1.0, math.sqrt(_TILE_PIXELS / (picture.width * picture.height)))
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        filters = Resampling.HAMMING, Resampling.NEAREST
        tiles = [_opaque(picture.resize(size, filter)) for filter in filters]
        averages, samples = tiles
        if averages is not None and samples is not None:
            self._tiles[number] = averages, samples

    def palette(self, error: float) -> bytes:
        """The smallest palette that costs no more than this mean square error; 3 bytes a colour."""
        if not self._tiles:
            return bytes(3)  # all of it is transparent
        if error not in self._palettes:
            averages, samples = map(_sheet, zip(*self._tiles.values(), strict=True))
            self._palettes[error] = _palette(averages, samples, error)
        return self._palettes[error]


def quantizer(palette: bytes) -> PIL.Image.Image:
    """A palette (RGB, 3 bytes a colour) in the way in which `nearest()` takes it."""
    made = PIL.Image.new("P", (1, 1))
    made.putpalette(palette)
    return made


def nearest(picture: PIL.Image.Image, quantizer: PIL.Image.Image) -> PIL.Image.Image:
    """An RGB picture in the colours of a palette (P)."""
    return picture.quantize(palette=quantizer, dither=_NO_DITHER)


def _opaque(tile: PIL.Image.Image) -> PIL.Image.Image | None:
    """A tile with some colour of it where it is transparent; None if it is nothing else."""
    if tile.mode != "RGBA":
        return tile
    opaque = solid(tile)
    where = opaque.tobytes().find(255)
    if where < 0:
        return None
    tile = tile.convert("RGB")
    some = tile.getpixel((where % tile.width, where // tile.width))
    tile.paste(some, mask=ImageChops.invert(opaque))  # type: ignore[arg-type]
    return tile


def _sheet(tiles: Sequence[PIL.Image.Image]) -> PIL.Image.Image:
    width, height = tiles[0].size
    sheet = PIL.Image.new("RGB", (width, height * len(tiles)))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (0, number * height))
    return sheet


def _palette(sheet: PIL.Image.Image, samples: PIL.Image.Image, error: float) -> bytes:
    # How many it takes is found out on every fourth pixel. If not fewer, it is the most.
    size = max(1, sheet.width // 2), max(1, sheet.height // 2)
    rough = sheet.resize(size, Resampling.NEAREST)
    fewer = _COLORS[:-1]
    colors = _COLORS[bisect.bisect_left(fewer, -error, key=lambda many: -_error(rough, many))]
    reduced = _reduced(sheet, colors)
    palette = _distinct(reduced)
    # Median cut goes by how much there is of a colour, and averages are of what is thin. What is
    # small and bright gets its own.
    near = nearest(samples, quantizer(palette))
    far = above(furthest(samples, near.convert("RGB")), _FAR_OFF)
    room = min(_RARE_COLORS, 255 - len(palette) // 3)
    rare = under(far, samples)
    if rare is not None and rare.width >= _RARE_PIXELS and room > 0:
        more = _reduced(rare, room)
        palette += bytes((more.getpalette() or [])[: 3 * room])
    return palette


def _distinct(reduced: PIL.Image.Image) -> bytes:
    """The colours of a picture, less those that nobody can tell from a commoner one: noise or
    dithering in what is flat would go to and fro between them."""
    table = reduced.getpalette() or []
    counts = reduced.histogram()
    colors = [tuple(table[at : at + 3]) for at in range(0, len(table), 3)]
    if len(colors) > _FEW_COLORS:
        return bytes(table)
    kept: list[tuple[int, ...]] = []
    for _, color in sorted(zip(counts, colors, strict=False), reverse=True):
        if not any(max(map(abs, map(sub, color, other))) <= _SAME for other in kept):
            kept.append(color)
    return bytes(chain.from_iterable(kept))


def _error(picture: PIL.Image.Image, colors: int) -> float:
    """The mean square error that so many colours cost."""
    off = ImageChops.difference(picture, _reduced(picture, colors).convert("RGB"))
    return sum(ImageStat.Stat(off).sum2) / (3 * picture.width * picture.height)


def _reduced(picture: PIL.Image.Image, colors: int) -> PIL.Image.Image:
    """With the colours of median cut, improved by k-means until hardly any pixel changes its."""
    changing = picture.width * picture.height // _SETTLED
    return picture.quantize(colors, PIL.Image.Quantize.MEDIANCUT, changing, dither=_NO_DITHER)
