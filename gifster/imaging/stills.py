"""Make still pictures: decode the first frame of an image once, and write each version from it."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import PIL.Image
from PIL import ImageChops, ImageStat
from PIL.Image import Quantize, Resampling

from gifster.imaging import (
    appearance,
    avif,
    bmp_pixels,
    colors,
    gif,
    gif_frames,
    memory,
    pillow,
    png_frames,
    sampling,
)
from gifster.imaging.appearance import Appearance
from gifster.imaging.boxes import Box
from gifster.imaging.errors import Unreadable
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.masks import without_alpha
from gifster.imaging.orientation import stored_box, turned, upright_size
from gifster.imaging.padding import Backdrop
from gifster.imaging.plan import Plan
from gifster.imaging.recipe import Image

#: How a picture is saved.
_Options = dict[str, int]

_OPTIONS: dict[str, _Options] = {
    "JPEG": {"quality": 85},
    # More effort takes twice the time. It leaves a seventieth fewer bytes of a photo, and a sixth
    # of a flat picture.
    "WEBP": {"quality": 85, "method": 2},
    "AVIF": {"quality": avif.QUALITY, "speed": avif.SPEED},
}
#: A still that may not outgrow its original gets the first of these qualities, and then the first
#: of these numbers of colours, in which it does not.
_LESS_EXACT, _FEWER_COLORS = (70, 50, 30, 15, 1), (256, 128, 64, 32, 16, 8, 4, 2)
#: Before it gets so few, it is tried without averaging, if that differs less.
_VERY_FEW = 4
#: The colours of a picture of more pixels are chosen in less memory, and not as well.
_MOST_EXACT = 1_000_000
#: The colours of one of more pixels than that do not fit into the memory of the sandbox.
_MOST_REDUCED = 12_000_000
#: So many rows of the rough picture are made at a time.
_BAND_ROWS = 32
#: A picture of more pixels is turned only after it was shrunk by this factor.
_MANY_PIXELS, _MANY_REDUCED = 4_000_000, 4


class Picture(NamedTuple):
    """A decoded picture (RGB or RGBA) as it is stored, and its orientation (1 to 8)."""

    pixels: PIL.Image.Image
    orientation: int

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height after turning it upright (pixels)."""
        return upright_size(*self.pixels.size, self.orientation)

    def upright(self) -> PIL.Image.Image:
        """All of it upright, but smaller if turning it would take much memory."""
        pixels = self.pixels
        if self.orientation != 1 and pixels.width * pixels.height > _MANY_PIXELS:
            pixels = pixels.reduce(_MANY_REDUCED)
        return turned(pixels, self.orientation)

    def part(
        self, box: Box, size: tuple[int, int], filter: Resampling = Resampling.LANCZOS
    ) -> PIL.Image.Image:
        """A part of the upright picture in another size, upright.

        Only the part is turned: that takes less memory than turning all of it.
        """
        pixels = self.pixels
        stored = stored_box(box, *self.upright_size, self.orientation)
        if size == (box[2] - box[0], box[3] - box[1]):
            return self._cropped(box, stored)
        # Not by resize()'s own box: pixels beside it would shine through at the edges.
        if stored != (0, 0, *pixels.size):
            pixels = pixels.crop(stored)
        stored_size = upright_size(*size, self.orientation)
        return turned(pixels.resize(stored_size, filter), self.orientation)

    def _cropped(self, box: Box, stored: Box) -> PIL.Image.Image:
        """A part of the upright picture; the picture itself if that is the part."""
        if self.orientation == 1:
            return self.pixels if stored == (0, 0, *self.pixels.size) else self.pixels.crop(stored)
        left, top, right, bottom = box
        made = PIL.Image.new(self.pixels.mode, (right - left, bottom - top))
        for row in range(top, bottom, _BAND_ROWS):
            band = (left, row, right, min(bottom, row + _BAND_ROWS))
            stored = stored_box(band, *self.upright_size, self.orientation)
            made.paste(turned(self.pixels.crop(stored), self.orientation), (0, row - top))
        return made


def decode(source: Path, info: ImageInfo, plans: Sequence[Plan]) -> Picture:
    """The first frame of an image in sRGB, large enough for all these plans.

    If no plan needs all its pixels, it is a smaller picture of the same proportions, and only that
    takes memory beside the decoder's own.

    Raises:
      Unreadable: Pillow cannot decode it.
    """
    factor = memory.factor(plans)
    if info.content_type == "image/gif":
        return Picture(_plain(gif_frames.first(source, info), factor, Appearance()), 1)
    if info.content_type == "image/png":
        animated = png_frames.first(source, info)
        if animated is not None:
            return Picture(_plain(animated, factor, Appearance()), 1)
    if info.content_type == "image/bmp":
        return Picture(_plain(bmp_pixels.decoded(source, info), factor, Appearance()), 1)
    try:
        return _decoded(source, info, factor)
    except Unreadable:
        if info.content_type != "image/png":
            raise
        return Picture(_plain(png_frames.mended(source, info), factor, Appearance()), 1)


