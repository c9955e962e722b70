"""How long the frames of an animation are displayed."""

from gifster.imaging.errors import TooManyFrames

_IGNORED_MS, _DEFAULT_MS = 10, 100


def displayed_ms(declared_ms: float) -> float:
    """How long browsers display a frame whose file declares this delay (both in ms).

    Browsers replace delays of up to 10 ms by 100 ms, in every format (tried in Chromium, see
    decision 20).
    """
    return declared_ms if declared_ms > _IGNORED_MS else _DEFAULT_MS


class Timeline:
    """Counts frames, and adds up their delays.

    Parameters:
      max_frames: how many frames there may be; None means any number.
    """

    def __init__(self, max_frames: int | None) -> None:
        self._max_frames = max_frames
        self.frames = 0
        self._declared_ms = self._displayed_ms = 0.0

    def add(self, declared_ms: float) -> None:
        """Count a frame with the delay that its file declares (ms).

        Raises:
          TooManyFrames: there are more than `max_frames`.
        """
        self.frames += 1
        if self._max_frames is not None and self.frames > self._max_frames:
            raise TooManyFrames(
                f"The animation has too many frames: at most {self._max_frames} are allowed."
            )
        self._declared_ms += declared_ms
        self._displayed_ms += displayed_ms(declared_ms)

    @property
    def duration_ms(self) -> int:
        """The duration of all frames as browsers display them; of a single frame as declared."""
        return round(self._displayed_ms if self.frames > 1 else self._declared_ms)
