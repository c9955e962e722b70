"""Videos that ffmpeg makes, and what a video or an animation shows."""

import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import PIL.Image

from gifster import imaging
from gifster.imaging import Image
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.probe import probe

#: Each half second of the video has one of these colours.
COLORS = ["red", "lime", "blue", "yellow"]
SOURCE = [
    "-f", "lavfi", "-i",
    ";".join(f"color={color}:s=96x64:r=30:d=0.5[v{n}]" for n, color in enumerate(COLORS))
    + ";" + "".join(f"[v{n}]" for n in range(len(COLORS))) + f"concat=n={len(COLORS)}",
]  # fmt: skip
SOUND = ["-f", "lavfi", "-i", "sine=d=2", "-shortest"]
H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-color_range", "tv"]
#: A frame of a GIF that is made of a video (ms).
FRAME_MS = 70


def ffmpeg(*arguments: str | Path) -> bytes:
    """What ffmpeg writes to its standard output. It replaces files."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def info_of(path: Path) -> ImageInfo:
    return probe(path, videos=True)


def rendered(source: Path, recipes: dict[Path, Image]) -> list[Path]:
    made = imaging.render(source, info_of(source), recipes)
    return [path for path in made if isinstance(path, Path)]


def seen(path: Path) -> list[tuple[str, int]]:
    """The colours that an animation shows, each with its duration (ms)."""
    named = {(255, 0, 0): "red", (0, 255, 0): "lime", (0, 0, 255): "blue", (255, 255, 0): "yellow"}
    found: list[tuple[str, int]] = []
    with PIL.Image.open(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            pixel: Any = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
            color = next(
                name for rgb, name in named.items()
                if all(abs(a - b) < 30 for a, b in zip(pixel, rgb, strict=True))
            )  # fmt: skip
            delay = int(image.info.get("duration") or 0)
            if found and found[-1][0] == color:
                found[-1] = (color, found[-1][1] + delay)
            else:
                found.append((color, delay))
    return found