def _decoded(source: Path, info: ImageInfo, factor: int) -> Picture:
    """What `decode()` returns of what Pillow decodes."""
    look = appearance.read(source, info.content_type)
    with pillow.open_image(source, info) as opened:
        image = pillow.shown_part(opened, look)
        width, height = image.size
        # Pillow can decode a JPEG at a half, a quarter or an eighth of its size.
        image.draft(None, (width // factor, height // factor))
        factor = max(1, factor * image.width // width)
        pixels = colors.to_srgb(_plain(image, factor, look), look, in_place=True)
        if info.content_type == "image/webp":
            pixels = without_alpha(pixels)
        pixels.info = {}
        return Picture(pixels, look.orientation)


def _plain(image: PIL.Image.Image, factor: int, look: Appearance) -> PIL.Image.Image:
    """What `colors.plain()` makes of an image, shrunk by a whole number.

    It works band by band: converting the image as a whole would take its memory again, for some
    modes twice.
    """
    image.load()
    sample = colors.plain(image.crop((0, 0, 1, 1)), look)
    if factor == 1 and sample.mode == image.mode and "transparency" not in image.info:
        return image
    small = PIL.Image.new(sample.mode, (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, small.height, _BAND_ROWS):
        bottom = min(image.height, (top + _BAND_ROWS) * factor)
        band = colors.plain(image.crop((0, top * factor, image.width, bottom)), look)
        small.paste(band.reduce(factor) if factor > 1 else band, (0, top))
    small.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return small


def write(
    picture: Picture, info: ImageInfo, recipe: Image, target: Path, most_bytes: float = math.inf
) -> None:
    """Write a still by a recipe, without metadata.

    Parameters:
      picture: what `decode()` returned.
      info: what `probe()` returned for the source.
      most_bytes: a still of more bytes is made less exact.
    """
    plan = recipe.plan(info.width, info.height)
    width, height = picture.upright_size
    plan = plan.scaled(width / info.width, height / info.height)
    made = _made(picture, plan, recipe)
    sampled = partial(_made, picture, plan, recipe, Resampling.NEAREST)
    format = pillow.FORMATS[recipe.result_type(info.content_type)]
    if format == "GIF":
        gif.write_still(
            target, made, recipe.percent, most_bytes,
            lambda: sampling.of_picture(sampled()),
        )  # fmt: skip
        return
    made = _on_white(made) if format == "JPEG" else made
    options = _OPTIONS.get(format, {})
    if recipe.percent is not None and options:
        options = options | {"quality": recipe.percent}
    made.info = {}
    made.save(target, format, **options)
    less_exact = _less_exact(made, format, options, sampled)
    while target.stat().st_size > most_bytes and (less := next(less_exact, None)) is not None:
        less[0].save(target, format, **less[1])


def _made(
    picture: Picture, plan: Plan, recipe: Image, filter: Resampling = Resampling.LANCZOS
) -> PIL.Image.Image:
    """What a plan makes of a picture, and the recipe's functions of that."""
    made = picture.part(plan.part, (plan.width, plan.height), filter)
    if plan.padding is not None:
        made = Backdrop(plan.padding).whole(made)
    if recipe.functions and made is picture.pixels:
        made = made.copy()  # they may draw on it
    for function in recipe.functions:
        made = function(made)
    return made


def _less_exact(
    picture: PIL.Image.Image,
    format: str,
    options: _Options,
    sampled: Callable[[], PIL.Image.Image],
) -> Iterator[tuple[PIL.Image.Image, _Options]]:
    """What has fewer and fewer bytes than a picture that is saved with these options.

    Parameters:
      sampled: makes the picture without averaging: a drawing keeps its few colours.
    """
    without_loss = {"lossless": True, "quality": 100, "optimize": True}  # as far as it is known
    pixels = picture.width * picture.height
    if format == "PNG" and pixels <= _MOST_REDUCED and _is_grey(picture):
        yield picture.convert("L"), without_loss
    if format in {"PNG", "WEBP"}:
        yield picture, without_loss
    for quality in _LESS_EXACT:
        if quality < options.get("quality", 0):
            yield picture, options | {"quality": quality}
    if format in {"PNG", "WEBP"} and pixels <= _MOST_REDUCED:
        has_few = picture.getcolors(_FEWER_COLORS[0]) is not None
        is_exact = picture.mode == "RGB" and (pixels <= _MOST_EXACT or has_few)
        method = Quantize.MEDIANCUT if is_exact else Quantize.FASTOCTREE
        for colors in _FEWER_COLORS:
            reduced = picture.quantize(colors, method, dither=PIL.Image.Dither.NONE)
            if colors <= _VERY_FEW and _error(made := sampled(), picture) < _error(
                reduced.convert(picture.mode), picture
            ):
                yield _in_palette(made), without_loss
            yield reduced, without_loss


def _error(picture: PIL.Image.Image, wanted: PIL.Image.Image) -> float:
    """How far a picture is off another, seen from where dithered pixels become one colour."""
    mode = "RGBa" if wanted.mode == "RGBA" else "RGB"
    seen, to_be_seen = (one.convert(mode).reduce(2) for one in (picture, wanted))
    return sum(ImageStat.Stat(ImageChops.difference(seen, to_be_seen)).sum2)


def _in_palette(picture: PIL.Image.Image) -> PIL.Image.Image:
    """The same picture with a palette, if it has few colours."""
    if picture.getcolors(_FEWER_COLORS[0]) is None:
        return picture
    method = Quantize.MEDIANCUT if picture.mode == "RGB" else Quantize.FASTOCTREE
    return picture.quantize(_FEWER_COLORS[0], method, dither=PIL.Image.Dither.NONE)


def _is_grey(picture: PIL.Image.Image) -> bool:
    """Whether an RGB picture has only greys."""
    if picture.mode != "RGB":
        return False
    red, green, blue = picture.split()
    return red.tobytes() == green.tobytes() == blue.tobytes()


def _on_white(image: PIL.Image.Image) -> PIL.Image.Image:
    """An image without transparency, which JPEG does not have."""
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    white = PIL.Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.convert("RGBA").getchannel("A"))
    return white
