"""Python imports this at its start where its folder is in PYTHONPATH: `time.time` is then wrong by
as many seconds as the file `CHAOS_CLOCK` says. The monotonic clock stays right, as it does when a
machine's clock is set."""

import os
import time

_offset = os.environ["CHAOS_CLOCK"]
_right = time.time


def _wrong() -> float:
    with open(_offset) as file:
        return _right() + float(file.read() or 0)


time.time = _wrong
