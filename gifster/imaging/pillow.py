"""Open images by Pillow, each as the format that it is known to have, upright and in sRGB."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import PIL.Image

# Imported at once: when it first needs WebP or AVIF, Pillow would import some forty formats, which
# takes longer in a new process than most small images do.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from gifster.imaging import colors, heic, orientation
from gifster.imaging.appearance import Appearance
from gifster.imaging.errors import Unreadable
from gifster.imaging.probe import DECODER_ERRORS, ImageInfo

#: Pillow's names of the formats.
FORMATS = {
    "image/gif": "GIF",
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/heic": "HEIF",
}
#: Pillow's names of metadata: camera and place, orientation and colour profile.
_METADATA = ("exif", "icc_profile", "xmp", "XML:com.adobe.xmp", "photoshop", "comment")
#: From so many pixels on a progressive JPEG may take more memory than a sandbox allows.
_MANY_PIXELS = 30_000_000


@contextmanager
def open_image(source: Path | IO[bytes], info: ImageInfo) -> Iterator[PIL.Image.Image]:
    """Open an image as the format that `probe()` found, and as no other.

    Raises:
      Unreadable: Pillow cannot decode it; also within the `with` block.
    """
    if info.content_type == "image/heic":
        heic.register()
    try:
        with PIL.Image.open(source, formats=[FORMATS[info.content_type]]) as image:
            yield image
    except PIL.Image.DecompressionBombError:
        raise Unreadable("The image has too many pixels to be decoded.") from None
    except DECODER_ERRORS as error:
        # A progressive JPEG keeps all coefficients in memory at once, whatever size is wanted, and
        # the decoder does not say that it got no memory.
        if info.content_type == "image/jpeg" and info.width * info.height > _MANY_PIXELS:
            raise Unreadable(
                "The image cannot be decoded: it is damaged, or it is a large progressive JPEG "
                "that needs too much memory. Saving it as a baseline JPEG may help."
            ) from error
        raise Unreadable("The image is damaged: it cannot be decoded.") from error


def has_metadata(source: Path, info: ImageInfo) -> bool:
    """Whether an image has metadata, such as an orientation or a colour profile.

    It is False for a GIF, whose metadata browsers ignore.

    Raises:
      Unreadable: Pillow cannot open it.
    """
    if info.content_type == "image/gif":
        return False
    with open_image(source, info) as image:
        return any(image.info.get(name) for name in _METADATA)


def upright(frame: PIL.Image.Image, look: Appearance) -> PIL.Image.Image:
    """A frame turned upright and converted to sRGB, as `look` says.

    It is RGBA if it has transparency, else RGB. A frame that needs no change is returned itself.
    """
    frame.load()  # the caller may use it after the file is closed
    return orientation.turned(colors.to_srgb(colors.plain(frame, look), look), look.orientation)
