"""Open images by Pillow, each as the format that it is known to have, upright and in sRGB."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

import PIL.Image
import PIL.ImagePalette

# Imported at once: when it first needs WebP or AVIF, Pillow would import some forty formats, which
# takes longer in a new process than most small images do.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageChops,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from gifster.imaging import colors, heic, orientation, stripping, tiff, webp_chunks
from gifster.imaging.appearance import Appearance
from gifster.imaging.errors import Unreadable, Unsupported
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.probe import DECODER_ERRORS
from gifster.imaging.reader import Reader

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
#: From so many pixels on a progressive JPEG may take more memory than a sandbox allows.
_MANY_PIXELS = 30_000_000
#: libtiff reads parts of a file, but would need the whole of one that is no plain file in memory.
_READ_BY_PLACE = {"image/tiff"}
#: Pillow's names for the halves of samples of 16 bits; and the bytes of 256 colours.
_HIGH_BYTES, _LOW_BYTES, _PALETTE_BYTES = "RGB;16B", "RGB;16L", 3 * 256
#: So many rows are compared with a colour at a time.
_MARKED_ROWS = 64
#: Where the main brand of a HEIF file is, and those of AVIF; the last one leaves it to libavif
#: whether the file moves.
_BRAND_AT, _BRANDS = 8, (b"avif", b"avis", b"mif1")
#: Pillow refuses colour profiles of more than a megabyte.
PngImagePlugin.MAX_TEXT_CHUNK = stripping.png.MAX_BYTES


@contextmanager
def open_image(source: Path | IO[bytes], info: ImageInfo) -> Iterator[PIL.Image.Image]:
    """Open an image as the format that `probe()` found, and as no other.

    Raises:
      Unreadable: Pillow cannot decode it; also within the `with` block.
    """
    if info.content_type == "image/heic":
        heic.register()
    try:
        with (
            _opened(source, info) as file,
            PIL.Image.open(file, formats=[FORMATS[info.content_type]]) as image,
        ):
            if isinstance(image, PngImagePlugin.PngImageFile):
                _as_in_browsers(image, file)
            yield image
    except PIL.Image.DecompressionBombError:
        raise Unreadable("The image has too many pixels to be decoded.") from None
    except DECODER_ERRORS as error:
        if info.content_type == "image/tiff" and isinstance(error, PIL.UnidentifiedImageError):
            # Its structure was read before.
            raise Unsupported(f"This kind of TIFF cannot be read here. {tiff.INSTEAD}") from error
        # A progressive JPEG keeps all coefficients in memory at once, whatever size is wanted, and
        # the decoder does not say that it got no memory.
        if info.content_type == "image/jpeg" and info.width * info.height > _MANY_PIXELS:
            raise Unreadable(
                "The image cannot be decoded: it is damaged, or it is a large progressive JPEG "
                "that needs too much memory. Saving it as a baseline JPEG may help."
            ) from error
        raise Unreadable("The image is damaged: it cannot be decoded.") from error


@contextmanager
def _opened(source: Path | IO[bytes], info: ImageInfo) -> Iterator[IO[bytes]]:
    """The file as a decoder gets it: without metadata, of which Pillow reads everything, and fails
    if some of it is damaged or too large. What cannot be told apart is left as it is, and so is a
    file that was made here."""
    if not isinstance(source, Path):
        yield source
        return
    with source.open("rb") as file:
        pieces = None
        if info.content_type in stripping.FORMATS and info.content_type not in _READ_BY_PLACE:
            with suppress(Unreadable):
                pieces = stripping.stripped(file, info.content_type)
        content: BinaryIO = file if pieces is None else pieces.open(file)
        if info.content_type == "image/webp":
            content = _as_transparent(content)
        elif info.content_type == "image/avif":
            content = _as_avif(content)
        content.seek(0)
        yield content


def _as_avif(heif: BinaryIO) -> BinaryIO:
    """An AVIF whose main brand is one that Pillow knows. Browsers look at all its brands."""
    heif.seek(_BRAND_AT)
    if heif.read(4) in _BRANDS:
        return heif
    pieces, reader = stripping.Pieces(), Reader(heif)
    pieces.keep(0, _BRAND_AT)
    pieces.add(_BRANDS[-1])
    pieces.keep(_BRAND_AT + 4, reader.size)
    return pieces.open(heif)


def _as_transparent(webp: BinaryIO) -> BinaryIO:
    """A WebP whose header says that it may be transparent, if libwebp would not look."""
    reader = Reader(webp)
    hint = webp_chunks.missing_hint(reader)
    if hint is None:
        return webp
    at, byte = hint
    pieces = stripping.Pieces()
    pieces.keep(0, at)
    pieces.add(byte)
    pieces.keep(at + len(byte), reader.size)
    return pieces.open(webp)


def _as_in_browsers(png: PngImagePlugin.PngImageFile, file: IO[bytes]) -> None:
    """Let indices beyond the palette of a PNG have its last colour, and one colour of 16 bits be
    transparent only where all its bits are right (PNG, 11.3.1.1)."""
    clear = png.info.get("transparency")
    if png.mode == "P" and png.palette is not None:
        palette = bytes(png.palette.palette)
        palette = palette[: len(palette) // 3 * 3]
        missing = (_PALETTE_BYTES - len(palette)) // 3
        png.palette = PIL.ImagePalette.raw("RGB", palette + palette[-3:] * missing)
        if isinstance(clear, bytes) and 0 < len(palette) <= len(clear) * 3:
            png.info["transparency"] = clear[: len(palette) // 3] + clear[-1:] * missing
    elif png.mode == "RGB" and png.tile[0].args == _HIGH_BYTES and isinstance(clear, tuple):
        differs = _differing_below(png, file, clear)
        _mark(differs, png, [value >> 8 for value in clear])
        png.putalpha(differs)
        del png.info["transparency"]


def _differing_below(
    png: PngImagePlugin.PngImageFile, file: IO[bytes], color: Sequence[int]
) -> PIL.Image.Image:
    """A mask of the pixels whose low bytes are not those of a colour of 16 bits. The low bytes are
    gone before the high ones are decoded, as the sandbox has no memory for both."""
    differs = PIL.Image.new("L", png.size)
    file.seek(0)
    with PngImagePlugin.PngImageFile(file) as low:
        low.tile = [tile._replace(args=_LOW_BYTES) for tile in low.tile]
        _mark(differs, low, [value & 255 for value in color])
    return differs


def _mark(mask: PIL.Image.Image, picture: PIL.Image.Image, color: Sequence[int]) -> None:
    """Add to a mask the pixels of a picture (RGB) that have another colour."""
    tables = [[255 * (value != wanted) for value in range(256)] for wanted in color]
    for top in range(0, picture.height, _MARKED_ROWS):
        box = (0, top, picture.width, min(top + _MARKED_ROWS, picture.height))
        bands = picture.crop(box).split()
        differs = [band.point(table) for band, table in zip(bands, tables, strict=True)]
        mask.paste(functools.reduce(ImageChops.lighter, differs, mask.crop(box)), box)


def shown_part(picture: PIL.Image.Image, look: Appearance) -> PIL.Image.Image:
    """What is shown of a picture, before it is turned; mostly itself."""
    return picture if look.part is None else picture.crop((0, 0, *look.part))


def upright(frame: PIL.Image.Image, look: Appearance) -> PIL.Image.Image:
    """A frame turned upright and converted to sRGB, as `look` says.

    It is RGBA if it has transparency, else RGB. A frame that needs no change is returned itself.
    """
    frame.load()  # the caller may use it after the file is closed
    frame = shown_part(frame, look)
    return orientation.turned(colors.to_srgb(colors.plain(frame, look), look), look.orientation)
