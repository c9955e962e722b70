"""Waits for work that cannot be stopped."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

R = TypeVar("R")


async def to_the_end(work: Awaitable[R]) -> R:
    """The result of work on a thread, which cannot be stopped.

    A request that is cancelled, because its client has gone or the server stops, waits for the end
    all the same, however often it is cancelled: the cleanup after it must know what was done.
    """
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        raise
