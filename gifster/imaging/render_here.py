"""Make the versions of one image in this process: decide what is copied, what is a still and what
is animated, and leave the work to `stills` and `animation`.

`rendering` calls it in a sandbox. Only that process, and one that calls `Image.apply`'s functions,
loads the decoders and encoders.
"""

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from gifster.imaging import animation, gif_rewriter, png_frames, stills, stripping, video
from gifster.imaging.errors import Unreadable
from gifster.imaging.fingerprint import Fingerprint, Fingerprinter
from gifster.imaging.fingerprinting import Fingerprinting
from gifster.imaging.frames import frames
from gifster.imaging.image_info import VIDEO_TYPES, ImageInfo
from gifster.imaging.plan import Plan, shrinks
from gifster.imaging.recipe import Image
from gifster.imaging.timing import WHOLE, Timing

#: How many frames a second a GIF, WebP or PNG of a video has at most, unless its recipe says
#: otherwise, and in any case: browsers show a frame of up to 10 ms for 100 ms.
_FPS_OF_VIDEOS, _MOST_FPS = 15, 90
#: The types in which an animation stays animated.
_ANIMATED_TYPES = {"image/gif", "image/webp", "image/avif", "image/png", *video.TYPES}
#: The longest side that a format can have (pixels), and libjpeg's and x264's limits.
_MAX_SIDES = {"image/webp": 16_383, "image/gif": 65_535, "image/jpeg": 65_500, "video/mp4": 16_384}


def render_here(  # noqa: PLR0913, PLR0917
    source: Path,
    info: ImageInfo,
    recipes: Mapping[Path, Image],
    original: Image | None,
    smaller_than: Mapping[Path, Path] | None = None,
    shown: Image | None = None,
) -> Iterator[Fingerprint | Path]:
    """Do what `rendering.render()` does."""
    if not info.is_image:
        raise Unreadable("The file is not an image that can be read here.")
    # Facts that an old release has kept may lack it, or be those of the file before its stripping.
    info = replace(info, bytes=source.stat().st_size)
    recipes = {target: _of_source(recipe, info) for target, recipe in recipes.items()}
    shown = shown or original or Image()
    original = original or shown
    counted = original.plan(info.width, info.height)
    plans = [recipe.plan(info.width, info.height) for recipe in recipes.values()]
    read = _as_read(info, plans or [counted])
    still_recipes: dict[Path, Image] = {}
    outputs: list[animation.Output] = []
    rewritten: list[Path] = []
    for (target, recipe), plan in zip(recipes.items(), plans, strict=True):
        content_type = recipe.result_type(info.content_type)
        animated = info.frames > 1 and not recipe.only_first_frame
        keeps_pixels = content_type == info.content_type and _keeps_pixels(info, recipe)
        if keeps_pixels and content_type == "image/gif":
            rewritten.append(target)
        elif keeps_pixels and _is_copied(source, info, target):
            yield target
        elif max(plan.size) > _MAX_SIDES.get(content_type, math.inf):
            continue
        elif animated and content_type in _ANIMATED_TYPES:
            outputs.append(
                animation.Output(
                    _of_read(plan, read, info),
                    recipe.functions,
                    content_type,
                    target,
                    (smaller_than or {}).get(target),
                    recipe.percent,
                    recipe.timing,
                    math.inf if _is_of_quality(info, recipe) else _most_bytes(info, recipe),
                )
            )
        elif content_type not in video.TYPES:
            still_recipes[target] = recipe
    decoded = outputs[0].timing if outputs else WHOLE
    fingerprinting = Fingerprinting(
        source,
        read,
        (_of_read(counted, read, info), _of_source(original, info).timing if outputs else WHOLE),
        (_of_read(shown.plan(info.width, info.height), read, info), shown.timing),
        decoded,
    )
    if still_recipes or info.frames == 1:
        yield from _render_stills(source, info, read, still_recipes, fingerprinting.fingerprinter)
    known = gif_rewriter.rewrite(source, info, rewritten[0]) if rewritten else None
    for number, target in enumerate(rewritten):
        if number:
            shutil.copyfile(rewritten[0], target)
        yield target
    if info.frames > 1:
        # The first target is complete only after the last frame was read.
        targets = animation.encode(source, read, outputs, fingerprinting.add, known)
        first = next(targets, None)
        yield fingerprinting.fingerprint()
        for target in [] if first is None else chain([first], targets):
            _has_source(source, info, recipes[target], target)
            yield target


def _of_source(recipe: Image, info: ImageInfo) -> Image:
    """What a recipe means for a source: a PNG has no quality, and keeps its pixels. A GIF, WebP or
    PNG of a video has fewer frames, unless the recipe says how many."""
    result_type = recipe.result_type(info.content_type)
    if result_type == "image/png":
        recipe = replace(recipe, percent=None)
    is_film = result_type in video.TYPES
    if info.content_type not in VIDEO_TYPES or is_film:
        return recipe
    most_fps = min(recipe.timing.most_fps or _FPS_OF_VIDEOS, _MOST_FPS)
    return replace(recipe, timing=replace(recipe.timing, most_fps=most_fps))


