"""The web server: granian, which tells its processes that they are about to stop."""

import os
import signal
from contextlib import suppress
from typing import Any

from granian import Granian

from gifster.app.settings import DRAIN
from gifster.jobs.signal_event import SignalEvent


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
        self.main_loop_interrupt = SignalEvent()  # granian's handlers set it

    def signal_handler_interrupt(self, *arguments: Any, **options: Any) -> None:
        """Granian calls it for SIGTERM and SIGINT."""
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
        stop()
