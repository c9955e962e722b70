"""Scale what each frame of an animation changes to one size.

A scaler resizes only the changed box, with exactly the pixels that resizing the whole picture
would give. A small size is made from a larger one where there is one, rather than from the source.
"""

import math

import PIL.Image
from PIL.Image import Resampling

from gifster.imaging.boxes import Box, is_empty
from gifster.imaging.frame import Frame
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.masks import without_alpha
from gifster.imaging.padding import Backdrop
from gifster.imaging.palette import PaletteSamples
from gifster.imaging.patches import UNCHANGED, Canvas, Patch
from gifster.imaging.plan import Plan
from gifster.imaging.recipe import FrameFunctions

#: The filter, and how far it reaches, in pixels of the smaller picture.
_FILTER, _REACH = Resampling.BICUBIC, 2
#: Pillow takes twice as long for transparent pictures. A narrower filter gives the same quality
#: where they are shrunk by much. The other one swings at sharp edges, so pixels beside those of a
#: noisy alpha would become opaque and transparent in turns, which takes very many bytes.
_NARROW_FILTER, _NARROW_FROM = Resampling.HAMMING, 1.5
#: A version is made from a larger one if that is at least so many times as wide.
_MIN_SHRINK = 1.5


class Scaler:
    """Scales the changes of each frame to one size.

    Parameters:
      plan: the part of the picture, and its size.
      functions: the caller's functions that get each frame afterwards.
      info: facts of the source.
      larger: the scaler whose result this one shrinks; None means the source itself.
      averages: whether pixels are averaged; if not, each is one of the source.
    """

    def __init__(
        self,
        plan: Plan,
        functions: FrameFunctions,
        info: ImageInfo,
        larger: "Scaler | None" = None,
        *,
        averages: bool = True,
    ) -> None:
        self._plan, self._functions, self._larger = plan, functions, larger
        self._averages = averages
        self.size = plan.size
        #: The picture, and the canvas around it, if there is one.
        self._inner = (plan.width, plan.height)
        self._backdrop = None if plan.padding is None else Backdrop(plan.padding)
        self._crop: Box = plan.part if larger is None else (0, 0, *larger.size)
        #: The pixels of this size as a fraction of the source's.
        self.area_ratio = plan.width * plan.height / (info.width * info.height)
        #: Whether the pixels of the source are opaque, or transparent and black (`gif_frames`).
        self._is_multiplied = larger is None and info.content_type == "image/gif"
        self._has_smaller = False
        #: The largest scaler whose palette is the same.
        self._largest = self
        #: Scalers that are made from one another share the samples of their palettes. A canvas has
        #: further colours, and so has what functions return.
        self.samples: PaletteSamples
        if larger is not None and plan.padding is None and not functions:
            self.samples, larger._has_smaller = larger.samples, True
            self._largest = larger._largest
        else:
            self.samples = PaletteSamples(info, plan.padding.solid if plan.padding else ())
        #: The whole picture now, and the last patch.
        self._canvas, self._patch = Canvas(self.size), UNCHANGED

    def needs_palette(self) -> None:
        """Say that the samples of the palette are going to be used."""
        self.samples.are_needed = True

    def makes(self, plan: Plan, functions: FrameFunctions) -> bool:
        """Whether the result of this scaler is exactly what a plan asks for."""
        return (self._plan, self._functions) == (plan, functions)

    def shows_same(self, other: "Scaler") -> bool:
        """Whether another scaler shows the same part of each frame, and nothing else on it."""
        is_drawn_on = bool(self._functions or other._functions)
        return self._plan.part == other._plan.part and not is_drawn_on

    def can_feed(self, plan: Plan) -> bool:
        """Whether a smaller version can be made from the result of this scaler."""
        mine = self._plan
        is_picture = mine.padding is None and not self._functions
        return is_picture and mine.part == plan.part and mine.width >= plan.width * _MIN_SHRINK

    def patch(self, number: int, frame: Frame) -> Patch:
        """What a frame changes in this size. Call the larger scaler with the frame first."""
        if self._larger is None:
            self._patch = self._finished(self._resize(frame.picture, frame.changed))
        else:
            changed, canvas = self._larger._patch, self._larger._canvas.picture
            self._patch = UNCHANGED
            if changed.picture is not None and canvas is not None:
                self._patch = self._finished(self._resize(canvas, changed.box))
        self._canvas.paint(self._patch)
        if self._feeds_samples and self._canvas.picture is not None:
            largest = self._largest._canvas.picture or self._canvas.picture
            self.samples.add(number, self._canvas.picture, self._patch.picture, largest)
        return self._patch

    @property
    def _feeds_samples(self) -> bool:
        return self.samples.are_needed and not self._has_smaller

    def _finished(self, patch: Patch) -> Patch:
        """A patch of the picture as a patch of the canvas, and through the caller's functions."""
        made, box = patch
        if made is None:
            return patch
        if self._backdrop is not None:
            if self._functions or self._canvas.picture is None:  # it must be whole
                made, box = self._backdrop.whole(made), (0, 0, *self.size)
            elif self._backdrop.is_all:
                return UNCHANGED
            else:
                box = self._backdrop.place(box)
                made = self._backdrop.behind(made, box)
        for function in self._functions:
            made = function(made)
        if self._functions:
            made = made.copy()  # they may draw on it again
        return Patch(made if made.mode in ("RGB", "RGBA") else made.convert("RGBA"), box)

    def _resize(self, picture: PIL.Image.Image, changed: Box) -> Patch:
        """Resize the changed box of a picture, and as much around it as the filter needs."""
        left, top, right, bottom = self._crop
        scale_x, scale_y = (right - left) / self._inner[0], (bottom - top) / self._inner[1]
        reach_x, reach_y = _REACH * max(1.0, scale_x), _REACH * max(1.0, scale_y)
        if is_empty(changed):
            return UNCHANGED
        if self._functions:
            changed = self._crop  # they may use the whole picture
        box = (
            max(0, math.floor((changed[0] - reach_x - left) / scale_x)),
            max(0, math.floor((changed[1] - reach_y - top) / scale_y)),
            min(self._inner[0], math.ceil((changed[2] + reach_x - left) / scale_x)),
            min(self._inner[1], math.ceil((changed[3] + reach_y - top) / scale_y)),
        )
        if is_empty(box):
            return UNCHANGED  # outside the part that is kept
        # The box in pixels of the picture, and with the filter's reach around it.
        exact = (left + box[0] * scale_x, top + box[1] * scale_y,
                 left + box[2] * scale_x, top + box[3] * scale_y)  # fmt: skip
        around = (
            max(left, math.floor(exact[0] - reach_x)),
            max(top, math.floor(exact[1] - reach_y)),
            min(right, math.ceil(exact[2] + reach_x)),
            min(bottom, math.ceil(exact[3] + reach_y)),
        )
        is_whole = around == (0, 0, *picture.size)
        piece = without_alpha(picture if is_whole else picture.crop(around))
        inner = (exact[0] - around[0], exact[1] - around[1],
                 min(exact[2], right) - around[0], min(exact[3], bottom) - around[1])  # fmt: skip
        size = box[2] - box[0], box[3] - box[1]
        if not self._averages:
            return Patch(piece.resize(size, Resampling.NEAREST, box=inner), box)
        narrow = piece.mode == "RGBA" and min(scale_x, scale_y) >= _NARROW_FROM
        filter = _NARROW_FILTER if narrow else _FILTER
        if piece.mode == "RGBA" and self._is_multiplied:
            return Patch(_resized(piece, size, filter, inner), box)
        return Patch(piece.resize(size, filter, box=inner), box)


def _resized(
    picture: PIL.Image.Image,
    size: tuple[int, int],
    filter: Resampling,
    box: tuple[float, float, float, float],
) -> PIL.Image.Image:
    """An RGBA picture in another size, as `resize()` makes it, if its colours are those that are
    multiplied by its alpha. Pillow would multiply all of them, which takes as long as the rest."""
    picture.load()
    multiplied = picture._new(picture.im.resize(size, filter, box)).tobytes()
    return PIL.Image.frombytes("RGBa", size, multiplied).convert("RGBA")
