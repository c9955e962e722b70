"""A wrong clock. Python imports this module at its start if its folder is in PYTHONPATH.

`time.time`, and the current time of APScheduler, are then wrong by the number of seconds in the
file `CHAOS_CLOCK`. The monotonic clock stays right, as it does when a machine's clock is set.
"""

import datetime
import os
import time

import apscheduler.executors.base
import apscheduler.schedulers.base

_offset = os.environ["CHAOS_CLOCK"]
_right = time.time


def _wrong() -> float:
    with open(_offset) as file:
        return _right() + float(file.read() or 0)


time.time = _wrong


class _Wrong(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(time.time(), tz)


for module in (apscheduler.executors.base, apscheduler.schedulers.base):
    module.datetime = _Wrong
