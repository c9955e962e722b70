"""Plans: what a recipe means for one image, in pixels.

A `Layout` follows the recipe step by step, in fractions of pixels, so that no rounding adds up. In
the end it becomes a `Plan`: the part of the source to keep, the size to give it, and the canvas
around it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from gifster.imaging.boxes import Box
from gifster.imaging.padding import Color, Padding

#: Where a picture is cut off, or where it lies on a larger canvas: CarrierWave's names, in lower
#: case.
Gravity = Literal[
    "center", "north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest"
]
_GRAVITIES: dict[str, tuple[float, float]] = {
    "center": (0.5, 0.5), "north": (0.5, 0), "northeast": (1, 0), "east": (1, 0.5),
    "southeast": (1, 1), "south": (0.5, 1), "southwest": (0, 1), "west": (0, 0.5),
    "northwest": (0, 0),
}  # fmt: skip


def share_before(gravity: str) -> tuple[float, float]:
    """How much of what is left over lies to the left of the picture, and above it (0 to 1).

    Raises:
      ValueError: there is no such gravity.
    """
    try:
        return _GRAVITIES[gravity.lower()]
    except KeyError:
        names = ", ".join(_GRAVITIES)
        raise ValueError(f"gravity is {gravity!r}: use one of {names}") from None


@dataclass(frozen=True)
class Plan:
    """What a recipe means for one image, in pixels: the part to keep, the size to give it, and the
    canvas around it, if there is one."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int
    padding: Padding | None = None

    @property
    def size(self) -> tuple[int, int]:
        """The size of the result (pixels)."""
        if self.padding is None:
            return (self.width, self.height)
        return (self.padding.width, self.padding.height)

    @property
    def part(self) -> Box:
        """The part of the source to keep."""
        return (self.left, self.top, self.right, self.bottom)

    def scaled(self, x: float, y: float) -> "Plan":
        """The same for a source that is `x` times as wide and `y` times as high."""
        return replace(
            self,
            left=(left := int(self.left * x)),
            top=(top := int(self.top * y)),
            right=max(left + 1, round(self.right * x)),
            bottom=max(top + 1, round(self.bottom * y)),
        )

    def shrunk(self, scale: float) -> "Plan":
        """The same for a result that is so many times as large (0 to 1)."""
        return replace(
            self,
            width=max(1, round(self.width * scale)),
            height=max(1, round(self.height * scale)),
            padding=None if self.padding is None else self.padding.shrunk(scale),
        )


