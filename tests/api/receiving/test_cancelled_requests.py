"""A request that is cancelled, as its server stops, leaves no file in the cache."""

import asyncio
import errno
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from falcon.asgi import Request

from gifster.api import receive
from gifster.api.context import Context
from gifster.api.receive import UploadForm, fetch_into
from gifster.uploads import CachedFile
from gifster.uploads.to_the_end import to_the_end

REQUEST = cast("Request", None)


class Threads:
    """What a request needs of its context."""

    async def fetch(self, req: Request, work: Callable[..., Any], *arguments: Any) -> Any:
        return await to_the_end(asyncio.to_thread(work, *arguments))

    async def write(self, work: Callable[..., Any]) -> Any:
        return await to_the_end(asyncio.to_thread(work))


class File:
    """A cached file."""

    key, deleted = "5b/5b", False

    def discard(self) -> None:
        self.deleted = True
        raise OSError(errno.EIO, "Input/output error")


def test_a_file_that_comes_after_its_request_was_cancelled_is_removed(
    monkeypatch: pytest.MonkeyPatch,
):
    # Given a file that is being fetched from another server
    context, file = cast("Context", Threads()), cast("CachedFile", File())
    begun, arrived = threading.Event(), threading.Event()

    def fetch(*arguments: Any) -> CachedFile:
        begun.set()
        arrived.wait(60)
        return file

    monkeypatch.setattr(receive, "fetch", fetch)

    async def request() -> None:
        form = UploadForm()
        task = asyncio.create_task(fetch_into(context, REQUEST, form, "https://example.org/a.gif"))
        await asyncio.to_thread(begun.wait, 20)

        # When the request is cancelled, and then the file arrives
        task.cancel()
        await asyncio.sleep(0)
        arrived.set()
        with pytest.raises(asyncio.CancelledError):
            await task

        # I expect its form to have the file, and a cache that fails to hide no other error
        assert form.cached is file
        await form.discard(context)

    asyncio.run(request())
    assert cast("Any", file).deleted
