"""Python imports this at its start where its folder is in PYTHONPATH: `time.time`, and what
APScheduler takes for now, are then wrong by as many seconds as the file `CHAOS_CLOCK` says. The
monotonic clock stays right, as it does when a machine's clock is set."""

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
