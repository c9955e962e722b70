"""Make the versions of one image in this process: decide what is copied, what is a still and what
is animated, and leave the work to `stills` and `animation`.

`rendering` calls it in a sandbox. Only that process, and one that calls `Image.apply`'s functions,
loads the decoders and encoders.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from gifster.imaging import animation, gif_rewriter, pillow, png_frames, stills, video
from gifster.imaging.fingerprint import Fingerprint, Fingerprinter
from gifster.imaging.probe import ImageInfo
from gifster.imaging.recipe import Image

#: The types in which an animation stays animated.
_ANIMATED_TYPES = {"image/gif", "image/webp", "image/avif", "image/png", *video.TYPES}


def render_here(
    source: Path,
    info: ImageInfo,
    recipes: Mapping[Path, Image],
    original: Image,
    smaller_than: Mapping[Path, Path] | None = None,
) -> Iterator[Fingerprint | Path]:
    """Do what `rendering.render()` does."""
    fingerprinter = Fingerprinter(info, original.plan(info.width, info.height))
    still_recipes, outputs, rewritten = {}, [], []
    for target, recipe in recipes.items():
        content_type = recipe.content_type or info.content_type
        animated = info.frames > 1 and not recipe.only_first_frame
        keeps_pixels = content_type == info.content_type and _keeps_pixels(info, recipe)
        if keeps_pixels and content_type == "image/gif":
            rewritten.append(target)
        elif keeps_pixels and _keeps_bytes(source, info):
            shutil.copyfile(source, target)
            yield target
        elif animated and content_type in _ANIMATED_TYPES:
            plan, rival = recipe.plan(info.width, info.height), (smaller_than or {}).get(target)
            outputs.append(
                animation.Output(
                    plan, recipe.functions, content_type, target, rival, recipe.percent
                )
            )
        elif content_type not in video.TYPES:
            still_recipes[target] = recipe
    if still_recipes or info.frames == 1:
        yield from _render_stills(source, info, still_recipes, fingerprinter)
    for target in rewritten:
        gif_rewriter.rewrite(source, info, target)
        yield target
    if info.frames > 1:
        # The first target is complete only after the last frame was read.
        targets = animation.encode(source, info, outputs, fingerprinter.add)
        first = next(targets, None)
        yield fingerprinter.fingerprint()
        if first is not None:
            yield first
            yield from targets


def _keeps_pixels(info: ImageInfo, recipe: Image) -> bool:
    """Whether a version in the source's format has the pixels of the source."""
    stops_moving = info.frames > 1 and recipe.only_first_frame
    return not recipe.encodes(info.width, info.height) and not stops_moving


def _keeps_bytes(source: Path, info: ImageInfo) -> bool:
    """Whether a version with the pixels of the source is a copy of it."""
    if info.content_type == "image/png" and info.frames == 1 and png_frames.was_animation(source):
        return False  # not every viewer takes the same for the one frame
    return not pillow.has_metadata(source, info)


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
