"""Decode an animation frame by frame: the whole picture, and the box that has changed in it."""

from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import PIL.ImageSequence

from gifster.imaging import appearance, gif_frames, pillow, png_frames, video_frames
from gifster.imaging.delays import displayed_ms
from gifster.imaging.frame import MAX_COMPARED_PIXELS, Frame, changed_box
from gifster.imaging.image_info import VIDEO_TYPES, ImageInfo
from gifster.imaging.masks import without_alpha
from gifster.imaging.timing import WHOLE, Timing


def frames(
    source: Path,
    info: ImageInfo,
    timing: Timing = WHOLE,
    composed: Iterator[Frame] | None = None,
) -> Iterator[Frame]:
    """The frames of an animation, as a timing shows them. A picture is valid until the next one is
    asked for.

    Parameters:
      info: what `probe()` returned for it; of a video, it may have a smaller size.
      composed: all frames, if they are known without decoding.

    Raises:
      Unreadable: the animation cannot be decoded.
    """
    timing = timing.within(info.duration_ms)
    return timing.apply(composed or _frames(source, info, timing))


def _frames(source: Path, info: ImageInfo, timing: Timing) -> Iterator[Frame]:
    if info.content_type == "image/gif":
        return gif_frames.frames(source, info)
    if info.content_type == "image/png":
        return png_frames.frames(source, info)
    if info.content_type in VIDEO_TYPES:
        return video_frames.frames(source, info, timing)
    return _frames_by_pillow(source, info)


def _frames_by_pillow(source: Path, info: ImageInfo) -> Iterator[Frame]:
    """The frames of animated WebP and AVIF."""
    before: PIL.Image.Image | None = None
    compares = info.width * info.height <= MAX_COMPARED_PIXELS
    now_ms, rounded_ms = 0.0, 0
    look = appearance.read(source, info.content_type)
    with pillow.open_image(source, info) as image:
        for frame in PIL.ImageSequence.Iterator(image):
            frame.load()  # a WebP frame has no duration before this
            now_ms += displayed_ms(frame.info.get("duration") or 0)
            delay_ms = round(now_ms) - rounded_ms
            rounded_ms += delay_ms
            picture = without_alpha(pillow.upright(frame, look))
            yield Frame(picture, changed_box(picture, before), delay_ms)
            if compares:
                before = picture.copy() if picture is frame else picture
