"""The picture of a film in YUV 4:2:0 (BT.601, limited range), of which only changes are converted.

libswscale would convert each frame as a whole, and takes half as long for that as the encoder does.
"""

from collections.abc import Iterator, Sequence

import PIL.Image

from gifster.imaging.boxes import Box, intersection, is_empty

_NEAREST = PIL.Image.Resampling.NEAREST
#: The shares of red, green and blue in brightness (ITU-R BT.601), and the ranges of brightness and
#: colour differences (of 255).
_RED, _BLUE = 0.299, 0.114
_GREEN = 1 - _RED - _BLUE
_LUMA, _CHROMA = 219 / 255, 224 / 255


def _difference(channel: int, share: float) -> tuple[float, ...]:
    """How much a channel (0 to 2) exceeds the brightness, as a row of a matrix."""
    weights = [-_RED, -_GREEN, -_BLUE]
    weights[channel] += 1
    return (*(_CHROMA * weight / (2 * (1 - share)) for weight in weights), 128.0)


_Y = (_LUMA * _RED, _LUMA * _GREEN, _LUMA * _BLUE, 16.0)
_U, _V = _difference(2, _BLUE), _difference(0, _RED)


class YuvCanvas:
    """The planes of a picture, painted box by box.

    Parameters:
      size: of the picture (pixels). An odd side loses its last pixel; a side of one is doubled.
      keeps_transparency: whether there is a plane of alpha. Otherwise, what is transparent becomes
        white, as in JPEG.
    """

    def __init__(self, size: tuple[int, int], *, keeps_transparency: bool) -> None:
        self.size = max(2, size[0] - size[0] % 2), max(2, size[1] - size[1] % 2)
        self._is_thin = 1 in size
        half = self.size[0] // 2, self.size[1] // 2
        self._planes = [
            PIL.Image.new("L", plane_size, at)
            for plane_size, at in ((self.size, 16), (half, 128), (half, 128))
        ]
        if keeps_transparency:
            self._planes.append(PIL.Image.new("L", self.size, 0))

    def paint(self, picture: PIL.Image.Image, changed: Box) -> None:
        """Take a box of the whole picture (RGB or RGBA)."""
        whole = (0, 0, *self.size)
        if self._is_thin:
            picture, changed = picture.resize(self.size, _NEAREST, (0, 0, *picture.size)), whole
        left, top, right, bottom = intersection(changed, whole)
        box = (left - left % 2, top - top % 2, right + right % 2, bottom + bottom % 2)
        if is_empty(box):
            return
        piece = picture if box == (0, 0, *picture.size) else picture.crop(box)
        if len(self._planes) == 4:
            alpha = piece.getchannel("A") if piece.mode == "RGBA" else 255
            self._planes[3].paste(alpha, box)
            colors = piece if piece.mode == "RGB" else piece.convert("RGB")
        else:
            colors = on_white(piece)
        small = colors.reduce(2)
        half = box[0] // 2, box[1] // 2
        self._planes[0].paste(colors.convert("L", _Y), box[:2])
        self._planes[1].paste(small.convert("L", _U), half)
        self._planes[2].paste(small.convert("L", _V), half)

    def planes(self, strides: Sequence[int]) -> Iterator[bytes]:
        """The bytes of each plane, its rows padded to so many bytes."""
        for plane, stride in zip(self._planes, strides, strict=True):
            yield plane.tobytes("raw", "L", stride)


def on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    """A picture (RGB or RGBA) as RGB, with white behind it."""
    if picture.mode == "RGB":
        return picture
    white = PIL.Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white
