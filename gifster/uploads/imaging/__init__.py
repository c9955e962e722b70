"""Reading and making images. `probe` reads facts without decoding; `recipe` says what is wanted;
`ffmpeg` makes animated GIFs in a process of its own, `pillow` everything else; `placeholder` says
what an image looks like from afar."""

import shutil
from pathlib import Path

from gifster.uploads.imaging import ffmpeg, pillow
from gifster.uploads.imaging.probe import ImageInfo
from gifster.uploads.imaging.recipe import Image


def render(source: Path, info: ImageInfo, recipe: Image, target: Path) -> None:
    """Make one version of an image.

    Frames, delays and loop count stay, unless the recipe or the format says otherwise. A recipe
    that changes nothing keeps the picture's bytes.

    Parameters:
      source: the original.
      info: what `probe()` said about it.
      recipe: what to make.
      target: where to write.

    Raises:
      Unreadable: the original cannot be decoded.
    """
    content_type = recipe.content_type or info.content_type
    animated = info.frames > 1 and not recipe.only_first_frame
    keeps_bytes = content_type == info.content_type and animated == (info.frames > 1)
    if keeps_bytes and not recipe.changes(info.width, info.height):
        shutil.copyfile(source, target)
    elif animated and not recipe.functions and info.content_type == content_type == "image/gif":
        ffmpeg.resize_gif(source, info, recipe.plan(info.width, info.height), target)
    else:
        pillow.render(source, info, recipe, target)
