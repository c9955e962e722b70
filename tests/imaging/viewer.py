"""GIFs written by hand, and what a viewer shows of an animation: the reference for `test_gif`."""

import random
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import PIL.Image
import PIL.ImageDraw
from PIL import ImageChops, ImageStat

from tests import images
from tests.imaging.recordings import ffmpeg

SIZE, HALF = (200, 140), (100, 70)
COLORS = [(230, 40, 60), (40, 160, 70), (50, 80, 220), (240, 200, 40), (20, 20, 30)]


#: Pictures, and for how long each is shown (ms).
Shown = list[tuple[PIL.Image.Image, int]]


class Source(NamedTuple):
    content: bytes
    #: What viewers show by GIF89a.
    shown: Shown


def drawn(seed: int, *, count: int = 12, disposals: str = "0123", holes: bool = True) -> Source:
    """A GIF written by hand, and what a viewer composes from it.

    Its frames have random places, disposal methods and palettes; some are interlaced.

    Parameters:
      disposals: the disposal methods to choose from.
      holes: whether there is transparency in what viewers show.
    """
    chance = random.Random(seed)
    content = bytearray(b"GIF89a" + words(*SIZE) + b"\x70\0\0")
    content += b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    canvas, shown = PIL.Image.new("RGBA", SIZE), []
    for number in range(count):
        whole = number == 0 and not holes
        size = SIZE if whole else (chance.randint(8, SIZE[0]), chance.randint(8, SIZE[1]))
        x, y = (chance.randint(0, SIZE[k] - size[k]) for k in (0, 1))
        colors = chance.sample(COLORS, len(COLORS))
        drawn = PIL.Image.new("L", size, chance.randrange(5) if not holes or number % 2 else 7)
        draw = PIL.ImageDraw.Draw(drawn)
        for _ in range(3):
            left, top = chance.randrange(size[0]), chance.randrange(size[1])
            draw.rectangle((left, top, left + 60, top + 40), chance.choice([0, 1, 2, 3, 4]))
        if holes or number:
            draw.rectangle((0, 0, size[0] // 3, size[1] // 3), 7)
        disposal, delay_ms = int(chance.choice(disposals)), chance.choice([20, 50, 70, 300])
        interlaced = chance.choice([0, 1])
        content += b"\x21\xf9\x04" + bytes([disposal << 2 | 1]) + words(delay_ms // 10) + b"\x07\0"
        content += b"\x2c" + words(x, y, *size) + bytes([0x82 | interlaced << 6])
        content += b"".join(bytes(color) for color in colors).ljust(24, b"\0")
        content += b"\x03" + drawn.tobytes("gif", "L", 3, interlaced) + b"\0"

        before = canvas.copy()
        picture = PIL.Image.new("RGB", size)
        for index, color in enumerate(colors):
            picture.paste(color, mask=drawn.point([255 * (at == index) for at in range(256)]))
        canvas.paste(picture, (x, y), drawn.point([255 * (at != 7) for at in range(256)]))
        shown.append((canvas.copy(), delay_ms))
        if disposal == 2:
            canvas.paste((0, 0, 0, 0), (x, y, x + size[0], y + size[1]))
        elif disposal == 3:
            canvas = before
    return Source(bytes(content) + b"\x3b", shown)


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "little") for number in numbers)


def decoded(path: Path, size: tuple[int, int], format: str = "gif") -> Shown:
    """The pictures that ffmpeg shows of an animation, and for how long (ms)."""
    raw = ffmpeg(
        "-f", format, "-i", path, "-fps_mode", "passthrough",
        "-f", "rawvideo", "-pix_fmt", "rgba", "-",
    )  # fmt: skip
    length = size[0] * size[1] * 4
    pictures = [
        PIL.Image.frombytes("RGBA", size, raw[start : start + length])
        for start in range(0, len(raw), length)
    ]
    delays, _ = images.timing(path.read_bytes())
    assert len(pictures) == len(delays)
    return list(zip(pictures, delays, strict=True))


def side_by_side(shown: Shown, wanted: Shown) -> Iterator[tuple[PIL.Image.Image, PIL.Image.Image]]:
    """Each two pictures that two animations of the same length show at the same time, once. There
    are some for each hundredth of a second, and most are those of the one before."""
    at_once = zip(_moments(shown), _moments(wanted), strict=True)
    return (next(pairs) for _, pairs in groupby(at_once, lambda pair: (id(pair[0]), id(pair[1]))))


def _moments(shown: Shown) -> list[PIL.Image.Image]:
    """The picture at each hundredth of a second."""
    return [picture for picture, delay_ms in shown for _ in range(delay_ms // 10)]


def assert_looks_like(made: PIL.Image.Image, wanted: PIL.Image.Image) -> None:
    """The transparent pixels must be the same, except for their edges, and the colours close."""
    wanted = wanted.resize(made.size, PIL.Image.Resampling.BICUBIC)
    alpha = wanted.getchannel("A")
    sure = alpha.point([255 * (value < 60 or value > 195) for value in range(256)])
    holes = ImageChops.difference(
        made.getchannel("A"), alpha.point([255 * (v >= 128) for v in range(256)])
    )
    assert ImageChops.darker(holes, sure).getbbox() is None
    solid = ImageChops.darker(
        made.getchannel("A"), alpha.point([255 * (v > 250) for v in range(256)])
    )
    if solid.getbbox():
        off = ImageChops.difference(made.convert("RGB"), wanted.convert("RGB"))
        # A small area is mostly edge, for which the palette has few colours
        small = ImageStat.Stat(solid).sum[0] / 255 < 500
        assert max(ImageStat.Stat(off, solid).mean) < (25 if small else 12)