@dataclass
class _Rectangle:
    """A rectangle in fractions of pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def rounded(self) -> Box:
        """The nearest whole pixels."""
        return (round(self.left), round(self.top), round(self.right), round(self.bottom))

    @property
    def is_empty(self) -> bool:
        """Whether it has no area."""
        return self.left >= self.right or self.top >= self.bottom

    def scale(self, by: float) -> None:
        self.left, self.top, self.right, self.bottom = (
            self.left * by, self.top * by, self.right * by, self.bottom * by
        )  # fmt: skip

    def move(self, x: float, y: float) -> None:
        self.left, self.right = self.left + x, self.right + x
        self.top, self.bottom = self.top + y, self.bottom + y

    def cut(self, width: float, height: float) -> None:
        """Keep what is within 0 to width and 0 to height."""
        self.left, self.right = _within(self.left, width), _within(self.right, width)
        self.top, self.bottom = _within(self.top, height), _within(self.bottom, height)


class Layout:
    """Where the parts of an image of width × height pixels come to lie, as the steps of a recipe
    move them."""

    def __init__(self, width: int, height: int) -> None:
        self._source = (width, height)
        self.width, self.height = float(width), float(height)
        #: The whole source, of which only a part may be on the canvas.
        self._whole = _Rectangle(0, 0, width, height)
        #: The part of it that is on the canvas.
        self._picture = _Rectangle(0, 0, width, height)
        self._fills: list[tuple[_Rectangle, Color | None]] = []

    def fit(self, width: int | None, height: int | None, *, enlarge: bool) -> None:
        """Scale the canvas to fit into a box, of which one side may be open."""
        scale = min(
            math.inf if width is None else width / self.width,
            math.inf if height is None else height / self.height,
        )
        scale = scale if enlarge else min(1.0, scale)
        self.width, self.height = self.width * scale, self.height * scale
        for rectangle in self._rectangles:
            rectangle.scale(scale)

    def fill(self, width: int, height: int, gravity: str, *, enlarge: bool) -> None:
        """Cut the canvas to the proportions of a box, and scale it to fit into the box."""
        part_width = min(self.width, self.height * width / height)
        part_height = part_width * height / width
        before_x, before_y = share_before(gravity)
        self.crop(
            part_width,
            part_height,
            max(0.0, self.width - part_width) * before_x,
            max(0.0, self.height - part_height) * before_y,
        )
        self.fit(width, height, enlarge=enlarge)

    def crop(self, width: float, height: float, x: float, y: float) -> None:
        """Keep a box of the canvas, as far as it lies on it; at least one pixel."""
        x, y = max(0.0, min(x, self.width - 1)), max(0.0, min(y, self.height - 1))
        self.width, self.height = min(width, self.width - x), min(height, self.height - y)
        for rectangle in self._rectangles:
            rectangle.move(-x, -y)
            if rectangle is not self._whole:
                rectangle.cut(self.width, self.height)

    def pad(
        self, width: int, height: int, color: Color | None, gravity: str, *, enlarge: bool
    ) -> None:
        """Fit the canvas into a box, and make the box the canvas."""
        self.fit(width, height, enlarge=enlarge)
        before_x, before_y = share_before(gravity)
        # A whole number of pixels, so that the picture keeps its sharpness.
        x, y = int((width - self.width) * before_x), int((height - self.height) * before_y)
        for rectangle in self._rectangles:
            rectangle.move(x, y)
        self.width, self.height = float(width), float(height)
        self._fills.insert(0, (_Rectangle(0, 0, width, height), color))

    def plan(self) -> Plan:
        """What has become of the image."""
        whole, picture = self._whole, self._picture
        x_scale = self._source[0] / (whole.right - whole.left)
        y_scale = self._source[1] / (whole.bottom - whole.top)
        left, right = _pixels(picture.left - whole.left, picture.right - whole.left, x_scale)
        top, bottom = _pixels(picture.top - whole.top, picture.bottom - whole.top, y_scale)
        left, top = min(left, self._source[0] - 1), min(top, self._source[1] - 1)
        right = max(left + 1, min(right, self._source[0]))
        bottom = max(top + 1, min(bottom, self._source[1]))
        width = max(1, round(picture.right - picture.left))
        height = max(1, round(picture.bottom - picture.top))
        padding = self._padding(width, height)
        if padding is not None:
            width, height = min(width, padding.width), min(height, padding.height)
        return Plan(left, top, right, bottom, width, height, padding)

    def _padding(self, width: int, height: int) -> Padding | None:
        """The canvas around a picture of width × height pixels; None if nothing of it is seen."""
        canvas = max(1, round(self.width)), max(1, round(self.height))
        fills = tuple((box.rounded, color) for box, color in self._fills if color is not None)
        if not self._fills or (canvas == (width, height) and not fills):
            return None
        x = min(round(self._picture.left), max(0, canvas[0] - width))
        y = min(round(self._picture.top), max(0, canvas[1] - height))
        is_all = self._picture.is_empty
        return Padding(*canvas, x, y, fills, is_all)

    @property
    def _rectangles(self) -> list[_Rectangle]:
        return [self._whole, self._picture, *(box for box, _ in self._fills)]


def _pixels(start: float, end: float, scale: float) -> tuple[int, int]:
    return max(0, round(start * scale)), round(end * scale)


def _within(value: float, most: float) -> float:
    return max(0.0, min(value, most))


def shrinks(plans: Iterable[Plan]) -> float:
    """How many times as large as any of these plans needs it a picture is."""
    return min(
        min((plan.right - plan.left) / plan.width, (plan.bottom - plan.top) / plan.height)
        for plan in plans
    )
