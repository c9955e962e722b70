"""What an image looks like from afar, in a few bytes: something to show until it has loaded."""

import base64
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import PIL.ImageOps
from thumbhash import rgba_to_thumb_hash

from gifster.uploads.errors import Unreadable

#: ThumbHash takes at most 100 × 100 pixels; fewer give the same hash in less time.
SIDE = 64
COLORS = 8


@dataclass(frozen=True)
class Placeholder:
    """The colour that covers most of an image, as `#rrggbb`; and its ThumbHash, in base64."""

    color: str
    thumbhash: str


def placeholder(path: Path) -> Placeholder:
    """The placeholder of an image, of its first frame if it moves.

    The ThumbHash is Evan Wallace's (about 25 bytes: the picture blurred, its proportions, its
    transparency). The dominant colour is the commonest of a palette of eight, of what is not
    transparent.

    Raises:
      Unreadable: Pillow cannot decode it.
    """
    try:
        with PIL.Image.open(path) as image:
            image.draft("RGB", (SIDE * 2, SIDE * 2))
            small = PIL.ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, SyntaxError, ValueError, EOFError, PIL.Image.DecompressionBombError) as error:
        raise Unreadable("The image is damaged: it cannot be decoded.") from error
    small.thumbnail((SIDE, SIDE), PIL.Image.Resampling.BOX)
    thumbhash = bytes(rgba_to_thumb_hash(small.width, small.height, small.tobytes()))
    return Placeholder(_dominant(small), base64.b64encode(thumbhash).decode("ascii"))


def _dominant(image: PIL.Image.Image) -> str:
    pixels = image.tobytes()
    solid = b"".join(pixels[i : i + 3] for i in range(0, len(pixels), 4) if pixels[i + 3] >= 128)
    if not solid:
        return "#ffffff"
    row = PIL.Image.frombytes("RGB", (len(solid) // 3, 1), solid)
    reduced = row.quantize(COLORS, PIL.Image.Quantize.MEDIANCUT)
    counts = reduced.histogram()
    start = 3 * counts.index(max(counts))
    return "#" + bytes((reduced.getpalette() or [])[start : start + 3]).hex()
