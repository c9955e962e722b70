"""What an image looks like from afar, in a few bytes: something to show until it has loaded, and
something by which others like it are found."""

import base64
import functools
import io
from dataclasses import dataclass, replace
from itertools import pairwise

import PIL.Image
from thumbhash import rgba_to_thumb_hash, thumb_hash_to_rgba

from gifster.imaging.masks import solid, under
from gifster.imaging.probe import ImageInfo
from gifster.imaging.recipe import Plan

#: ThumbHash takes at most 100 × 100 pixels; fewer give the same hash in less time.
SIDE = 64
COLORS = 8
#: Of so many frames of an animation, spread over the whole, the mean is hashed: many begin black,
#: or with the same picture.
_FRAMES = 8


@dataclass(frozen=True)
class Looks:
    """The colour that covers most of an image, as `#rrggbb`; its ThumbHash, in base64; and its
    difference hash, 16 hexadecimal digits, of which two alike images differ in few bits.

    The ThumbHash is Evan Wallace's (about 25 bytes: the picture blurred, its proportions, its
    transparency). The dominant colour is the commonest of a palette of eight, of what is not
    transparent. Both are of the first frame. The difference hash is Neal Krawetz's (dHash, 2013),
    of the mean of some frames, over white; all zeros say that there is nothing to be seen.
    """

    color: str
    thumbhash: str
    dhash: str


@functools.lru_cache(4096)
def placeholder(thumbhash: str | None) -> str:
    """A ThumbHash as a data URI of a tiny WebP: the picture, blurred, about 32 pixels wide, to lie
    where the image is going to be. Empty where there is none, or where it has transparency: it
    would shine through.

    Raises:
      ValueError: that is no ThumbHash in base64.
    """
    if thumbhash is None:
        return ""
    width, height, pixels = thumb_hash_to_rgba(base64.b64decode(thumbhash))
    if min(pixels[3::4]) < 255:
        return ""
    tiny = io.BytesIO()
    PIL.Image.frombytes("RGBA", (width, height), bytes(pixels)).convert("RGB").save(
        tiny, "WEBP", quality=30
    )
    return "data:image/webp;base64," + base64.b64encode(tiny.getvalue()).decode("ascii")


class Glimpses:
    """Looks at some frames of an image.

    Parameters:
      info: what `probe()` said about it.
      plan: the part of it that counts.
    """

    def __init__(self, info: ImageInfo, plan: Plan) -> None:
        steps = max(1, min(_FRAMES, info.frames) - 1)
        self._wanted = {round(step * (info.frames - 1) / steps) for step in range(steps + 1)}
        scale = min(1.0, SIDE / max(plan.width, plan.height))
        width, height = max(1, round(plan.width * scale)), max(1, round(plan.height * scale))
        #: How small it may be to be looked at.
        self.plan = replace(plan, width=width, height=height)
        self._info = info
        self._first: PIL.Image.Image | None = None
        #: The brightness of 9 × 8 fields, summed over the frames.
        self._greys = [0] * (9 * 8)

    def see(self, number: int, picture: PIL.Image.Image) -> None:
        """Look at a frame (RGB or RGBA; it may be a smaller one of the same proportions)."""
        if number not in self._wanted:
            return
        small = self._small(picture)
        self._first = self._first or small
        white = PIL.Image.new("RGBA", small.size, "white")
        white.alpha_composite(small)
        grey = white.convert("L").resize((9, 8), PIL.Image.Resampling.BOX)
        self._greys = [sum(pair) for pair in zip(self._greys, grey.tobytes(), strict=True)]

    def _small(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        x, y = picture.width / self._info.width, picture.height / self._info.height
        plan = self.plan.scaled(x, y)
        box = plan.left, plan.top, plan.right, plan.bottom
        size = plan.width, plan.height
        resized = picture.resize(size, PIL.Image.Resampling.BOX, box, reducing_gap=2)
        return resized.convert("RGBA")

    def looks(self) -> Looks:
        """What has been seen; at least one frame must have been."""
        if self._first is None:
            raise LookupError("no frame has been seen")
        thumbhash = rgba_to_thumb_hash(*self._first.size, self._first.tobytes())
        encoded = base64.b64encode(bytes(thumbhash)).decode("ascii")
        return Looks(_dominant(self._first), encoded, _dhash(self._greys))


def _dominant(image: PIL.Image.Image) -> str:
    row = under(solid(image), image.convert("RGB"))
    if row is None:
        return "#ffffff"
    reduced = row.quantize(COLORS, PIL.Image.Quantize.MEDIANCUT)
    counts = reduced.histogram()
    start = 3 * counts.index(max(counts))
    return "#" + bytes((reduced.getpalette() or [])[start : start + 3]).hex()


def _dhash(greys: list[int]) -> str:
    """Of each field whether it is brighter than the one right of it."""
    rows = [greys[at : at + 9] for at in range(0, len(greys), 9)]
    bits = [left > right for row in rows for left, right in pairwise(row)]
    return f"{sum(bit << at for at, bit in enumerate(bits)):016x}"
