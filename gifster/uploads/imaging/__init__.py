"""Reading and resizing images: `probe` (facts, without decoding a pixel), `recipe` (what a version
asks for), and two engines: `ffmpeg` for animated GIFs, `pillow` for everything else."""

import shutil
from pathlib import Path

from gifster.uploads.imaging import ffmpeg, pillow
from gifster.uploads.imaging.probe import ImageInfo
from gifster.uploads.imaging.recipe import Image


def render(source: Path, info: ImageInfo, recipe: Image, target: Path) -> None:
    """Make one version of an image.

    Frames, delays and loop count stay. A recipe that would not shrink the picture keeps its bytes.

    Parameters:
      source: the original.
      info: what `probe()` said about it.
      recipe: what to make.
      target: where to write; the content type is the original's.

    Raises:
      Unreadable: the original cannot be decoded.
    """
    width, height = recipe.size_for(info.width, info.height)
    if (width, height) == (info.width, info.height):
        shutil.copyfile(source, target)
    elif info.content_type == "image/gif" and info.frames > 1:
        ffmpeg.resize_gif(source, info, width, height, target)
    else:
        pillow.resize(source, info, width, height, target)
