"""Recipes: what a version asks for. A recipe records calls; `rendering` carries them out later."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import PIL.Image

from gifster.imaging.padding import Color
from gifster.imaging.plan import Gravity, Layout, Plan, share_before
from gifster.imaging.timing import WHOLE, Timing

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
    "webm": "video/webm",
}
#: The formats of films, which PyAV writes.
_FILMS = ("mp4", "webm")

#: What is made of the types that not every browser shows.
_SHOWN_AS = {
    "image/bmp": "image/png", "image/tiff": "image/png", "image/heic": "image/jpeg",
    "video/mp4": "image/gif", "video/x-m4v": "image/gif", "video/quicktime": "image/gif",
    "video/webm": "image/gif",
}  # fmt: skip

#: What gives a picture another size: a method of `Layout`, and its arguments.
Step = tuple[str, tuple[Any, ...], tuple[tuple[str, Any], ...]]


@dataclass(frozen=True)
class Image:
    """The recipe that a version method gets and returns. Each call returns a new recipe.

    Attributes:
      steps: the changes of size, in the order of the calls.
      content_type: the format to convert to; None keeps the original's.
      only_first_frame: whether an animation becomes a still.
      functions: those of `apply()`, in the order of the calls.
    """

    steps: tuple[Step, ...] = ()
    content_type: str | None = None
    only_first_frame: bool = False
    functions: FrameFunctions = ()
    #: The quality of lossy formats (1 to 100); None is what suits each format.
    percent: int | None = None
    #: Which part of an animation, and how many frames a second at most.
    timing: Timing = WHOLE

    def fit(self, width: int | None, height: int | None, *, enlarge: bool = False) -> "Image":
        """Scale to fit into width × height pixels, keeping the proportions.

        CarrierWave's `resize_to_limit`, or with `enlarge` its `resize_to_fit`.

        Parameters:
          width, height: of the box (pixels). If one is None, only the other counts.
          enlarge: whether a smaller image is enlarged. By default it keeps its size.

        Raises:
          ValueError: a side is less than one pixel, or both are None.
        """
        if width is None and height is None:
            raise ValueError("fit(None, None) changes nothing: give at least one side")
        return self._with_step("fit", (width, height), enlarge=enlarge)

    def fill(
        self, width: int, height: int, gravity: Gravity = "center", *, enlarge: bool = False
    ) -> "Image":
        """Scale and crop to fill width × height pixels.

        CarrierWave's `resize_to_fill`, which always enlarges.

        Parameters:
          width, height: of the box (pixels).
          gravity: the side or corner that is kept.
          enlarge: whether a smaller image is enlarged. By default the result of a smaller image is
            its largest part that has these proportions.

        Raises:
          ValueError: a side is less than one pixel, or there is no such gravity.
        """
        share_before(gravity)
        return self._with_step("fill", (width, height), gravity, enlarge=enlarge)

    def crop(self, width: int, height: int, x: int = 0, y: int = 0) -> "Image":
        """Keep a box of width × height pixels whose left upper corner is at x, y.

        CarrierWave's `crop(x, y, width, height)`. The result is smaller if the box does not lie
        wholly on the picture, and has one pixel at least.

        Parameters:
          width, height: of the box (pixels).
          x, y: how far it is from the left and upper edge of the picture (pixels). These are of the
            picture as it is at this step: upright, and after the calls before this one.

        Raises:
          ValueError: a side is less than one pixel, or `x` or `y` is negative.
        """
        if x < 0 or y < 0:
            raise ValueError(f"a box cannot begin at {x}, {y}: both must be at least 0")
        return self._with_step("crop", (width, height), x, y)

    def pad(
        self,
        width: int,
        height: int,
        background: str | None = None,
        gravity: Gravity = "center",
        *,
        enlarge: bool = False,
    ) -> "Image":
        """Shrink to fit into width × height pixels, and fill the rest of them with a colour.

        CarrierWave's `resize_and_pad`, which always enlarges. The result has exactly this size.

        Parameters:
          width, height: of the result (pixels).
          background: a colour as in CSS, such as `#ff8800` or `white`. It also shows through a
            transparent picture. None is transparent, and white in JPEG.
          gravity: the side or corner at which the picture lies.
          enlarge: whether a smaller image is enlarged first.

        Raises:
          ValueError: a side is less than one pixel, or there is no such colour or gravity.
        """
        share_before(gravity)
        color = None if background in (None, "transparent") else _color(background or "")
        return self._with_step("pad", (width, height), color, gravity, enlarge=enlarge)

    def quality(self, percent: int) -> "Image":
        """Encode with this quality, and so many bytes (CarrierWave's `combine_options`).

        It matters for JPEG, WebP, AVIF, GIF, MP4 and WebM. PNG keeps every pixel.

        Parameters:
          percent: 1 to 100. By default it suits the format: 85 for most.

        Raises:
          ValueError: it is outside of 1 to 100.
        """
        if not 1 <= percent <= 100:
            raise ValueError(f"quality is {percent}: use 1 to 100")
        return replace(self, percent=percent)

    def trim(self, start_s: float = 0, end_s: float | None = None) -> "Image":
        """Keep the part of an animation from `start_s` to `end_s`. A still stays as it is.

        Parameters:
          start_s, end_s: in seconds of the animation as it is at this step: the second of two calls
            keeps a part of what the first keeps. None is its end. If the animation is shorter than
            `start_s`, its last frame is kept.

        Raises:
          ValueError: the start is negative, or not before the end.
        """
        if start_s < 0 or (end_s is not None and end_s <= start_s):
            raise ValueError(
                f"trim from {start_s} to {end_s} s: the start must come before the end"
            )
        end_ms = None if end_s is None else round(end_s * 1000)
        return replace(self, timing=self.timing.part(round(start_s * 1000), end_ms))

    def fps(self, most: float) -> "Image":
        """Show at most so many frames a second of an animation (frame rate). The lower of
        two calls counts.

        A GIF, WebP, AVIF or PNG that is made of a video has at most 15, unless this says otherwise,
        and never more than 90.

        Raises:
          ValueError: it is not positive.
        """
        if most <= 0:
            raise ValueError(f"fps is {most}: an animation needs more than 0 frames a second")
        lower = min(most, self.timing.most_fps or most)
        return replace(self, timing=replace(self.timing, most_fps=lower))

    def first_frame(self) -> "Image":
        """Keep only the first frame of an animation, after `trim()`: a poster."""
        return replace(self, only_first_frame=True)

    def convert(self, format: str) -> "Image":
        """Convert to another format: `gif`, `png`, `jpeg`, `webp`, `mp4` or `webm`.

        An animation becomes a still as JPEG. What is transparent becomes white in JPEG and MP4. MP4
        and WebM are for animations; the version is not made of any other image.

        Raises:
          ValueError: there is no such format.
          ModuleNotFoundError: the format is MP4 or WebM, and PyAV is not installed (the extra
            `mp4`).
        """
        if format not in FORMATS:
            raise ValueError(f"no format is called {format!r}; choose one of {', '.join(FORMATS)}")
        if format in _FILMS and importlib.util.find_spec("av") is None:
            raise ModuleNotFoundError(
                f"convert({format!r}) needs PyAV, which is not installed: "
                "pip install 'gifster[mp4]'",
                name="av",
            )
        return replace(self, content_type=FORMATS[format])

    def result_type(self, content_type: str) -> str:
        """The content type of what this recipe makes of a picture of a content type.

        It is the same one, unless the recipe converts, or not every browser shows it as a picture:
        a BMP or TIFF becomes a PNG, a HEIC a JPEG, and a video a GIF.
        """
        return self.content_type or _SHOWN_AS.get(content_type, content_type)

    def apply(self, function: FrameFunction) -> "Image":
        """Call a function of yours with each resized frame, and use the frame that it returns.

        It gets a Pillow image of mode RGB or RGBA, and must keep its size. It gets the whole
        picture of every frame of an animation, which takes longer than only what changes.
        """
        return replace(self, functions=(*self.functions, function))

    def plan(self, width: int, height: int) -> Plan:
        """The plan for an image of width × height pixels."""
        layout = Layout(width, height)
        for name, arguments, options in self.steps:
            getattr(layout, name)(*arguments, **dict(options))
        return layout.plan()

    def changes(self, width: int, height: int) -> bool:
        """Whether the recipe crops, resizes or otherwise changes the pixels of such an image."""
        same = Plan(0, 0, width, height, width, height)
        return bool(self.functions) or self.plan(width, height) != same

    def encodes(self, width: int, height: int) -> bool:
        """Whether such an image must be encoded anew, even if it keeps its format."""
        return self.percent is not None or self.changes(width, height)

    def _with_step(
        self, name: str, box: tuple[int | None, int | None], *more: Any, **options: Any
    ) -> "Image":
        width, height = box
        for side in box:
            if isinstance(side, str):  # of a form or a query
                raise TypeError(f"a side is the text {side!r}: give a number of pixels")
        if any(side is not None and side < 1 for side in box):
            raise ValueError(
                f"an image cannot have {width}×{height} pixels: both sides must be at least 1"
            )
        return replace(self, steps=(*self.steps, (name, (*box, *more), tuple(options.items()))))


def _color(name: str) -> Color:
    import PIL.ImageColor  # noqa: PLC0415 few recipes need it

    try:
        red, green, blue, *opacity = PIL.ImageColor.getrgb(name)
    except ValueError:
        raise ValueError(
            f"background is {name!r}: use a colour as in CSS, such as '#ff8800' or 'white'"
        ) from None
    return (red, green, blue, opacity[0] if opacity else 255)
