"""The signals of a worker process that the `dramatiq` command has forked.

`SIGTSTP` makes it quiet, as in Sidekiq, and `SIGCONT` makes it work again: `heartbeat.py` obeys,
and writes it into the row. `SIGHUP` and `SIGTERM` are Dramatiq's: they stop it, to be restarted or
for good. Dramatiq kills a process at the second signal, so one that means nothing new is kept from
it.
"""

import signal
from typing import Any

from gifster.jobs.signal_event import SignalEvent


class WorkerSignals:
    """What signals have told this process."""

    def __init__(self) -> None:
        #: Dramatiq's main process; None in a process that runs a worker of its own.
        self.main_process: int | None = None
        #: Whether a SIGHUP came, and whether a SIGTERM came.
        self.is_hung_up = self.is_ending = False
        self.reset()

    def reset(self) -> None:
        """Forget the orders: a worker begins."""
        #: Whether a signal told us to be quiet, or to work again; None once that is in the row.
        self.quiet: bool | None = None
        #: Set when there is a new order.
        self.came = SignalEvent()

    def install(self, main_process: int | None) -> None:
        """Handle the signals.

        Parameters:
          main_process: the process id of Dramatiq's main process.
        """
        self.main_process = main_process
        for number, quiet_now in ((signal.SIGTSTP, True), (signal.SIGCONT, False)):
            signal.signal(number, lambda *_, value=quiet_now: self.order(quiet=value))
        # Dramatiq kills a process at its second SIGHUP, and two processes that are too large send
        # one each.
        stop = signal.getsignal(signal.SIGHUP)
        signal.signal(signal.SIGHUP, lambda *arguments: self._stop_once(stop, *arguments))
        # It restarts at a SIGHUP that comes after SIGTERM.
        end = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *arguments: self._end(end, *arguments))

    def order(self, *, quiet: bool) -> None:
        """Tell the process to be quiet, or to work again."""
        self.quiet = quiet
        self.came.set()

    def _stop_once(self, stop: Any, *arguments: Any) -> None:
        if not self.is_hung_up and callable(stop):
            self.is_hung_up = True
            stop(*arguments)

    def _end(self, end: Any, *arguments: Any) -> None:
        is_second, self.is_ending = self.is_ending, True
        if self.is_hung_up and not is_second:
            return  # it stops already, and Dramatiq would take this for a second signal, and exit
        if callable(end):
            end(*arguments)
