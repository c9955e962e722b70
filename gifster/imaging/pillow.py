"""Stills, made by Pillow; and how it is asked to read a file."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import PIL.ExifTags
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps

# Loaded at once: when it first needs WebP or AVIF, Pillow would load some forty formats, which in a
# new process takes longer than most small pictures do.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from gifster.imaging import avif
from gifster.imaging.errors import Unreadable
from gifster.imaging.probe import DAMAGE, ImageInfo
from gifster.imaging.recipe import Image, Plan

_FORMATS = {
    "image/gif": "GIF",
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
}
#: Where Pillow keeps what pictures say beside their pixels: camera and place, and how the pixels
#: are to be turned and coloured.
_TAGS = ("exif", "icc_profile", "xmp", "XML:com.adobe.xmp", "photoshop", "comment")
_OPTIONS = {
    "JPEG": {"quality": 85},
    "WEBP": {"quality": 85},
    "AVIF": {"quality": avif.QUALITY, "speed": avif.SPEED},
}
#: A picture is shrunk roughly to so many times the size that is wanted, and then well; so many rows
#: of the smaller one at a time.
_GAP, _BAND = 3, 32
#: From so many on a progressive JPEG may take more memory than a decoder has.
_MANY_PIXELS = 30_000_000
_SRGB = PIL.ImageCms.createProfile("sRGB")


@contextmanager
def opened(source: Path, info: ImageInfo) -> Iterator[PIL.Image.Image]:
    """Open an image as what it is, and nothing else.

    Raises:
      Unreadable: Pillow cannot decode it; within the block, too.
    """
    try:
        with PIL.Image.open(source, formats=[_FORMATS[info.content_type]]) as image:
            yield image
    except PIL.Image.DecompressionBombError:
        raise Unreadable("The image has too many pixels to be decoded.") from None
    except DAMAGE as error:
        # Of a progressive JPEG all coefficients are in memory at once, in whatever size it is
        # wanted; the decoder does not say that it got none.
        if info.content_type == "image/jpeg" and info.width * info.height > _MANY_PIXELS:
            raise Unreadable(
                "The image cannot be decoded: it is damaged, or it is a progressive JPEG "
                "that takes too much memory. Saved as a baseline JPEG it may do."
            ) from error
        raise Unreadable("The image is damaged: it cannot be decoded.") from error


def is_tagged(source: Path, info: ImageInfo) -> bool:
    """Whether a picture has metadata, or must be turned or coloured as it says; of GIFs, whose
    metadata browsers ignore, no.

    Raises:
      Unreadable: Pillow cannot open it.
    """
    if info.content_type == "image/gif":
        return False
    with opened(source, info) as image:
        return any(image.info.get(tag) for tag in _TAGS)


def still(source: Path, info: ImageInfo, plans: Sequence[Plan]) -> PIL.Image.Image:
    """The first picture of an image, upright (RGB or RGBA), to make all these plans from: a smaller
    one of the same proportions where none of them needs all its pixels.

    Beside the decoder's own, memory is taken for the smaller one only.

    Raises:
      Unreadable: Pillow cannot decode it.
    """
    spare = min(
        min((plan.right - plan.left) / plan.width, (plan.bottom - plan.top) / plan.height)
        for plan in plans
    )
    with opened(source, info) as image:
        width, height = image.size
        wanted = max(1, int(spare / _GAP))
        # JPEG can be decoded in a half, a quarter or an eighth of its size.
        image.draft(None, (width // wanted, height // wanted))
        wanted = max(1, wanted * image.width // width)
        return upright(image if wanted == 1 else _reduced(image, wanted))


def _reduced(image: PIL.Image.Image, factor: int) -> PIL.Image.Image:
    """Shrunk by a whole number, band by band: converting all of it would take all its memory again,
    some of it twice."""
    image.load()
    mode = "RGBA" if image.has_transparency_data else image.mode
    mode = mode if mode in ("RGB", "RGBA", "CMYK", "L") else "RGB"
    small = PIL.Image.new(mode, (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, small.height, _BAND):
        bottom = min(image.height, (top + _BAND) * factor)
        band = image.crop((0, top * factor, image.width, bottom))
        small.paste(band.convert(mode).reduce(factor), (0, top))
    small.info = {name: said for name, said in image.info.items() if name != "transparency"}
    return small


def upright(frame: PIL.Image.Image) -> PIL.Image.Image:
    """A frame as it is to be seen, as sRGB: turned as its EXIF orientation says, its colours as its
    profile says. RGB, or RGBA where it has transparency. The frame itself, where it is all that."""
    frame.load()  # it may be asked for when the file is closed
    lies = frame.getexif().get(PIL.ExifTags.Base.Orientation, 1) != 1
    turned = PIL.ImageOps.exif_transpose(frame) if lies else frame
    mode = "RGBA" if turned.has_transparency_data else "RGB"
    profile = turned.info.get("icc_profile")
    if profile and turned.mode in ("RGB", "RGBA", "CMYK", "L"):
        try:
            # Of RGBA the profile concerns the colours only.
            colors = turned.convert("RGB") if turned.mode == "RGBA" else turned
            made = PIL.ImageCms.profileToProfile(
                colors, io.BytesIO(profile), _SRGB, outputMode="RGB"
            )
        except PIL.ImageCms.PyCMSError:
            made = None  # for other colours than these, or damaged
        if made is not None:
            if mode == "RGBA":
                made.putalpha(turned.convert("RGBA").getchannel("A"))
            return made
    return turned if turned.mode == mode else turned.convert(mode)


def write_still(picture: PIL.Image.Image, info: ImageInfo, recipe: Image, target: Path) -> None:
    """Make a still by a recipe, from what `still()` returned. It has no metadata."""
    plan = recipe.plan(info.width, info.height)
    plan = plan.scaled(picture.width / info.width, picture.height / info.height)
    _save(_made(picture, recipe, plan), recipe.content_type or info.content_type, target)


def _made(picture: PIL.Image.Image, recipe: Image, plan: Plan) -> PIL.Image.Image:
    # Not resize()'s own box: it would let what lies beside shine through at the edges.
    box = (plan.left, plan.top, plan.right, plan.bottom)
    part = picture if box == (0, 0, *picture.size) else picture.crop(box)
    made = part.resize((plan.width, plan.height), PIL.Image.Resampling.LANCZOS)
    for function in recipe.functions:
        made = function(made)
    return made


def _save(made: PIL.Image.Image, content_type: str, target: Path) -> None:
    format = _FORMATS[content_type]
    made = _on_white(made) if format == "JPEG" else made
    made.info = {}
    made.save(target, format, **_OPTIONS.get(format, {}))


def _on_white(image: PIL.Image.Image) -> PIL.Image.Image:
    """JPEG knows no transparency."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = PIL.Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.convert("RGBA").getchannel("A"))
    return white
