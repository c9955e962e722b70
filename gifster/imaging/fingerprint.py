"""The fingerprint of an image: a few bytes that find near duplicates, and a tiny placeholder.

`Fingerprinter` computes it from a few frames. Two images are near duplicates if their difference
hashes differ in few bits. `placeholder()` turns the ThumbHash into a blurred picture that a page
shows until the image has loaded.
"""

import base64
import functools
import io
from dataclasses import dataclass
from itertools import pairwise

import PIL.Image
from thumbhash import rgba_to_thumb_hash, thumb_hash_to_rgba

from gifster.imaging.image_info import ImageInfo
from gifster.imaging.masks import opaque_mask, pixels_under
from gifster.imaging.padding import Backdrop
from gifster.imaging.plan import Plan
from gifster.imaging.renamed import aliases

#: ThumbHash takes at most 100 × 100 pixels. Fewer give the same hash in less time.
_MAX_SIDE = 64
_COLORS = 8
#: The difference hash is of the mean of so many frames, spread over the whole animation: many
#: animations begin black, or with the same title.
_SAMPLED_FRAMES = 8


@dataclass(frozen=True)
class Fingerprint:
    """What an image looks like, in a few bytes.

    Attributes:
      color: the dominant colour of the first frame, as `#rrggbb`: the commonest of a palette of
        eight, transparent pixels excluded.
      thumbhash: Evan Wallace's ThumbHash of the first frame, in base64: about 25 bytes for the
        blurred picture, its proportions and its transparency.
      dhash: Neal Krawetz's difference hash (dHash, 2013) of the mean of some frames over white, as
        16 hexadecimal digits. Near duplicates differ in few bits. It is all zeros if there is
        nothing to see.
    """

    color: str
    thumbhash: str
    dhash: str


def has_alpha(thumbhash: str) -> bool:
    """Whether the image of a ThumbHash in base64 has transparency (its 24th bit says so)."""
    return bool(base64.b64decode(thumbhash)[2] & 0x80)


@functools.lru_cache(4096)
def placeholder(thumbhash: str | None) -> str:
    """A ThumbHash as a data URI: a tiny WebP, about 32 pixels wide, to show behind the image.

    It is empty for None, and for a ThumbHash with transparency, which would shine through.

    Raises:
      ValueError: this is no ThumbHash in base64.
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


class Fingerprinter:
    """Computes the fingerprint of an image from its frames.

    Parameters:
      info: what `probe()` returned for it.
      plan: the part of it that counts for the difference hash.
      shown: the part of it that counts for the colour and the ThumbHash; by default the same.
    """

    def __init__(self, info: ImageInfo, plan: Plan, shown: Plan | None = None) -> None:
        steps = max(1, min(_SAMPLED_FRAMES, info.frames) - 1)
        self._sampled = {round(step * (info.frames - 1) / steps) for step in range(steps + 1)}
        #: The smallest size that `add()` needs.
        self.plan = _small(plan)
        self._shown = _small(shown or plan)
        self._info = info
        self._first: PIL.Image.Image | None = None
        #: The brightness of 9 × 8 fields, summed over the sampled frames.
        self._brightness = [0] * (9 * 8)

    def add(self, number: int, picture: PIL.Image.Image) -> None:
        """Take a frame into account: RGB or RGBA, in the source's proportions, of any size."""
        if number not in self._sampled:
            return
        thumbnail = self._thumbnail(picture, self.plan)
        on_white = PIL.Image.new("RGBA", thumbnail.size, "white")
        on_white.alpha_composite(thumbnail)
        fields = on_white.convert("L").resize((9, 8), PIL.Image.Resampling.BOX).tobytes()
        self._brightness = [sum(pair) for pair in zip(self._brightness, fields, strict=True)]

    def show(self, picture: PIL.Image.Image) -> None:
        """Take the colour and the ThumbHash of a picture: RGB or RGBA, in the source's proportions,
        of any size."""
        self._first = self._thumbnail(picture, self._shown)

    def _thumbnail(self, picture: PIL.Image.Image, plan: Plan) -> PIL.Image.Image:
        x, y = picture.width / self._info.width, picture.height / self._info.height
        plan = plan.scaled(x, y)
        size = plan.width, plan.height
        resized = picture.resize(size, PIL.Image.Resampling.BOX, plan.part, reducing_gap=2)
        if plan.padding is not None:
            resized = Backdrop(plan.padding).whole(resized)
        return resized.convert("RGBA")

    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the frames that were added.

        Raises:
          LookupError: no picture was shown.
        """
        if self._first is None:
            raise LookupError("no picture was shown: call show() first")
        thumbhash = rgba_to_thumb_hash(*self._first.size, self._first.tobytes())
        encoded = base64.b64encode(bytes(thumbhash)).decode("ascii")
        return Fingerprint(_dominant_color(self._first), encoded, _dhash(self._brightness))


def _small(plan: Plan) -> Plan:
    return plan.shrunk(min(1.0, _MAX_SIDE / max(plan.size)))


def _dominant_color(picture: PIL.Image.Image) -> str:
    pixels = pixels_under(opaque_mask(picture), picture.convert("RGB"))
    if pixels is None:
        return "#ffffff"
    reduced = pixels.quantize(_COLORS, PIL.Image.Quantize.MEDIANCUT)
    counts = reduced.histogram()
    start = 3 * counts.index(max(counts))
    return "#" + bytes((reduced.getpalette() or [])[start : start + 3]).hex()


def _dhash(brightness: list[int]) -> str:
    """One bit for each field: whether it is brighter than the one to its right."""
    rows = [brightness[at : at + 9] for at in range(0, len(brightness), 9)]
    bits = [left > right for row in rows for left, right in pairwise(row)]
    return f"{sum(bit << at for at, bit in enumerate(bits)):016x}"


__getattr__ = aliases(
    __name__,
    {
        "Looks": "gifster.imaging.Fingerprint",
        "Glimpses": "gifster.imaging.fingerprint.Fingerprinter",
    },
)
