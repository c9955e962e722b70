"""Images that the tests make themselves, and the facts of given ones.

Images are kept for the next test: Pillow takes several ms to choose the palette of one frame.
"""

import functools
import io
import random
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageSequence
from PIL import ImageChops, ImageStat

from gifster import imaging
from gifster.imaging import Image, ImageInfo
from gifster.imaging.probe import probe


def frames(size: tuple[int, int], count: int, *, mode: str = "RGB") -> list[PIL.Image.Image]:
    """Frames that all differ: a square that moves over a gradient."""
    made = []
    for index in range(count):
        frame = PIL.Image.linear_gradient("L").resize(size).convert(mode)
        draw = PIL.ImageDraw.Draw(frame)
        x = (index * 37) % max(1, size[0] - 20)
        draw.rectangle((x, 5, x + 20, 25), fill=(230, 30 + 20 * (index % 10), 60, 255)[: len(mode)])
        made.append(frame)
    return made


def gif(
    size: tuple[int, int] = (120, 90), durations: list[int] | None = None, loop: int | None = 0
) -> bytes:
    """An animated GIF with a frame for each of the durations (ms); None writes no loop count."""
    return _gif(size, tuple(durations or [50] * 4), loop)


@functools.lru_cache(256)
def _gif(size: tuple[int, int], durations: tuple[int, ...], loop: int | None) -> bytes:
    made = frames(size, len(durations))
    options = {} if loop is None else {"loop": loop}
    return _saved(
        made[0], "GIF", save_all=True, append_images=made[1:], duration=list(durations), **options
    )


@functools.lru_cache(2)
def noisy_gif(size: tuple[int, int], count: int) -> bytes:
    """An animated GIF that compresses badly: about one byte for each pixel of each frame."""
    source = random.Random(1)
    made = [
        PIL.Image.frombytes("P", size, source.randbytes(size[0] * size[1])) for _ in range(count)
    ]
    for frame in made:
        frame.putpalette(bytes(range(256)) * 3)
    return _saved(made[0], "GIF", save_all=True, append_images=made[1:], duration=50, loop=0)


@functools.lru_cache(256)
def still(format: str, size: tuple[int, int] = (300, 200), mode: str = "RGB") -> bytes:
    return _saved(frames(size, 1, mode=mode)[0], format)


def heic(size: tuple[int, int] = (300, 200)) -> bytes:
    """A still by pillow-heif (the extra `heic`)."""
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(frames(size, 1)[0]).save(buffer, quality=60)
    return buffer.getvalue()


def animated(format: str, durations: list[int], size: tuple[int, int] = (300, 200)) -> bytes:
    return _animated(format, tuple(durations), size)


@functools.lru_cache(256)
def _animated(format: str, durations: tuple[int, ...], size: tuple[int, int]) -> bytes:
    made = frames(size, len(durations), mode="RGBA")
    return _saved(
        made[0], format, save_all=True, append_images=made[1:], duration=list(durations), loop=2
    )


def saved(frames: list[PIL.Image.Image], path: Path, format: str = "GIF") -> Path:
    """The path of a file with an animation of these frames, of 50 ms each."""
    frames[0].save(path, format, save_all=True, append_images=frames[1:], duration=50)
    return path


def huge_header(width: int = 65535, height: int = 65535) -> bytes:
    """A small GIF with a header that announces a huge one."""
    made = bytearray(gif())
    made[6:10] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return bytes(made)


def make(source: Path, recipes: dict[Path, Image], info: ImageInfo | None = None) -> list[Path]:
    """Make versions in a sandbox. Returns the paths of those that were made."""
    rendering = imaging.render(source, info or probe(source), recipes, Image())
    return [made for made in rendering if isinstance(made, Path)]


def timing(content: bytes) -> tuple[list[int], int | None]:
    """The frames' durations (ms) and the loop count, read by Pillow."""
    with PIL.Image.open(io.BytesIO(content)) as image:
        durations = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()  # a WebP frame has no duration before this
            durations.append(int(image.info.get("duration") or 0))
        return durations, image.info.get("loop")


def pixels(content: bytes) -> list[bytes]:
    """The pixels of each frame (RGBA), read by Pillow."""
    with PIL.Image.open(io.BytesIO(content)) as image:
        return [frame.convert("RGBA").tobytes() for frame in PIL.ImageSequence.Iterator(image)]


def difference(one: PIL.Image.Image, other: PIL.Image.Image) -> float:
    """The mean difference of two pictures in their worst channel (0 to 255)."""
    off = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return max(ImageStat.Stat(off).mean)


def size(content: bytes) -> tuple[int, int]:
    with PIL.Image.open(io.BytesIO(content)) as image:
        return image.size


def _saved(image: PIL.Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
