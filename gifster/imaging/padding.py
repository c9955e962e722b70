"""Padding: a larger canvas for a picture, and what is seen around and behind the picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import PIL.Image

from gifster.imaging.boxes import Box, intersection, is_empty

#: Red, green, blue and opacity, each 0 to 255.
Color = tuple[int, int, int, int]


@dataclass(frozen=True)
class Padding:
    """A canvas of width × height pixels, and the place of the picture's left upper corner on it.

    `fills` are the boxes of the canvas that have a colour, the lowest first. The rest of it is
    transparent. `is_all` says that no part of the picture lies on the canvas.
    """

    width: int
    height: int
    x: int
    y: int
    fills: tuple[tuple[Box, Color], ...]
    is_all: bool = False

    @property
    def solid(self) -> list[tuple[int, int, int]]:
        """The opaque colours (red, green, blue)."""
        return [color[:3] for _, color in self.fills if color[3] == 255]

    def shrunk(self, scale: float) -> "Padding":
        """The same for a picture that is so many times as large (0 to 1)."""
        return replace(
            self,
            width=max(1, round(self.width * scale)),
            height=max(1, round(self.height * scale)),
            x=int(self.x * scale),
            y=int(self.y * scale),
            fills=tuple(
                (tuple(round(edge * scale) for edge in box), color)  # type: ignore[misc]
                for box, color in self.fills
            ),
        )


class Backdrop:
    """The canvas of a padding, on which pictures are laid. They show through to it where they are
    transparent."""

    def __init__(self, padding: Padding) -> None:
        self._padding = padding
        #: Whether nothing of a picture is seen on it.
        self.is_all = padding.is_all
        canvas = PIL.Image.new("RGBA", (padding.width, padding.height))
        for box, color in padding.fills:
            inside = intersection(box, (0, 0, *canvas.size))
            if not is_empty(inside):
                size = inside[2] - inside[0], inside[3] - inside[1]
                canvas.alpha_composite(PIL.Image.new("RGBA", size, color), inside[:2])
        is_opaque = canvas.getchannel("A").getextrema()[0] == 255
        self._canvas = canvas.convert("RGB") if is_opaque else canvas

    def place(self, box: Box) -> Box:
        """A box of the picture as a box of the canvas."""
        x, y = self._padding.x, self._padding.y
        return (box[0] + x, box[1] + y, box[2] + x, box[3] + y)

    def behind(self, piece: PIL.Image.Image, where: Sequence[int]) -> PIL.Image.Image:
        """A piece of the picture (RGB or RGBA) with what is behind it.

        Parameters:
          where: its left upper corner on the canvas.
        """
        if piece.mode == "RGB":
            return piece
        left, top = where[:2]
        under = self._canvas.crop((left, top, left + piece.width, top + piece.height))
        if under.mode == "RGB":
            under.paste(piece, mask=piece.getchannel("A"))
        else:
            under.alpha_composite(piece)
        return under

    def whole(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        """The whole canvas with the whole picture (RGB or RGBA) on it."""
        if self.is_all:
            return self._canvas.copy()
        picture = picture if picture.mode in ("RGB", "RGBA") else picture.convert("RGBA")
        where = self._padding.x, self._padding.y
        canvas = self._canvas.copy()
        canvas.paste(self.behind(picture, where), where)
        return canvas
