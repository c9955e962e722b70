"""Uploads that wait together for one commit."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from gifster.api.group_commit import GroupCommit
from gifster.app import library
from gifster.app.database import db
from gifster.app.models import Gif
from tests.app.gifs import cached


def adding(title: str, **options: Any) -> Callable[[], Gif]:
    file = cached()
    return lambda: library.add_gif(file, title=title, **options)


def titles() -> set[str]:
    """What is committed, as another connection sees it."""
    found: set[str] = set()

    def look() -> None:
        with db.connection_context():
            found.update(title for (title,) in Gif.select(Gif.title).tuples())

    other = threading.Thread(target=look)
    other.start()
    other.join()
    return found


def committed_together(
    commits: GroupCommit, *works: Callable[[], Any]
) -> list[Any | BaseException]:
    """The results of works that waited together, because another one kept the thread busy."""

    def nothing() -> None:
        pass

    async def all_of_them() -> list[Any]:
        started, go = threading.Event(), threading.Event()

        def first() -> None:
            started.set()
            go.wait()

        busy = asyncio.ensure_future(commits.run(first, nothing))
        await asyncio.to_thread(started.wait)
        waiting = [asyncio.ensure_future(commits.run(work, nothing)) for work in works]
        await asyncio.sleep(0)  # they are in the queue now
        go.set()
        await busy
        return await asyncio.gather(*waiting, return_exceptions=True)

    return asyncio.run(all_of_them())
