"""The web server: granian, which tells its processes that they are about to stop."""

import os
import signal
import threading
from contextlib import suppress
from typing import Any

from granian import Granian

from gifster.app.settings import DRAIN


class DrainingServer(Granian):  # type: ignore[misc, valid-type]  # granian chooses its class
    """Stops some seconds after SIGTERM. Meanwhile it serves requests, and `/readyz` answers 503. A
    second signal stops it at once, and so does SIGINT.

    Parameters:
      drain_s: how many seconds.
      options: granian's.
    """

    def __init__(self, drain_s: float, **options: Any) -> None:
        super().__init__("gifster.api.process:build", **options)
        self._drain_s = drain_s
        self._draining: threading.Timer | None = None

    def signal_handler_interrupt(self, *arguments: Any, **options: Any) -> None:
        """Granian calls it for SIGTERM and SIGINT."""
        stop = super().signal_handler_interrupt
        if self._draining is None and self._drain_s and arguments[:1] == (signal.SIGTERM,):
            for worker in self.wrks:
                with suppress(ProcessLookupError):
                    os.kill(worker._id(), DRAIN)
            self._draining = threading.Timer(self._drain_s, stop)
            self._draining.daemon = True
            self._draining.start()
            return
        stop()