def _as_read(info: ImageInfo, plans: Sequence[Plan]) -> ImageInfo:
    """The facts of a picture in the size in which it is read: a video is shrunk while it is
    decoded, as far as no plan needs more of its pixels."""
    if info.content_type not in VIDEO_TYPES:
        return info
    shrink = max(1.0, shrinks(plans))
    width, height = round(info.width / shrink), round(info.height / shrink)
    return replace(info, width=max(1, width), height=max(1, height))


def _of_read(plan: Plan, read: ImageInfo, info: ImageInfo) -> Plan:
    """A plan for the size in which a picture is read."""
    if read.width == info.width and read.height == info.height:
        return plan
    return plan.scaled(read.width / info.width, read.height / info.height)


def _keeps_pixels(info: ImageInfo, recipe: Image) -> bool:
    """Whether a version in the source's format has the pixels of the source, at the same times."""
    if info.content_type in VIDEO_TYPES:
        return False
    changes_times = info.frames > 1 and (recipe.only_first_frame or recipe.timing != WHOLE)
    return not recipe.encodes(info.width, info.height) and not changes_times


def _most_bytes(info: ImageInfo, recipe: Image) -> float:
    """What a version may have: as many bytes as the source if it is of the same type, no larger in
    pixels, and no function draws something else on it."""
    width, height = recipe.plan(info.width, info.height).size
    is_smaller = width * height <= info.width * info.height and not recipe.functions
    is_same = recipe.result_type(info.content_type) == info.content_type
    return info.bytes if is_same and is_smaller else math.inf


def _is_of_quality(info: ImageInfo, recipe: Image) -> bool:
    """Whether a version is the source, encoded anew in a quality, and nothing else."""
    is_same = recipe.result_type(info.content_type) == info.content_type
    is_anew = recipe.percent is not None and is_same
    return is_anew and _keeps_pixels(info, replace(recipe, percent=None))


def _has_source(source: Path, info: ImageInfo, recipe: Image, target: Path) -> bool:
    """Give a version the pixels of the source, if it is that in another quality and has more bytes:
    these are as good as they can be. Returns whether it has no more bytes now."""
    if not _is_of_quality(info, recipe):
        return False
    if target.stat().st_size <= info.bytes:
        return True
    if info.content_type == "image/gif":
        gif_rewriter.rewrite(source, info, target)
        return True
    return _is_copied(source, info, target)


def _is_copied(source: Path, info: ImageInfo, target: Path) -> bool:
    """Copy the source without its metadata, for a version that has its pixels.

    A picture that its EXIF turns is no such version: its pixels are turned.
    """
    if info.content_type not in stripping.FORMATS:
        return False
    if info.content_type == "image/png" and info.frames == 1 and png_frames.was_animation(source):
        return False  # not every viewer takes the same for the one frame
    with source.open("rb") as file:
        try:
            pieces = stripping.stripped(file, info.content_type)
        except Unreadable:
            return False
        if not pieces.are_turned:
            pieces.write(file, target)
    return not pieces.are_turned


def _render_stills(
    source: Path,
    info: ImageInfo,
    read: ImageInfo,
    recipes: Mapping[Path, Image],
    fingerprinter: Fingerprinter,
) -> Iterator[Fingerprint | Path]:
    """Write all stills that show the same moment from one decoding; of a still image, yield the
    fingerprint too."""
    starts = [recipe.timing.start_ms for recipe in recipes.values()] or [0]
    for start_ms in dict.fromkeys(starts if info.frames > 1 else [0]):
        shown = {
            target: recipe
            for target, recipe in recipes.items()
            if info.frames == 1 or recipe.timing.start_ms == start_ms
        }
        plans = [recipe.plan(info.width, info.height) for recipe in shown.values()]
        if start_ms or info.content_type in VIDEO_TYPES:
            shown_first = next(frames(source, read, Timing(start_ms)))
            picture = stills.Picture(shown_first.picture.copy(), 1)
        else:
            picture = stills.decode(source, info, plans or [fingerprinter.plan])
        for target, recipe in shown.items():
            most_bytes, is_of_quality = _most_bytes(info, recipe), _is_of_quality(info, recipe)
            stills.write(picture, info, recipe, target, math.inf if is_of_quality else most_bytes)
            if is_of_quality and not _has_source(source, info, recipe, target):
                stills.write(picture, info, recipe, target, most_bytes)
            yield target
    if info.frames == 1:
        fingerprinter.show(upright := picture.upright())
        fingerprinter.add(0, upright)
        yield fingerprinter.fingerprint()
