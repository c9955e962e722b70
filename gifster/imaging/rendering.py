"""Make the versions of one image: decide what is copied, what is a still and what is animated.

`render()` is the entrance. It runs `render_unsandboxed()` in a process of its own (`sandbox`), and
that leaves the work to `stills` and `animation`.
"""

import shutil
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

from gifster.imaging import animation, mp4, pillow, stills
from gifster.imaging.fingerprint import Fingerprint, Fingerprinter
from gifster.imaging.probe import ImageInfo
from gifster.imaging.recipe import Image
from gifster.imaging.sandbox import run_sandboxed

_UNCHANGED = Image()
#: The types in which an animation stays animated.
_ANIMATED_TYPES = {"image/gif", "image/webp", "image/avif", "image/png", "video/mp4"}


def render(
    source: Path,
    info: ImageInfo,
    recipes: Mapping[Path, Image],
    original: Image = _UNCHANGED,
    smaller_than: Mapping[Path, Path] | None = None,
) -> Generator[Fingerprint | Path, None, None]:
    """Make versions of an image in a sandboxed process, all animations from one decoding.

    Frame times and loop count stay, unless the recipe or the format requires otherwise. A version
    whose recipe changes nothing is a copy of the source, unless the source has metadata. Recipes
    with functions of the caller (`Image.apply`) run in the caller's process.

    Parameters:
      source: the image file.
      info: what `probe()` returned for it.
      recipes: the recipe for each file to write, the most urgent first.
      original: the recipe for the image itself; the fingerprint is of its result.
      smaller_than: for some targets another target that they must be smaller than. Such a target
        may be left out if it is unlikely to be smaller.

    Returns:
      an iterator over the fingerprint of the original, and each path when its file is complete.
      Versions that their format cannot hold are left out (see `Image.convert`).

    Raises:
      Unreadable: the image cannot be decoded, or not within the limits (see `sandbox`).
    """
    ours = {target: recipe for target, recipe in recipes.items() if not recipe.functions}
    theirs = {target: recipe for target, recipe in recipes.items() if recipe.functions}
    yield from run_sandboxed(render_unsandboxed, source, info, ours, original, smaller_than)
    if theirs:
        rendering = render_unsandboxed(source, info, theirs, original)
        yield from (made for made in rendering if made in theirs)


def render_unsandboxed(
    source: Path,
    info: ImageInfo,
    recipes: Mapping[Path, Image],
    original: Image = _UNCHANGED,
    smaller_than: Mapping[Path, Path] | None = None,
) -> Iterator[Fingerprint | Path]:
    """Do what `render()` does, in this process and without limits."""
    fingerprinter = Fingerprinter(info, original.plan(info.width, info.height))
    still_recipes, outputs = {}, []
    for target, recipe in recipes.items():
        content_type = recipe.content_type or info.content_type
        animated = info.frames > 1 and not recipe.only_first_frame
        if content_type == info.content_type and _keeps_bytes(source, info, recipe):
            shutil.copyfile(source, target)
            yield target
        elif animated and content_type in _ANIMATED_TYPES:
            plan, rival = recipe.plan(info.width, info.height), (smaller_than or {}).get(target)
            outputs.append(animation.Output(plan, recipe.functions, content_type, target, rival))
        elif content_type != "video/mp4":
            still_recipes[target] = recipe
    if still_recipes or info.frames == 1:
        yield from _render_stills(source, info, still_recipes, fingerprinter)
    if info.frames > 1:
        # The first target is complete only after the last frame was read.
        targets = animation.encode(source, info, outputs, fingerprinter.add)
        first = next(targets, None)
        yield fingerprinter.fingerprint()
        if first is not None:
            yield first
            yield from targets


def _keeps_bytes(source: Path, info: ImageInfo, recipe: Image) -> bool:
    """Whether a version in the source's format is a copy of the source."""
    stops_moving = info.frames > 1 and recipe.only_first_frame
    changes = recipe.changes(info.width, info.height) or stops_moving
    return not changes and not pillow.has_metadata(source, info)


def _render_stills(
    source: Path, info: ImageInfo, recipes: Mapping[Path, Image], fingerprinter: Fingerprinter
) -> Iterator[Fingerprint | Path]:
    """Write all stills from one decoding; of a still image, yield the fingerprint too."""
    plans = [recipe.plan(info.width, info.height) for recipe in recipes.values()]
    picture = stills.decode(source, info, plans or [fingerprinter.plan])
    for target, recipe in recipes.items():
        stills.write(picture, info, recipe, target)
        yield target
    if info.frames == 1:
        fingerprinter.add(0, picture)
        yield fingerprinter.fingerprint()


def preload() -> None:
    """Import the modules that are otherwise imported late, before a process forks."""
    mp4.preload()
