"""What every resource is handed: the settings, the threads for what blocks, the templates."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import jinja2

from gifster.api.limits import RateLimits
from gifster.boot import broker_url
from gifster.database import db
from gifster.library import Quota
from gifster.settings import Settings
from gifster.uploads import placeholder

#: How many fetch at once, and how many may at most, with those that wait.
FETCHES, MAX_FETCHES = 4, 32

P = ParamSpec("P")
R = TypeVar("R")


class TooBusy(Exception):
    """There is no room for another request of this kind now."""


class Context:
    """One for each web process.

    Parameters:
      settings: the application's.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limits = RateLimits(settings, broker_url(settings))
        limits = settings.limits
        #: What a user may have in all.
        self.quota = Quota(limits.gifs_per_user, limits.bytes_per_user) if limits.enabled else None
        self.templates = jinja2.Environment(
            loader=jinja2.PackageLoader("gifster.api"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters["blurred"] = placeholder
        self._threads = ThreadPoolExecutor(settings.web.threads, thread_name_prefix="blocking")
        # Other people's servers may be slow: they hold no thread that anybody else waits for.
        self._fetching = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetching")
        self._fetches = 0

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do something that blocks in a thread, with a database connection around it."""
        return await self._in_thread(functools.partial(_connected, work, *args, **kwargs))

    async def run_unconnected(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The same without a database connection: for files."""
        return await self._in_thread(functools.partial(work, *args, **kwargs))

    async def fetch(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The same for what other people's servers have a part in.

        Raises:
          TooBusy: too many such requests wait already.
        """
        if self._fetches >= MAX_FETCHES:
            raise TooBusy
        self._fetches += 1
        try:
            return await self._in_thread(functools.partial(work, *args, **kwargs), self._fetching)
        finally:
            self._fetches -= 1

    async def _in_thread(
        self, work: Callable[[], R], threads: ThreadPoolExecutor | None = None
    ) -> R:
        # A thread cannot be stopped. If the request is (its client has gone), wait for the thread
        # all the same: whoever cleans up after the request must know what was done.
        future = asyncio.get_running_loop().run_in_executor(threads or self._threads, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise


def _connected(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    with db.connection_context():
        return work(*args, **kwargs)
