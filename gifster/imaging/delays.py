"""For how long the frames of an animation are shown."""

from gifster.imaging.errors import TooManyFrames

_SHORT_MS, _DEFAULT_MS = 10, 100


def shown_ms(told_ms: float) -> float:
    """For how long browsers show a frame: one without a delay, or with so short a one, for 100 ms,
    whatever the format (tried in Chromium, see decision 20)."""
    return told_ms if told_ms > _SHORT_MS else _DEFAULT_MS


class Timeline:
    """Counts frames, and the time that they are shown.

    Parameters:
      most: how many there may be.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self.frames = 0
        self._told = self._shown = 0.0

    def add(self, told_ms: float) -> None:
        """Count a frame that is to be shown for so long.

        Raises:
          TooManyFrames: it is one too many.
        """
        self.frames += 1
        if self._most is not None and self.frames > self._most:
            raise TooManyFrames(
                f"The animation has too many frames; at most {self._most} are taken."
            )
        self._told += told_ms
        self._shown += shown_ms(told_ms)

    @property
    def duration_ms(self) -> int:
        """Of all of them; of a single one, which has no other to make room for, as it says."""
        return round(self._shown if self.frames > 1 else self._told)
