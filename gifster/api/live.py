"""Live pages: `/events?gif=…&gif=…` tells a page when its GIFs change state (server-sent events).

One look at the database each half second serves all pages of this process, and there is none
while no page is waiting for anything.
"""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import peewee
from falcon.asgi import SSEvent

from gifster import library
from gifster.api.context import Context
from gifster.api.problems import Problem

logger = logging.getLogger("gifster.api")

INTERVAL_S = 0.5
PING_S = 15
#: A stream ends by then; the browser opens a new one by itself if it still waits for something.
LIFETIME_S = 300
MAX_GIFS = 100


class Events:
    """`GET` a stream of `{"id": …, "state": …, "image": …}`, first the present states, then each
    change. The state is null for a GIF that is gone; the image is its SHA-256, null before it is
    stored."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._waiting: list[list[str]] = []
        self._states: dict[str, tuple[str | None, str | None]] = {}
        self._looked = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def process_startup(self, scope: Any, event: Any) -> None:
        """End all streams on SIGTERM: the server waits for open requests, and these never end.

        The server has set the loop's own handler, which a Python handler leaves at work.
        """
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    async def on_get(self, req: Any, resp: Any) -> None:
        ids = req.get_param_as_list("gif") or []
        if not 1 <= len(ids) <= MAX_GIFS:
            raise Problem(400, "gif_missing", f"Name 1 to {MAX_GIFS} GIFs: /events?gif=ID")
        resp.set_header("X-Accel-Buffering", "no")
        resp.sse = self._stream(ids)

    async def _stream(self, ids: list[str]) -> AsyncIterator[SSEvent | None]:
        seen: dict[str, tuple[str | None, str | None]] = {}
        quiet_since = started = time.monotonic()
        self._waiting.append(ids)
        if self._task is None:
            self._task = asyncio.create_task(self._look())
        try:
            while not self._stopping and time.monotonic() - started < LIFETIME_S:
                async with self._looked:
                    await self._looked.wait()
                for gif_id in ids:
                    if gif_id not in self._states:
                        continue
                    now = state, image = self._states[gif_id]
                    if seen.get(gif_id) != now:
                        seen[gif_id], quiet_since = now, time.monotonic()
                        told = {"id": gif_id, "state": state, "image": image}
                        yield SSEvent(event="gif", json=told)
                if time.monotonic() - quiet_since > PING_S:
                    quiet_since = time.monotonic()
                    yield None
        finally:
            self._waiting.remove(ids)

    async def _look(self) -> None:
        try:
            while self._waiting:
                ids = sorted({gif_id for waiting in self._waiting for gif_id in waiting})
                try:
                    found = await self.context.run(library.states, ids)
                    self._states = {gif_id: found.get(gif_id, (None, None)) for gif_id in ids}
                except peewee.PeeweeException as error:
                    logger.warning("the states cannot be read: %s", error)
                async with self._looked:
                    self._looked.notify_all()
                await asyncio.sleep(INTERVAL_S)
        finally:
            self._task = None
