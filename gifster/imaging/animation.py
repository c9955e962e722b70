"""Make animations of any size from one decoding of another.

Most frames of most animations change a part of the picture; those of screen recordings change a few
pixels. So `frames` yields each frame with the box that it changes, a `scaler` for each size resizes
that box alone, and a recording keeps the resulting `patches`. Then `gif`, `webp`, `avif`, `apng`
and `video` encode them, each size from the same recording.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import PIL.Image

from gifster.imaging import apng, avif, gif, sampling, video, webp
from gifster.imaging.frames import frames
from gifster.imaging.gif_blocks import GifBlocks
from gifster.imaging.gif_frames import DecodedGif
from gifster.imaging.gif_indices import IndexedFrames
from gifster.imaging.image_info import VIDEO_TYPES, ImageInfo
from gifster.imaging.palette import EXACT_ERROR, MANY_COLORS
from gifster.imaging.patches import Recording, Track
from gifster.imaging.plan import Plan
from gifster.imaging.reader import Reader
from gifster.imaging.recipe import FrameFunctions
from gifster.imaging.sampling import Sampled
from gifster.imaging.scaler import Scaler
from gifster.imaging.timing import WHOLE, Timing

#: The bytes that a GIF may have before it is encoded again, less exactly: so many times the
#: source's bytes, scaled by the number of pixels.
_BUDGET_FACTOR = 1.8
#: A film that is larger than a GIF of its size of more than so many bytes has the first of these
#: qualities instead. What has more bytes than it may have gets the first in which it does not.
_HEAVY, _LESS_EXACT = 20_000, (60, 40, 20, 1)
#: A PNG gets the first of these numbers of colours, and so does a WebP if no quality suffices.
_FEWER_COLORS = 255, 63, 15, 3
#: Before a drawing gets the least exact of these, it is shrunk without averaging (`sampling`), in
#: at most so many colours.
_SAMPLED_COLORS = 255, 15
#: One of more pixels in all frames together gets this quality, or so many colours, at once: it is
#: encoded twice at most, as the time of the sandbox is limited.
_LONG, _LONG_QUALITY, _LONG_COLORS = 40_000_000, 20, 15
#: A GIF of so few colours, with so few bits for each pixel that changes, is a drawing. Its WebP has
#: fewer bytes if it keeps these colours without loss: of a terminal, two thirds.
_DRAWING_COLORS, _DRAWING_BITS = 64, 1.5

#: Gets the number of each frame, and its whole picture.
FrameCallback = Callable[[int, PIL.Image.Image], None]


@dataclass(frozen=True)
class Output:
    """An animation to be made.

    Parameters:
      plan: the part of the source, and its size.
      functions: the caller's functions that get each frame.
      content_type: of GIF, WebP, AVIF, PNG, MP4 or WebM.
      target: where to write it.
      smaller_than: the target that it must be smaller than, if any.
      quality: of the encoding (1 to 100); None is what suits the format.
      timing: the part of the source to show, and the frames a second. Outputs of different timings
        are made of one decoding each.
      most_bytes: one that has more is encoded again, less exactly.
    """

    plan: Plan
    functions: FrameFunctions
    content_type: str
    target: Path
    smaller_than: Path | None = None
    quality: int | None = None
    timing: Timing = WHOLE
    most_bytes: float = math.inf


def encode(
    source: Path,
    info: ImageInfo,
    outputs: Sequence[Output],
    on_frame: FrameCallback,
    known: IndexedFrames | DecodedGif | None = None,
) -> Iterator[Path]:
    """Make animations of another, in the order of `outputs`.

    Total duration and loop count stay. Identical neighbouring frames become one. GIF has no partial
    transparency: pixels that are more than half transparent become transparent. A WebP or a film
    may be left out if it is unlikely to be smaller than the GIF or film that it must be smaller
    than.

    Parameters:
      source: the animation, in any format that can be read.
      info: what `probe()` returned for it.
      on_frame: is called with every frame of the first timing.
      known: what has the frames of the source, if they are known already.

    Returns:
      an iterator over the targets, each when its file is complete.

    Raises:
      Unreadable: the source cannot be decoded.
    """
    for timing in dict.fromkeys(output.timing for output in outputs) or [WHOLE]:
        timed = [output for output in outputs if output.timing == timing]
        yield from _encode_timed(source, info, timed, timing, on_frame, known)
        on_frame = _ignore


def _ignore(_number: int, _picture: PIL.Image.Image) -> None:
    """The frames are known from another decoding."""


def _encode_timed(  # noqa: PLR0913, PLR0917
    source: Path,
    info: ImageInfo,
    outputs: Sequence[Output],
    timing: Timing,
    on_frame: FrameCallback,
    known: IndexedFrames | DecodedGif | None,
) -> Iterator[Path]:
    count = timing.count(info.frames, info.duration_ms)
    scalers = _scalers(replace(info, frames=count), outputs)
    encoder = _Encoder(source, info)
    with Recording() as recording:
        composed = None if known is None else known.frames()
        for number, frame in enumerate(frames(source, info, timing, composed)):
            on_frame(number, frame.picture)
            recording.add(frame.delay_ms, [scaler.patch(number, frame) for scaler in scalers])
        for output in outputs:
            number = next(
                number
                for number, scaler in enumerate(scalers)
                if scaler.makes(output.plan, output.functions)
            )
            track = recording.track(number, scalers[number].size)
            if encoder.write(output, track, scalers[number]):
                yield output.target


def _scalers(info: ImageInfo, outputs: Sequence[Output]) -> list[Scaler]:
    """A scaler for each size, the largest first."""
    made: list[Scaler] = []
    for output in sorted(outputs, key=lambda output: -output.plan.width * output.plan.height):
        plan, functions = output.plan, output.functions
        if not any(scaler.makes(plan, functions) for scaler in made):
            larger = next((scaler for scaler in reversed(made) if scaler.can_feed(plan)), None)
            made.append(Scaler(plan, functions, info, larger))
        if _may_need_palette(output, info):
            next(scaler for scaler in made if scaler.makes(plan, functions)).needs_palette()
    return made


def _may_need_palette(output: Output, info: ImageInfo) -> bool:
    may_lose_colors = output.most_bytes < math.inf or info.content_type == "image/gif"
    is_webp = output.content_type == "image/webp"
    return output.content_type in {"image/gif", "image/png"} or (is_webp and may_lose_colors)


class _Encoder:
    """Writes the outputs of one source, each in its format."""

    def __init__(self, source: Path, info: ImageInfo) -> None:
        self._source, self._info = source, info
        self._plays = 1 if info.loop is None else info.loop
        #: The size of each written GIF after each frame (bytes).
        self._gif_bytes: dict[Path, list[int]] = {}
        #: The size of each written film after each picture (bytes).
        self._film_bytes: dict[Path, list[int]] = {}
        #: What was written, by all that makes a difference.
        self._written: dict[tuple[Scaler, str, int | None], Path] = {}

    def write(self, output: Output, track: Track, scaler: Scaler) -> bool:
        """Write one output, unless it is one of those that are left out (see `encode`)."""
        target, kind = output.target, (scaler, output.content_type, output.quality)
        same = self._written.get(kind)
        if same is not None:  # recipes may differ, and mean the same for this picture
            shutil.copyfile(same, target)
            if same in self._gif_bytes:
                self._gif_bytes[target] = self._gif_bytes[same]
        elif not self._encode(output, track, scaler):
            return False
        self._written[kind] = target
        return True

    def _encode(self, output: Output, track: Track, scaler: Scaler) -> bool:
        target = output.target
        if output.content_type == "image/gif":
            self._gif_bytes[target] = self._write_gif(output, track, scaler)
        elif output.content_type == "image/webp":
            palette = self._drawing_palette(output, track, scaler)
            rival = self._rival_bytes(output)
            if rival is not None and not webp.is_likely_smaller(
                track, rival, output.quality, palette
            ):
                return False
            if palette is None:
                self._write_webp(output, track, scaler)
            else:  # of a GIF, so it may have any number of bytes
                webp.write(output.target, track, self._plays, None, palette)
        elif output.content_type == "image/png":
            self._write_png(output, track, scaler)
        elif output.content_type == "image/avif":
            self._write_avif(output, track)
        elif video.is_available():
            return self._write_film(output, track, scaler)
        else:
            return False
        return True

    def _drawing_palette(self, output: Output, track: Track, scaler: Scaler) -> bytes | None:
        """The palette of a drawing, for its WebP; None if the GIF is none, or its WebP is to be
        more exact than ours."""
        is_exact = output.quality is not None and output.quality > webp.QUALITY
        if self._info.content_type != "image/gif" or is_exact:
            return None
        width, height = track.size
        changed = sum(track.areas) / (width * height) * self._info.width * self._info.height
        if self._info.bytes * 8 >= _DRAWING_BITS * changed:
            return None
        palette = _palette(scaler, MANY_COLORS - 1)  # of averaged pixels: flat areas, not edges
        return palette if len(palette) // 3 <= _DRAWING_COLORS else None

    def _write_webp(self, output: Output, track: Track, scaler: Scaler) -> None:
        steps: list[tuple[int | None, int | None]] = [
            (output.quality, None),
            (None, _FEWER_COLORS[0]),  # it may be a drawing
            *((quality, None) for quality in _less_exact(output)),
            *((None, colors) for colors in _FEWER_COLORS[1:]),
        ]
        if is_long := _is_long(track):
            steps[1:] = [(quality, None) for quality in _less_exact(output, is_long=True)]
        for quality, colors in steps:
            if quality == _LESS_EXACT[-2] and not is_long and self._fits_sampled(output):
                break
            palette = None if colors is None else _palette(scaler, colors)
            webp.write(output.target, track, self._plays, quality, palette)
            if _fits(output):
                break

    def _write_avif(self, output: Output, track: Track) -> None:
        for quality in (output.quality, *_less_exact(output, is_long=_is_long(track))):
            avif.write(output.target, track, self._plays, quality)
            if _fits(output):
                break

    def _write_png(self, output: Output, track: Track, scaler: Scaler) -> None:
        fewer_colors = (_LONG_COLORS,) if _is_long(track) else _FEWER_COLORS
        for colors in (None, *fewer_colors):
            if colors == _FEWER_COLORS[-1] and self._fits_sampled(output):
                break
            palette = None if colors is None else _palette(scaler, colors)
            apng.write(output.target, track, self._plays, palette)
            if _fits(output):
                break

    def _write_gif(self, output: Output, track: Track, scaler: Scaler) -> list[int]:
        budget = scaler.area_ratio * self._source.stat().st_size * _BUDGET_FACTOR
        if self._info.content_type in VIDEO_TYPES:  # whose bytes say nothing about those of a GIF
            budget = math.inf
        return gif.write(
            output.target, track, self._plays, scaler.samples, budget, output.quality,
            output.most_bytes, self._gif_bytes_alike(scaler), partial(self._sampling, output),
        )  # fmt: skip

    def _fits_sampled(self, output: Output) -> bool:
        """Write a WebP or PNG of few colours without averaging. Returns whether it fits."""
        with self._sampling(output) as sampled:
            if sampled is None:
                return False
            for colors in _SAMPLED_COLORS:
                palette = sampled.palette[: 3 * colors]
                if output.content_type == "image/png":
                    apng.write(output.target, sampled.track, self._plays, palette)
                else:
                    webp.write(output.target, sampled.track, self._plays, 100, palette)
                if _fits(output):
                    return True
        return False

    def _sampling(self, output: Output) -> AbstractContextManager[Sampled | None]:
        # What functions draw on may have any number of bytes, so there are none.
        return sampling.sampled(self._source, self._info, output.plan, output.timing)

    def _gif_bytes_alike(self, scaler: Scaler) -> list[int] | None:
        """The size after each frame of a GIF of the same part of the picture, if there is one."""
        for (other, _, _), target in self._written.items():
            if target in self._gif_bytes and other.shows_same(scaler):
                return self._gif_bytes[target]
        return None

    def _write_film(self, output: Output, track: Track, scaler: Scaler) -> bool:
        target, kind = output.target, output.content_type
        rival = self._film_bytes.get(output.smaller_than) if output.smaller_than else None
        if rival is not None and len(rival) != len(track.delays_ms):
            rival = None  # its pictures are others
        if rival is not None and self._gif_size(scaler) <= rival[-1]:
            return False  # it would hardly be smaller than the GIF, and starting VP9 takes longer
        most = self._gif_size(scaler) if output.quality is None and rival is None else math.inf
        most = min(most if most > _HEAVY else math.inf, output.most_bytes)
        sizes = video.write(target, kind, track, output.quality, rival, most)
        # Dithering costs a film more than a GIF, and is not missed.
        for quality in _less_exact(output) if rival is None else []:
            if sizes is not None and _fits(output):
                break
            most = output.most_bytes if quality > _LESS_EXACT[-1] else math.inf
            sizes = video.write(target, kind, track, quality, None, most)
        if sizes is None or (rival is not None and not _fits(output)):
            target.unlink(missing_ok=True)  # it may not have been begun
            return False
        self._film_bytes[target] = sizes
        return True

    def _gif_size(self, scaler: Scaler) -> float:
        """The bytes of the GIF of this size, if there is one."""
        written = self._written.get((scaler, "image/gif", None))
        if written is not None:
            return self._gif_bytes[written][-1]
        is_whole = scaler.size == (self._info.width, self._info.height)
        return self._info.bytes if is_whole and self._info.content_type == "image/gif" else math.inf

    def _rival_bytes(self, output: Output) -> list[int] | None:
        """The size after each frame (bytes) of the GIF that an output must be smaller than, if
        there is such a GIF."""
        rival = output.smaller_than
        if rival is None or rival in self._gif_bytes:
            return None if rival is None else self._gif_bytes[rival]
        if self._info.content_type != "image/gif" or not rival.exists():
            return None
        # It is the source, rewritten: about as much smaller in each frame.
        ratio = rival.stat().st_size / self._info.bytes
        with self._source.open("rb") as file:
            return [round(frame.data[1] * ratio) for frame in GifBlocks(Reader(file))]


def _less_exact(output: Output, *, is_long: bool = False) -> list[int]:
    """The qualities in which an output has fewer bytes than in its own."""
    qualities = (_LONG_QUALITY,) if is_long else _LESS_EXACT
    return [quality for quality in qualities if quality < (output.quality or 100)]


def _is_long(track: Track) -> bool:
    width, height = track.size
    return width * height * len(track.delays_ms) > _LONG


def _palette(scaler: Scaler, colors: int) -> bytes:
    return scaler.samples.palette(EXACT_ERROR, colors)


def _fits(output: Output) -> bool:
    return output.target.stat().st_size <= output.most_bytes
