"""Change when the frames of an animation are shown: a part of it, or fewer frames a second."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gifster.imaging.boxes import Box, is_empty, union
from gifster.imaging.frame import Frame


@dataclass(frozen=True)
class Timing:
    """When an animation begins and ends (ms; None is its end), and how many frames a second it has
    at most (None is as many as it has)."""

    start_ms: int = 0
    end_ms: int | None = None
    most_fps: float | None = None

    def part(self, start_ms: int, end_ms: int | None) -> "Timing":
        """A part of what this shows, from one moment of it to another (ms; None is its end)."""
        ends = [self.start_ms + end_ms] if end_ms is not None else []
        ends += [self.end_ms] if self.end_ms is not None else []
        return Timing(self.start_ms + start_ms, min(ends, default=None), self.most_fps)

    def shows_another_part(self, other: "Timing") -> bool:
        """Whether it begins or ends at other moments than another one."""
        return (self.start_ms, self.end_ms) != (other.start_ms, other.end_ms)

    def within(self, duration_ms: int) -> "Timing":
        """The same for an animation that takes so long (ms): some of it is shown in any case."""
        start_ms = min(self.start_ms, max(0, duration_ms - 1))
        end_ms = None if self.end_ms is None else max(self.end_ms, start_ms + 1)
        return Timing(start_ms, end_ms, self.most_fps)

    def apply(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames that are shown."""
        if self.start_ms or self.end_ms is not None:
            frames = _part(frames, self.start_ms, self.end_ms)
        return frames if self.most_fps is None else _thinned(frames, 1000 / self.most_fps)

    def watch(self) -> Callable[[float, float], bool]:
        """A function that says of each frame in turn whether it is shown. It gets when the frame
        begins and ends (ms)."""
        pace = None if self.most_fps is None else _Pace(1000 / self.most_fps)
        last_ms = math.inf if self.end_ms is None else self.end_ms - self.start_ms

        def shows(begins_ms: float, ends_ms: float) -> bool:
            begins_ms, ends_ms = max(0, begins_ms - self.start_ms), ends_ms - self.start_ms
            if self.start_ms and 0 < ends_ms <= _SCRAP_MS:
                return True  # in case that no other frame comes
            if ends_ms > 0 and ends_ms >= last_ms - _SCRAP_MS:
                ends_ms = last_ms  # as the last frame of a part ends
            return ends_ms > begins_ms and (pace is None or pace.shown_ms(ends_ms) > 0)

        return shows

    def count(self, frames: int, duration_ms: int) -> int:
        """About how many frames are left of so many, which take so long (ms)."""
        part = self.within(duration_ms)
        end_ms = duration_ms if part.end_ms is None else min(part.end_ms, duration_ms)
        shown_ms = max(1, end_ms - part.start_ms)
        left = frames * shown_ms / max(1, duration_ms)
        most = math.inf if self.most_fps is None else shown_ms * self.most_fps / 1000
        return max(1, round(min(left, most)))


_NOTHING: Box = (0, 0, 0, 0)
#: What is left of a frame for less than this is not shown: the times of frames are rounded.
_TINY_MS = 1.0
#: Nor is what a part keeps of its first and its last frame for up to this: browsers would show it
#: for 100 ms (see `delays`).
_SCRAP_MS = 10
#: All of an animation, as it is.
WHOLE = Timing()


def _part(frames: Iterator[Frame], start_ms: int, end_ms: int | None) -> Iterator[Frame]:
    now_ms, shown_ms, skipped = 0, start_ms, _NOTHING
    last_ms = math.inf if end_ms is None else end_ms
    last: Frame | None = None
    for picture, changed, delay_ms in frames:
        now_ms += delay_ms
        rest_ms = now_ms - start_ms
        if rest_ms <= (_SCRAP_MS if start_ms and now_ms < last_ms else 0):
            skipped = _both(changed, skipped)
            last = Frame(picture, skipped, rest_ms if rest_ms > 0 else max(1, delay_ms))
            continue
        last = None
        is_end = now_ms >= last_ms - _SCRAP_MS
        ends = int(last_ms) if is_end else now_ms
        yield Frame(picture, _both(changed, skipped), ends - shown_ms)
        shown_ms, skipped = ends, _NOTHING
        if is_end:
            return
    if last is not None:  # it is shorter than the file says
        yield last


class _Pace:
    """Shows frames for a step at least. A frame that is there for a step or longer ends when it
    should, so that what is slow enough keeps its times. What is quicker ends at whole steps after
    that, and shows what is there then."""

    def __init__(self, step_ms: float) -> None:
        self._step_ms, self._until_ms = step_ms, 0.0

    def shown_ms(self, ends_ms: float) -> int:
        """How long the next frame is shown, by when it ends (ms); 0 if it is left out."""
        before_ms = self._until_ms
        if ends_ms - before_ms > _TINY_MS or not before_ms:
            self._until_ms = max(ends_ms, before_ms + self._step_ms)
        return round(self._until_ms) - round(before_ms)


def _thinned(frames: Iterator[Frame], step_ms: float) -> Iterator[Frame]:
    """Frames that last for a step or longer. Each shows what is there when it begins."""
    pace, now_ms, skipped = _Pace(step_ms), 0, _NOTHING
    for picture, changed, delay_ms in frames:
        now_ms += delay_ms
        shown_ms = pace.shown_ms(now_ms)
        if shown_ms == 0:
            skipped = _both(changed, skipped)
            continue
        yield Frame(picture, _both(changed, skipped), shown_ms)
        skipped = _NOTHING


def _both(changed: Box, skipped: Box) -> Box:
    if is_empty(changed) or is_empty(skipped):
        return skipped if is_empty(changed) else changed
    return union(changed, skipped)
