"""Recipes: what a version asks for. A recipe records calls; `rendering` carries them out later."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace

import PIL.Image

#: The functions that `Image.apply()` takes: each gets a frame, and returns one.
FrameFunction = Callable[[PIL.Image.Image], PIL.Image.Image]
FrameFunctions = tuple[FrameFunction, ...]

FORMATS = {
    "gif": "image/gif",
    "png": "image/png",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "mp4": "video/mp4",
}


@dataclass(frozen=True)
class Plan:
    """What a recipe means for one image, in pixels: the part to keep, and the size to give it."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int

    def scaled(self, x: float, y: float) -> "Plan":
        """The same part of an image that is `x` times as wide and `y` times as high."""
        return replace(
            self,
            left=(left := int(self.left * x)),
            top=(top := int(self.top * y)),
            right=max(left + 1, round(self.right * x)),
            bottom=max(top + 1, round(self.bottom * y)),
        )


@dataclass(frozen=True)
class Image:
    """The recipe that a version method gets and returns. Each call returns a new recipe."""

    sizes: tuple[tuple[str, int, int], ...] = ()
    content_type: str | None = None
    only_first_frame: bool = False
    functions: FrameFunctions = ()

    def fit(self, width: int, height: int) -> "Image":
        """Shrink to fit into width × height pixels, keeping the proportions. Never enlarges.

        CarrierWave's `resize_to_limit`.

        Raises:
          ValueError: a side is less than one pixel.
        """
        return self._sized("fit", width, height)

    def fill(self, width: int, height: int) -> "Image":
        """Shrink and crop around the centre to fill width × height pixels.

        CarrierWave's `resize_to_fill`. It never enlarges: of a smaller image it keeps the largest
        part that has these proportions.

        Raises:
          ValueError: a side is less than one pixel.
        """
        return self._sized("fill", width, height)

    def first_frame(self) -> "Image":
        """Keep only the first frame of an animation: a poster."""
        return replace(self, only_first_frame=True)

    def convert(self, format: str) -> "Image":
        """Convert to another format: `gif`, `png`, `jpeg`, `webp` or `mp4`.

        An animation becomes a still as JPEG. MP4 is for animations without transparency; the
        version is not made of any other image.

        Raises:
          ValueError: there is no such format.
          ModuleNotFoundError: the format is MP4, and PyAV is not installed (the extra `mp4`).
        """
        if format not in FORMATS:
            raise ValueError(f"no format is called {format!r}; choose one of {', '.join(FORMATS)}")
        if format == "mp4" and importlib.util.find_spec("av") is None:
            raise ModuleNotFoundError(
                "convert('mp4') needs PyAV, which is not installed: pip install 'gifster[mp4]'",
                name="av",
            )
        return replace(self, content_type=FORMATS[format])

    def apply(self, function: FrameFunction) -> "Image":
        """Call a function of yours with each resized frame, and use the frame that it returns.

        It gets a Pillow image of mode RGB or RGBA, and must keep its size. It gets the whole
        picture of every frame of an animation, which takes longer than only what changes.
        """
        return replace(self, functions=(*self.functions, function))

    def plan(self, width: int, height: int) -> Plan:
        """The plan for an image of width × height pixels."""
        left, top, right, bottom = 0.0, 0.0, float(width), float(height)
        now_width, now_height = right, bottom
        for kind, box_width, box_height in self.sizes:
            if kind == "fill":
                part_width = min(now_width, now_height * box_width / box_height)
                part_height = part_width * box_height / box_width
                per_pixel = (right - left) / now_width
                left, right = _middle(left, right, part_width * per_pixel)
                top, bottom = _middle(top, bottom, part_height * per_pixel)
                now_width, now_height = part_width, part_height
            scale = min(1.0, box_width / now_width, box_height / now_height)
            now_width, now_height = now_width * scale, now_height * scale
        return Plan(
            left := min(round(left), width - 1),
            top := min(round(top), height - 1),
            max(left + 1, round(right)),
            max(top + 1, round(bottom)),
            max(1, round(now_width)),
            max(1, round(now_height)),
        )

    def changes(self, width: int, height: int) -> bool:
        """Whether the recipe crops, resizes or otherwise changes the pixels of such an image."""
        same = Plan(0, 0, width, height, width, height)
        return bool(self.functions) or self.plan(width, height) != same

    def _sized(self, kind: str, width: int, height: int) -> "Image":
        if width < 1 or height < 1:
            raise ValueError(
                f"an image cannot have {width}×{height} pixels: both sides must be at least 1"
            )
        return replace(self, sizes=(*self.sizes, (kind, width, height)))


def _middle(start: float, end: float, length: float) -> tuple[float, float]:
    """The middle part of a range, of a given length."""
    margin = max(0.0, (end - start - length) / 2)
    return start + margin, end - margin
