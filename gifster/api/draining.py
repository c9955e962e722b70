"""Before it stops, a web process tells its load balancer that it wants no more requests.

`gifster web` sends each of its processes SIGURG when it is told to stop, and SIGTERM some seconds
later (`web.drain_s`). In between, `/readyz` answers 503, and each answer ends its connection, so
that no proxy sends a request on one that is about to be closed. All requests are served. When it
starts, it asks whether it is ready, before anybody else does.
"""

import asyncio
from collections.abc import Mapping

from falcon.asgi import Request, Response

from gifster.app.readiness import Readiness
from gifster.app.settings import DRAIN


class Draining:
    """Middleware that obeys the signal.

    Parameters:
      readiness: says whether this process wants requests.
    """

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def process_startup(
        self, scope: Mapping[str, object], event: Mapping[str, object]
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(DRAIN, self._drain)
        # The first probe has its answer at once. And from now on this process has the database
        # open, by which `gifster database copy` knows that it runs.
        loop.run_in_executor(None, self._readiness.answer)

    def _drain(self) -> None:
        self._readiness.draining = True

    async def process_response(
        self, req: Request, resp: Response, resource: object, succeeded: bool
    ) -> None:
        if self._readiness.draining:
            resp.set_header("Connection", "close")  # RFC 9112, 9.6
