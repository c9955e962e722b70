"""Reading and making images. `probe` reads facts without decoding; `recipe` says what is wanted;
`gif` makes animated GIFs of what `frames` reads, `pillow` everything else, both in processes of
their own (`apart`); `placeholder` says what an image looks like from afar."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from gifster.uploads.imaging import gif, pillow
from gifster.uploads.imaging.apart import run_apart
from gifster.uploads.imaging.probe import ImageInfo
from gifster.uploads.imaging.recipe import Image


def render(source: Path, info: ImageInfo, recipes: Mapping[Path, Image]) -> None:
    """Make versions of an image, all animated GIFs from one decoding; in a process of its own,
    unless a recipe has functions of somebody's in it.

    Frame times and loop count stay, unless the recipe or the format says otherwise. A recipe that
    changes nothing keeps the picture's bytes.

    Parameters:
      source: the original.
      info: what `probe()` said about it.
      recipes: what to make, by where to write it.

    Raises:
      Unreadable: the original cannot be decoded, or not within the limits (see `apart.py`).
    """
    ours = {target: recipe for target, recipe in recipes.items() if not recipe.functions}
    theirs = {target: recipe for target, recipe in recipes.items() if recipe.functions}
    if ours:
        run_apart(_render, source, info, ours)
    if theirs:
        _render(source, info, theirs)


def _render(source: Path, info: ImageInfo, recipes: Mapping[Path, Image]) -> None:
    animations = []
    for target, recipe in recipes.items():
        content_type = recipe.content_type or info.content_type
        animated = info.frames > 1 and not recipe.only_first_frame
        keeps_bytes = content_type == info.content_type and animated == (info.frames > 1)
        if keeps_bytes and not recipe.changes(info.width, info.height):
            shutil.copyfile(source, target)
        elif animated and content_type == "image/gif":
            plan = recipe.plan(info.width, info.height)
            animations.append(gif.Output(plan, recipe.functions, target))
        else:
            pillow.render(source, info, recipe, target)
    if animations:
        gif.make(source, info, animations)
