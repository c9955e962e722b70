"""Decode BMPs. Pillow decodes most, but knows only the usual masks, which say which bits of a pixel
are red, green, blue and opacity. Windows and browsers show them all."""

import struct
from pathlib import Path
from typing import BinaryIO

import PIL.Image
from PIL import ImageChops

from gifster.imaging import bmp_palette, pillow
from gifster.imaging.errors import Unreadable
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.probe import DECODER_ERRORS

#: Pixels with masks, and with a mask of opacity, too.
_BITFIELDS, _ALPHA_BITFIELDS = 3, 6
#: The masks by the bits of a pixel, if the file has none. From version 4 on, opacity has a mask in
#: any case.
_USUAL_MASKS = {16: (0x7C00, 0x3E0, 0x1F), 32: (0xFF0000, 0xFF00, 0xFF)}
#: So many rows are decoded at a time.
_BAND_ROWS = 64
_SMALL_HEADER, _HEADER_WITH_ALPHA, _VERSION_4 = 40, 56, 108
_HEAD_BYTES = 14 + _HEADER_WITH_ALPHA


def decoded(source: Path, info: ImageInfo) -> PIL.Image.Image:
    """The picture of a BMP.

    Raises:
      Unreadable: it cannot be decoded.
    """
    try:
        made = _with_masks(source) or bmp_palette.decoded(source)
    except DECODER_ERRORS as error:
        raise Unreadable("The image is damaged: it cannot be decoded.") from error
    if made is None:
        with pillow.open_image(source, info) as image:
            image.load()
            made = image
    # Some programs leave the opacity of all pixels empty.
    if made.mode == "RGBA" and made.getchannel("A").getextrema() == (0, 0):
        made = made.convert("RGB")
    return made


def _with_masks(source: Path) -> PIL.Image.Image | None:
    """The picture (RGB or RGBA) of a BMP that has masks; None of any other."""
    with source.open("rb") as file:
        head = file.read(_HEAD_BYTES).ljust(_HEAD_BYTES, b"\0")
        header, width, height, _, bits, kind = struct.unpack_from("<L2l2HL", head, 14)
        red, green, blue, alpha = struct.unpack_from("<4L", head, 54)
        has_alpha = header >= _HEADER_WITH_ALPHA or kind == _ALPHA_BITFIELDS
        is_masked = header >= _SMALL_HEADER and kind in (_BITFIELDS, _ALPHA_BITFIELDS)
        if header >= _VERSION_4 and kind == 0 and alpha and bits in _USUAL_MASKS:
            is_masked, (red, green, blue) = True, _USUAL_MASKS[bits]
        if not is_masked or bits not in _USUAL_MASKS:
            return None
        masks = [red, green, blue, *([alpha] if has_alpha and alpha else [])]
        file.seek(struct.unpack_from("<L", head, 10)[0])
        made = PIL.Image.new("RGBA" if len(masks) == 4 else "RGB", (width, abs(height)))
        for top in range(0, abs(height), _BAND_ROWS):
            rows = min(_BAND_ROWS, abs(height) - top)
            band = _band(file, width, rows, bits // 8, masks)
            if height > 0:  # the first row is the lowest
                band = band.transpose(PIL.Image.Transpose.FLIP_TOP_BOTTOM)
            made.paste(band, (0, top if height < 0 else height - top - rows))
    return made


def _band(file: BinaryIO, width: int, rows: int, step: int, masks: list[int]) -> PIL.Image.Image:
    """The next rows, whose pixels have `step` bytes, from top to bottom."""
    row_bytes = (width * step + 3) // 4 * 4
    data = file.read(row_bytes * rows).ljust(row_bytes * rows, b"\0")
    # Each byte of the pixels is a picture, as wide as a row with its padding.
    size = row_bytes // step, rows
    parts = [PIL.Image.frombytes("L", size, data[at::step]) for at in range(step)]
    mode = "RGBA" if len(masks) == 4 else "RGB"
    made = PIL.Image.merge(mode, [_channel(parts, mask) for mask in masks])
    return made.crop((0, 0, width, rows))


def _channel(parts: list[PIL.Image.Image], mask: int) -> PIL.Image.Image:
    """What a mask selects of all bytes, stretched to 8 bits."""
    made = PIL.Image.new("L", parts[0].size)
    shift = (mask & -mask).bit_length() - 1
    for at, part in enumerate(parts):
        if mask >> 8 * at & 0xFF:
            selected = [
                round(((value << 8 * at & mask) >> shift) * 255 / (mask >> shift))
                for value in range(256)
            ]
            made = ImageChops.add(made, part.point(selected))
    return made
