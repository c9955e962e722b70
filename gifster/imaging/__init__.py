"""Reading and making images. It imports nothing of ours, and has `errors` of its own.

`probe` reads facts without decoding; `recipe` says what is wanted; `pillow` makes stills,
`animation` everything that moves, both in processes of their own (`sandbox`); `fingerprint` says
what an image looks like from afar.
"""

import shutil
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

from gifster.imaging import animation, mp4, pillow
from gifster.imaging.fingerprint import Glimpses, Looks
from gifster.imaging.probe import ImageInfo
from gifster.imaging.recipe import Image
from gifster.imaging.sandbox import run_apart

#: What there are animations of, to be written.
_ANIMATIONS = {"image/gif", "image/webp", "image/avif", "image/png", "video/mp4"}


def render(
    source: Path,
    info: ImageInfo,
    recipes: Mapping[Path, Image],
    original: Image,
    smaller_than: Mapping[Path, Path] | None = None,
) -> Generator[Looks | Path, None, None]:
    """Make versions of an image, all animations from one decoding; in a process of its own, unless
    a recipe has functions of somebody's in it.

    Frame times and loop count stay, unless the recipe or the format says otherwise. A recipe that
    changes nothing keeps the picture's bytes, unless they have metadata in them.

    Parameters:
      source: the image.
      info: what `probe()` said about it.
      recipes: what to make, by where to write it, in the order in which it is wanted.
      original: what becomes of the image itself.
      smaller_than: what is of use only if it is smaller than what. It may be left out, if it seems
        that it would not be.

    Returns:
      an iterator over the looks of the original, and each path, when it is complete. What cannot be
      made in its format is left out (see `Image.convert`).

    Raises:
      Unreadable: the image cannot be decoded, or not within the limits (see `sandbox.py`).
    """
    ours = {target: recipe for target, recipe in recipes.items() if not recipe.functions}
    theirs = {target: recipe for target, recipe in recipes.items() if recipe.functions}
    yield from run_apart(make, source, info, ours, original, smaller_than)
    if theirs:
        yield from (made for made in make(source, info, theirs, original) if made in theirs)


def make(
    source: Path,
    info: ImageInfo,
    recipes: Mapping[Path, Image],
    original: Image,
    smaller_than: Mapping[Path, Path] | None = None,
) -> Iterator[Looks | Path]:
    """What `render()` does, in this process."""
    glimpses = Glimpses(info, original.plan(info.width, info.height))
    stills, outputs = {}, []
    for target, recipe in recipes.items():
        content_type = recipe.content_type or info.content_type
        animated = info.frames > 1 and not recipe.only_first_frame
        changes = recipe.changes(info.width, info.height) or animated != (info.frames > 1)
        if content_type == info.content_type and not changes and not pillow.is_tagged(source, info):
            shutil.copyfile(source, target)
            yield target
        elif animated and content_type in _ANIMATIONS:
            plan, rival = recipe.plan(info.width, info.height), (smaller_than or {}).get(target)
            outputs.append(animation.Output(plan, recipe.functions, content_type, target, rival))
        elif content_type != "video/mp4":
            stills[target] = recipe
    if stills or info.frames == 1:
        yield from _stills(source, info, stills, glimpses)
    if info.frames > 1:
        animations = animation.make(source, info, outputs, glimpses.see)
        first = next(animations, None)
        yield glimpses.looks()
        if first is not None:
            yield first
            yield from animations


def _stills(
    source: Path, info: ImageInfo, recipes: Mapping[Path, Image], glimpses: Glimpses
) -> Iterator[Looks | Path]:
    """What has one picture only, from one decoding; and what a still looks like."""
    plans = [recipe.plan(info.width, info.height) for recipe in recipes.values()]
    picture = pillow.still(source, info, plans or [glimpses.plan])
    for target, recipe in recipes.items():
        pillow.write_still(picture, info, recipe, target)
        yield target
    if info.frames == 1:
        glimpses.see(0, picture)
        yield glimpses.looks()


def load() -> None:
    """Load what is loaded late otherwise, so that processes that are forked have it."""
    mp4.load()
