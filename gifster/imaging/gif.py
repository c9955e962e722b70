"""Encode animated GIFs, dropping bytes that make no visible difference.

The palette has no more colours than the picture needs (`palette`), and pixels that hardly change
keep their colour (`gif_quantizer`). A GIF that is still large for what it shows contains noise or
dithering, which takes many bytes and is not missed. Such a GIF is encoded again, less exactly the
more it exceeds its budget.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

import PIL.Image

from gifster.imaging.boxes import Box, union
from gifster.imaging.gif_quantizer import GifQuantizer
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.palette import EXACT_ERROR, MAX_COLORS, PaletteSamples, is_exact
from gifster.imaging.patches import UNCHANGED, Canvas, Patch, Recording, Track
from gifster.imaging.sampling import Sampled


class _Quality(NamedTuple):
    """How exact the GIF is: the mean square error of the palette that may show (`visible`), how
    much the colour of a pixel may change before it is drawn again (both in steps of 0 to 255), and
    how many colours the palette may have."""

    error: float
    tolerance: int
    colors: int = MAX_COLORS


_EXACT, _LESS_EXACT, _ROUGH = _Quality(EXACT_ERROR, 3), _Quality(1.2, 5), _Quality(20, 12)
#: In smooth pictures a change shows sooner. The most exact GIF has this tolerance, divided by how
#: smooth they are.
_SMOOTH_TOLERANCE = 0.42
#: How much each step of quality below 100 adds to the tolerance: 85 has that of `_EXACT`, 75 that
#: of `_LESS_EXACT`, 40 that of `_ROUGH`.
_TOLERANCE_STEP = 0.2
#: A GIF that exceeds its budget after this part of its frames, or of its bytes, nearly fits; one
#: that does so earlier becomes less exact, and one that does so still earlier rough.
_AT_LAST, _LATE = 0.95, 0.45
#: A GIF that may not outgrow its original gets as many colours as fit: each time with a tolerance,
#: and into this part of what it may have. Its bytes grow about with this root of the colours.
_FITTED, _FILLED, _BYTES_ROOT = (3, 5), 0.9, 2.5
#: It gets at least so many. If that does not suffice, it keeps pixels of the source as they are, in
#: so many colours. If it cannot, or it still has too many bytes, the others are tried in turn.
_MIN_COLORS, _SAMPLED_COLORS = 12, (MAX_COLORS, 12, 8, 6, 4)
_LAST = (_ROUGH, *(_Quality(0.45, 20, colors) for colors in (12, 8, 6, 4, 2, 1)))
#: When so much of all that changes is written, in at least so many frames, a GIF is given up that
#: would come to so many times the bytes that it may have.
_SEEN, _MIN_SEEN, _TOO_MUCH = 1 / 4, 4, 1.2
#: The same if another GIF of these frames tells how much of all bytes is written.
_SEEN_OF_OTHER, _TOO_MUCH_BY_OTHER = 1 / 8, 1.05
#: Browsers display shorter frames for ten times as long.
_MIN_DELAY_CS = 2
#: Shrinks what the GIF shows without averaging (`sampling`).
Sampling = Callable[[], AbstractContextManager[Sampled | None]]


def write(  # noqa: PLR0913, PLR0917
    target: Path,
    track: Track,
    plays: int,
    samples: PaletteSamples,
    budget: float,
    quality: int | None = None,
    most_bytes: float = math.inf,
    other: Sequence[int] | None = None,
    sampling: Sampling | None = None,
) -> list[int]:
    """Write a GIF.

    Parameters:
      plays: how often it plays, 0 for forever.
      samples: what the palette is chosen from.
      budget: a GIF of more bytes is encoded once more, less exactly.
      quality: 1 to 100, whatever the budget; None chooses it by that.
      most_bytes: a GIF of more bytes is encoded as roughly as it takes.
      other: the size of a GIF of the same frames in another size, after each of them. It tells
        early how many bytes this one will have.
      sampling: shrinks it without averaging. A GIF that would have very few colours is made so.

    Returns:
      its size after each frame of the track (bytes).
    """
    tries = _Tries(target, track, plays, samples, other, sampling)
    if quality is not None:
        tolerance = round((100 - quality) * _TOLERANCE_STEP)
        wanted = _Quality(tolerance**2 * 0.06, tolerance)
        try:
            return tries.write(wanted, most_bytes)
        except _TooLarge as error:
            return tries.write_fitted(wanted, error.part, most_bytes)
    exact, limit = _exact_for(samples), min(budget, most_bytes)
    try:
        return tries.write(exact, limit)
    except _TooLarge as error:
        tried, part = exact, error.part * most_bytes / limit
        less_exact = _LESS_EXACT if error.part > _LATE else _ROUGH
        if error.part > _AT_LAST:
            less_exact = tries.nearly(exact, error.part)
    if part >= 1:
        try:
            return tries.write(less_exact, most_bytes)
        except _TooLarge as error:
            tried, part = less_exact, error.part
    return tries.write_fitted(tried, part, most_bytes)


def _exact_for(samples: PaletteSamples) -> _Quality:
    """The most exact quality for these pictures."""
    tolerance = round(_SMOOTH_TOLERANCE / samples.smoothness)
    return _EXACT._replace(tolerance=max(1, min(tolerance, _EXACT.tolerance)))


def write_still(
    target: Path,
    picture: PIL.Image.Image,
    quality: int | None = None,
    most_bytes: float = math.inf,
    sampling: Sampling | None = None,
) -> None:
    """Write a GIF of one picture (RGB or RGBA), as a frame of an animation is written.

    Parameters:
      quality: 1 to 100; None is the most exact.
      most_bytes: a GIF of more bytes is made less exact.
      sampling: that of `write()`.
    """
    made = picture if picture.mode in ("RGB", "RGBA") else picture.convert("RGBA")
    samples = PaletteSamples(ImageInfo("image/gif", *made.size))
    samples.add(0, made, made, made)
    with Recording() as recording:
        recording.add(0, [Patch(made, (0, 0, *made.size))])
        track = recording.track(0, made.size)
        write(target, track, 1, samples, math.inf, quality, most_bytes, sampling=sampling)


class _TooLarge(Exception):
    """A GIF exceeds its budget, or surely will.

    Parameters:
      part: of all its bytes, how many the budget is, as far as is known; else of its frames, how
        many have as many bytes as the budget.
    """

    def __init__(self, part: float) -> None:
        super().__init__(part)
        self.part = part


class _Tries:
    """Writes one GIF, each time in another quality. The parameters are those of `write()`."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        target: Path,
        track: Track,
        plays: int,
        samples: PaletteSamples,
        other: Sequence[int] | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self._target, self._track, self._plays = target, track, plays
        self._samples, self._other, self._sampling = samples, other, sampling
        #: How many pixels each frame and all before it change.
        self._changed = list(accumulate(track.areas))

    def write(self, quality: _Quality, budget: float = math.inf) -> list[int]:
        """Write the GIF in one quality.

        Returns:
          its size after each frame of the track (bytes).

        Raises:
          _TooLarge: it has more bytes than the budget.
        """
        too_much = _TOO_MUCH if self._other is None else _TOO_MUCH_BY_OTHER
        palette = self._samples.palette(quality.error, quality.colors)
        finely = is_exact(quality.error, quality.colors)

        def begin(file: BinaryIO) -> GifQuantizer:
            return GifQuantizer(file, self._track.size, palette, quality.tolerance, finely=finely)

        def check(sizes: Sequence[int]) -> None:
            expected = self._expected(sizes)
            if sizes[-1] > budget:
                is_known = self._other is not None and expected > budget
                raise _TooLarge(budget / expected if is_known else len(sizes) / len(self._track))
            if expected > too_much * budget and quality.colors > _MIN_COLORS:
                raise _TooLarge(budget / expected)

        return self._encode(self._track, begin, check, budget)

    def _encode(
        self,
        track: Track,
        begin: Callable[[BinaryIO], GifQuantizer],
        check: Callable[[Sequence[int]], None],
        budget: float,
    ) -> list[int]:
        """Write the frames of a track by the writer that `begin` makes. `check` gets the sizes so
        far, one after each frame, and may give up."""
        sizes: list[int] = []
        with self._target.open("wb") as file:
            writer = begin(file)
            writer.begin(self._plays)
            for patch, delay_cs in _in_centiseconds(track):
                writer.add_patch(patch, delay_cs)
                sizes.append(file.tell())
                check(sizes)
            writer.end()
            sizes[-1] = file.tell()
        if sizes[-1] > budget:
            raise _TooLarge(1.0)
        return sizes

    def write_fitted(self, tried: _Quality, part: float, most_bytes: float) -> list[int]:
        """Write the GIF in as many colours as its bytes allow.

        Parameters:
          tried: a quality in which it is too large: this part of its bytes is what it may have.
        """
        for tolerance in _FITTED:
            colors = self._fewer_colors(tried, part * _FILLED)
            tried = _Quality(_EXACT.error, tolerance, max(colors, _MIN_COLORS))
            try:
                return self.write(tried, most_bytes)
            except _TooLarge as error:
                part = error.part
        if self._sampling is not None:
            with self._sampling() as sampled:
                if sampled is not None:
                    for colors in _SAMPLED_COLORS:
                        with contextlib.suppress(_TooLarge):
                            return self._write_sampled(sampled, colors, most_bytes)
        for last in _LAST:
            with contextlib.suppress(_TooLarge):
                return self.write(last, most_bytes)
        return self.write(_LAST[-1])

    def _write_sampled(self, sampled: Sampled, colors: int, most_bytes: float) -> list[int]:
        """Write what was shrunk without averaging, in at most so many colours."""
        track, palette = sampled.track, sampled.palette[: 3 * colors]

        def begin(file: BinaryIO) -> GifQuantizer:
            return GifQuantizer(file, track.size, palette, 0, thorough=True)

        def check(sizes: Sequence[int]) -> None:
            if sizes[-1] > most_bytes:
                raise _TooLarge(len(sizes) / len(track))

        return self._encode(track, begin, check, most_bytes)

    def nearly(self, exact: _Quality, part: float) -> _Quality:
        """A quality for a GIF that nearly fits: a busy one is drawn again less often, which shows
        in smooth ones, so those have fewer colours, if they have many."""
        if exact.tolerance >= _EXACT.tolerance:
            return exact._replace(tolerance=_LESS_EXACT.tolerance)
        colors = self._fewer_colors(exact, part * _FILLED)
        return exact._replace(colors=colors) if is_exact(exact.error, colors) else _LESS_EXACT

    def _fewer_colors(self, tried: _Quality, part: float) -> int:
        """How many colours fit, if a GIF of some quality may have such a part of its bytes."""
        count = len(self._samples.palette(tried.error, tried.colors)) // 3
        fitting: float = count * part**_BYTES_ROOT
        return round(fitting)

    def _expected(self, sizes: Sequence[int]) -> float:
        """The bytes that the GIF will have, by what its changes took so far; 0 if that says little.

        Parameters:
          sizes: what was written after each frame, which is all frames before it.
        """
        if len(sizes) < _MIN_SEEN:
            return 0
        other, changed, last = self._other, self._changed, len(sizes) - 1
        if other is None:
            written, total = changed[last - 1] - changed[0], changed[-1] - changed[0]
        else:
            written, total = other[last] - other[1], other[-1] - other[1]
        if written <= 0 or written < total * (_SEEN if other is None else _SEEN_OF_OTHER):
            return 0
        return sizes[1] + (sizes[-1] - sizes[1]) * total / written


def _in_centiseconds(track: Track) -> Iterator[tuple[Patch, int]]:
    """The patches with delays that a GIF can express (1/100 s).

    A frame that is too short for a GIF becomes unchanged with a delay of 0, and its patch is merged
    into the next frame.
    """
    canvas, has_short_frames = Canvas(track.size), track.shortest_ms < 10 * _MIN_DELAY_CS
    #: The box of the patches that are still to be merged into a frame.
    pending: Box | None = None
    now_ms, written_cs = 0, 0
    for number, (patch, delay_ms) in enumerate(track):
        changed = pending if patch.picture is None else union(patch.box, pending)
        if has_short_frames:
            canvas.paint(patch)
        now_ms += delay_ms
        delay_cs = round(now_ms / 10) - written_cs
        if delay_cs < _MIN_DELAY_CS and 0 < number < len(track) - 1:
            pending = changed
            yield UNCHANGED, 0
            continue
        delay_cs = max(delay_cs, _MIN_DELAY_CS)
        written_cs += delay_cs
        if pending is None or changed is None:
            yield patch, delay_cs
        else:
            yield Patch(canvas.whole.crop(changed), changed), delay_cs
            pending = None
