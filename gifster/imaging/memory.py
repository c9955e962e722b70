"""How much memory a sandbox allows.

For the stills of an image: the decoded picture once, the largest thing that is made of it, and what
the codecs of its format take beside them. For an animation or a video: the pictures that its
decoder keeps, and the largest film that is made of it.
"""

from collections.abc import Iterable
from pathlib import Path

from gifster.imaging import jpeg_segments
from gifster.imaging.image_info import VIDEO_TYPES, ImageInfo
from gifster.imaging.plan import Plan, shrinks
from gifster.imaging.reader import Reader
from gifster.imaging.recipe import Image
from gifster.imaging.sandbox import LIMITS, Limits

#: What a decoder takes beside the picture that Pillow keeps (bytes a pixel). A TIFF may consist of
#: one strip. What a JPEG takes depends on its scans.
_DECODING = {
    "image/tiff": 4, "image/webp": 14, "image/avif": 16, "image/heic": 10,
}  # fmt: skip
#: What an encoder takes (bytes a pixel).
_ENCODING = {"image/webp": 10, "image/avif": 40}
_PIXEL_BYTES = 4
#: What a decoder of videos takes: H.264 and HEVC keep up to 16 pictures (bytes a pixel).
_VIDEO_BYTES = 64
#: What the decoder of another animation takes, and what an encoder of films takes (bytes a pixel).
_ANIMATION_BYTES, _FILM_BYTES = 16, 90
#: Pillow can decode a JPEG at these fractions of its size.
_DRAFTS = (8, 4, 2, 1)
#: What a process needs for Python and its libraries, and how much more address space than memory
#: it uses (bytes).
_BASE, _MORE_ADDRESSES = 90_000_000, 800_000_000
#: A picture is first shrunk roughly, to no less than so many times the size that is wanted.
GAP = 3


def factor(plans: Iterable[Plan]) -> int:
    """By which whole number a picture can be shrunk first, so that it is large enough for all
    plans."""
    return max(1, int(shrinks(plans) / GAP))


def limits(source: Path, info: ImageInfo, recipes: Iterable[Image]) -> Limits:
    """The limits of the process that renders an image by these recipes.

    Raises:
      ImagingError: the structure of the file is wrong.
    """
    pixels = info.width * info.height
    planned = [(recipe, recipe.plan(info.width, info.height)) for recipe in recipes]
    is_video = info.content_type in VIDEO_TYPES
    if is_video or info.frames > 1:
        decoding = pixels * (_VIDEO_BYTES if is_video else _ANIMATION_BYTES)
        return _at_least(decoding + _film_bytes(planned, info) + _BASE)
    if not planned:
        return LIMITS
    shrink = factor(plan for _, plan in planned)
    is_jpeg = info.content_type == "image/jpeg"
    draft = next(draft for draft in _DRAFTS if draft <= shrink) if is_jpeg else 1
    needed = pixels * _DECODING.get(info.content_type, 0) + pixels // draft**2 * _PIXEL_BYTES
    if shrink > draft:
        needed += pixels // shrink**2 * _PIXEL_BYTES
    if is_jpeg:
        with source.open("rb") as file:
            needed += jpeg_segments.read(Reader(file)).coefficient_bytes
    needed += max(_output_bytes(recipe, plan, info, shrink) for recipe, plan in planned) + _BASE
    return _at_least(needed)


def _film_bytes(planned: Iterable[tuple[Image, Plan]], info: ImageInfo) -> int:
    """What the encoder of the largest film takes. Films are made one after the other."""
    sizes = (
        plan.size[0] * plan.size[1]
        for recipe, plan in planned
        if recipe.result_type(info.content_type) in VIDEO_TYPES
    )
    return max(sizes, default=0) * _FILM_BYTES


def _at_least(needed: int) -> Limits:
    """The usual limits, or more memory if so much is needed (bytes)."""
    return LIMITS._replace(
        memory_bytes=max(LIMITS.memory_bytes, needed),
        address_bytes=max(LIMITS.address_bytes, needed + _MORE_ADDRESSES),
    )


def _output_bytes(recipe: Image, plan: Plan, info: ImageInfo, shrink: int) -> int:
    """What one output takes: the part that it is made of, itself, and its encoder.

    Parameters:
      shrink: by which factor the picture was shrunk before.
    """
    size = plan.size[0] * plan.size[1]
    content_type = recipe.result_type(info.content_type)
    part = (plan.right - plan.left) * (plan.bottom - plan.top) // shrink**2
    is_whole = plan.part == (0, 0, info.width, info.height)
    cropped = 0 if is_whole or (plan.width, plan.height) == _size_of(plan) else part
    padded = plan.width * plan.height if plan.padding is not None else 0
    return (cropped + size + padded) * _PIXEL_BYTES + size * _ENCODING.get(content_type, 0)


def _size_of(plan: Plan) -> tuple[int, int]:
    return plan.right - plan.left, plan.bottom - plan.top
