"""The web server: granian, which tells its processes that they are about to stop."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from granian import Granian

from gifster.app.settings import DRAIN
from gifster.jobs.signal_event import SignalEvent


class _Wake(SignalEvent):
    """Wakes granian's main loop, which looks what there is to do, and then clears the event. What
    comes in between must wake it once more.

    Parameters:
      is_due: whether there is something to do.
    """

    def __init__(self, is_due: Callable[[], bool]) -> None:
        super().__init__()
        self._is_due = is_due

    def clear(self) -> None:
        super().clear()
        if self._is_due():
            self.set()


class DrainingServer(Granian):  # type: ignore[misc, valid-type]  # granian chooses its class
    """Stops some seconds after SIGTERM. Meanwhile it serves requests, and `/readyz` answers 503. A
    second signal stops it at once, and so does SIGINT.

    Parameters:
      drain_s: how many seconds.
      options: granian's.
    """

    def __init__(self, drain_s: float, **options: Any) -> None:
        super().__init__("gifster.api.process:build", **options)
        self._drain_s, self._draining = drain_s, False
        self.main_loop_interrupt = _Wake(  # granian's handlers set it
            lambda: self.interrupt_signal or self.reload_signal or bool(self.interrupt_children)
        )

    def signal_handler_interrupt(self, *arguments: Any, **options: Any) -> None:
        """Granian calls it for SIGTERM and SIGINT."""
        if os.getpid() != self.pid:
            # A process that was just forked has this handler until it has its own.
            if arguments[:1] == (signal.SIGTERM,):
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGTERM)
            return
        stop = super().signal_handler_interrupt
        if not self._draining and self._drain_s and arguments[:1] == (signal.SIGTERM,):
            self._draining = True
            for worker in self.wrks:
                with suppress(ProcessLookupError):
                    os.kill(worker._id(), DRAIN)
            # Not a thread: starting one takes a lock, which this signal may have interrupted.
            signal.signal(signal.SIGALRM, lambda *_: stop())
            signal.setitimer(signal.ITIMER_REAL, self._drain_s)
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        stop()
