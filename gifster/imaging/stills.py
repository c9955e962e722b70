"""Make still pictures: decode the first frame of an image once, and write each version from it."""

import math
from collections.abc import Sequence
from pathlib import Path

import PIL.Image

from gifster.imaging import avif, gif, gif_frames, pillow, png_frames
from gifster.imaging.padding import Backdrop
from gifster.imaging.plan import Plan
from gifster.imaging.probe import ImageInfo
from gifster.imaging.recipe import Image

_OPTIONS: dict[str, dict[str, int]] = {
    "JPEG": {"quality": 85},
    "WEBP": {"quality": 85},
    "AVIF": {"quality": avif.QUALITY, "speed": avif.SPEED},
}
#: A picture is first shrunk roughly, to no less than so many times the size that is wanted.
_GAP = 3
#: So many rows of the rough picture are made at a time.
_BAND_ROWS = 32


def decode(source: Path, info: ImageInfo, plans: Sequence[Plan]) -> PIL.Image.Image:
    """The first frame of an image, upright (RGB or RGBA), large enough for all these plans.

    If no plan needs all its pixels, it is a smaller picture of the same proportions, and only that
    takes memory beside the decoder's own.

    Raises:
      Unreadable: Pillow cannot decode it.
    """
    factor = max(1, int(shrinks(plans) / _GAP))
    if info.content_type == "image/gif":
        first = gif_frames.first(source, info)
        return _in_colors(first) if factor == 1 else _reduced(first, factor)
    if info.content_type == "image/png":
        animated = png_frames.first(source, info)
        if animated is not None:
            return animated if factor == 1 else _reduced(animated, factor)
    with pillow.open_image(source, info) as image:
        width, height = image.size
        # Pillow can decode a JPEG at a half, a quarter or an eighth of its size.
        image.draft(None, (width // factor, height // factor))
        factor = max(1, factor * image.width // width)
        return pillow.upright(image if factor == 1 else _reduced(image, factor))


def shrinks(plans: Sequence[Plan]) -> float:
    """How many times as large as any of these plans needs it a picture is."""
    return min(
        min((plan.right - plan.left) / plan.width, (plan.bottom - plan.top) / plan.height)
        for plan in plans
    )


def _in_colors(image: PIL.Image.Image) -> PIL.Image.Image:
    """A picture as RGBA if it may be transparent, else RGB."""
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _reduced(image: PIL.Image.Image, factor: int) -> PIL.Image.Image:
    """An image shrunk by a whole number, band by band: converting it as a whole would take its
    memory again, for some modes twice."""
    image.load()
    mode = "RGBA" if image.has_transparency_data else image.mode
    mode = mode if mode in ("RGB", "RGBA", "CMYK", "L") else "RGB"
    small = PIL.Image.new(mode, (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, small.height, _BAND_ROWS):
        bottom = min(image.height, (top + _BAND_ROWS) * factor)
        band = image.crop((0, top * factor, image.width, bottom))
        small.paste(band.convert(mode).reduce(factor), (0, top))
    small.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return small


def write(picture: PIL.Image.Image, info: ImageInfo, recipe: Image, target: Path) -> None:
    """Write a still by a recipe, without metadata.

    Parameters:
      picture: what `decode()` returned.
      info: what `probe()` returned for the source.
    """
    plan = recipe.plan(info.width, info.height)
    plan = plan.scaled(picture.width / info.width, picture.height / info.height)
    made = _resized(picture, recipe, plan)
    format = pillow.FORMATS[recipe.content_type or info.content_type]
    if format == "GIF":
        is_smaller = info.content_type == "image/gif" and info.frames == 1
        is_smaller = is_smaller and made.width * made.height <= info.width * info.height
        gif.write_still(target, made, recipe.percent, info.bytes if is_smaller else math.inf)
        return
    made = _on_white(made) if format == "JPEG" else made
    made.info = {}
    options = _OPTIONS.get(format, {})
    if recipe.percent is not None and options:
        options = options | {"quality": recipe.percent}
    made.save(target, format, **options)


def _resized(picture: PIL.Image.Image, recipe: Image, plan: Plan) -> PIL.Image.Image:
    # Not by resize()'s own box: pixels beside it would shine through at the edges.
    whole = plan.part == (0, 0, *picture.size)
    part = picture if whole else picture.crop(plan.part)
    made = part.resize((plan.width, plan.height), PIL.Image.Resampling.LANCZOS)
    if plan.padding is not None:
        made = Backdrop(plan.padding).whole(made)
    for function in recipe.functions:
        made = function(made)
    return made


def _on_white(image: PIL.Image.Image) -> PIL.Image.Image:
    """An image without transparency, which JPEG does not have."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = PIL.Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.convert("RGBA").getchannel("A"))
    return white
