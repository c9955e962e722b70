"""What a version asks for. Calls are recorded, not carried out: the engines do that later."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import PIL.Image

#: What `Image.apply()` takes: a frame in, a frame out.
FrameFunction = Callable[[PIL.Image.Image], PIL.Image.Image]

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
    """What a recipe comes to for one image, in pixels: a part of it, brought to a size."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int

    def scaled(self, x: float, y: float) -> "Plan":
        """The same of an image that is so many times as wide and as high."""
        return replace(
            self,
            left=(left := int(self.left * x)),
            top=(top := int(self.top * y)),
            right=max(left + 1, round(self.right * x)),
            bottom=max(top + 1, round(self.bottom * y)),
        )


@dataclass(frozen=True)
class Image:
    """The image that a version method is handed, and gives back changed."""

    sizes: tuple[tuple[str, int, int], ...] = ()
    content_type: str | None = None
    only_first_frame: bool = False
    functions: tuple[FrameFunction, ...] = ()

    def fit(self, width: int, height: int) -> "Image":
        """Shrink to lie within width × height pixels, keeping the proportions. Never enlarges.

        CarrierWave's `resize_to_limit`.
        """
        return self._sized("fit", width, height)

    def fill(self, width: int, height: int) -> "Image":
        """Shrink and cut off what hangs over, the middle staying, to fill width × height pixels.

        CarrierWave's `resize_to_fill`. Never enlarges: of a smaller image the largest part of these
        proportions is taken.
        """
        return self._sized("fill", width, height)

    def first_frame(self) -> "Image":
        """Only the first picture of an animation: a poster."""
        return replace(self, only_first_frame=True)

    def convert(self, format: str) -> "Image":
        """Another format: `gif`, `png`, `jpeg`, `webp` or `mp4`.

        Of an animation, JPEG has one frame. MP4 is for animations without transparency: of anything
        else there is no such version.
        """
        if format not in FORMATS:
            raise ValueError(f"no format is called {format!r} (known: {', '.join(FORMATS)})")
        return replace(self, content_type=FORMATS[format])

    def apply(self, function: FrameFunction) -> "Image":
        """Hand each frame, resized, to a function of yours, and take what it returns.

        It is given a Pillow image of mode RGB or RGBA, and must keep its size. Of an animation it
        is given all frames, whole, which takes longer than working on what changes.
        """
        return replace(self, functions=(*self.functions, function))

    def plan(self, width: int, height: int) -> Plan:
        """What comes of an image of width × height pixels."""
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
        """Whether anything but the format is to be done to an image of that size."""
        same = Plan(0, 0, width, height, width, height)
        return bool(self.functions) or self.plan(width, height) != same

    def _sized(self, kind: str, width: int, height: int) -> "Image":
        if width < 1 or height < 1:
            raise ValueError(f"a box of {width}×{height} pixels holds no image")
        return replace(self, sizes=(*self.sizes, (kind, width, height)))


def _middle(start: float, end: float, keep: float) -> tuple[float, float]:
    over = max(0.0, (end - start - keep) / 2)
    return start + over, end - over
