"""The points at which a process can die: before each statement of SQL, around each commit, before
each change of a file or folder, and before each request to an S3 server.

`watch()` puts itself in between, for the rest of the process. It does nothing until a `Walk`
begins: that one counts the points, and ends the process (`os._exit()`) at one of them. Nothing is
cleaned up then, as after `kill -9`.
"""

import functools
import os
import random
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: The exit status of a process that died at its point.
DIED = 77
#: No point of a walk.
ALIVE = "0"
COMMITTED = "committed"
_CHANGES = ("replace", "rename", "unlink", "link", "mkdir", "rmdir")
_STATEMENT = 60


class Walk:
    """One way through the points.

    Parameters:
      die_at: the number of the point at which the process dies, from 1; or that of a commit, as
        `c1`, after which it dies; `ALIVE` if it does not.
    """

    def __init__(self, die_at: str) -> None:
        self._die_at = die_at
        #: What was passed, in order.
        self.passed: list[str] = []
        self._commits = 0
        self._lock = threading.Lock()

    def point(self, what: str) -> None:
        with self._lock:  # boto3 has threads
            self.passed.append(what)
            self._commits += what == COMMITTED
            if self._die_at in (str(len(self.passed)), f"c{self._commits}"):
                os._exit(DIED)


#: The walk that this process is on, if any.
_walks: list[Walk] = []


@contextmanager
def walking(walk: Walk) -> Iterator[None]:
    """A `with` block in which the points count."""
    _walks.append(walk)
    try:
        yield
    finally:
        _walks.remove(walk)


def _point(what: str) -> None:
    for walk in _walks:
        walk.point(what)


def watch() -> None:
    """Have all changes of files, and all requests to S3, pass a point before. Call it once."""
    from botocore.httpsession import URLLib3Session

    for name in _CHANGES:
        setattr(os, name, _passing(name, getattr(os, name)))
    really_open = os.open

    def opened(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            _point(f"create {_short(path)}")
        return really_open(path, flags, *args, **options)

    os.open = opened
    send = URLLib3Session.send

    def sent(self: Any, request: Any) -> Any:
        _point(f"{request.method} {request.url.partition('?')[0]}")
        return send(self, request)

    URLLib3Session.send = sent


def watch_database(database: Any) -> None:
    """Have all statements of a database pass a point before, and each commit one after, too."""
    execute, commit = database.execute_sql, database.commit

    def executed(sql: str, *args: Any, **options: Any) -> Any:
        _point(f"sql {sql[:_STATEMENT]}")
        return execute(sql, *args, **options)

    def committed() -> Any:
        _point("commit")
        result = commit()
        _point(COMMITTED)
        return result

    database.execute_sql, database.commit = executed, committed


def without_chance(seed: str) -> None:
    """Have this process make the same secrets whenever it begins with this seed, so that it takes
    the same way through the same folders, and run jobs in the same order."""
    random.seed(seed)
    chance = random.Random(seed)
    secrets.token_bytes = lambda nbytes=None: chance.randbytes(nbytes or secrets.DEFAULT_ENTROPY)


def _passing(name: str, really: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(really)
    def call(path: Any, *args: Any, **options: Any) -> Any:
        _point(f"{name} {_short(path)}")
        return really(path, *args, **options)

    return call


def _short(path: Any) -> str:
    return (
        "/".join(os.fsdecode(path).rsplit("/", 3)[1:])
        if isinstance(path, str | os.PathLike)
        else "?"
    )
