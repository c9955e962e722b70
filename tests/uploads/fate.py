"""Storages and a database in which a process can crash, find the disk full or be superseded at any
step.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee

from gifster.uploads import LocalStorage
from gifster.uploads.storage.local_writer import LocalWriter


class Crashed(BaseException):
    """The process has died, as of a kill -9: nothing may clean up after it."""


class Fate:
    """Decides what happens at each step of a process; usually nothing."""

    def __init__(self) -> None:
        self._steps_left = 0
        #: What is to happen; returns False to be asked again at the next step.
        self._event: Callable[[str], bool] | None = None
        self.dead = False
        #: Whether something happened that only a sweep can clean up.
        self.untidy = False

    def step(self, where: str) -> None:
        """Pass a step; `where` is "writing", "files" or "database"."""
        if self.dead:
            raise Crashed
        if self._event is None:
            return
        if self._steps_left:
            self._steps_left -= 1
            return
        event, self._event = self._event, None
        if not event(where):
            self._event = event

    @contextmanager
    def after(self, steps: int, event: Callable[[str], bool]) -> Iterator[None]:
        """A `with` block in which an event happens once, after a number of steps."""
        self._steps_left, self._event = steps, event
        try:
            yield
        finally:
            self._event, self.dead = None, False

    def crash(self, where: str) -> bool:
        self.dead = self.untidy = True
        raise Crashed

    def full_disk(self, where: str) -> bool:
        if where == "writing":
            raise OSError(errno.ENOSPC, "No space left on device")
        return False


class Writer(LocalWriter):
    def __init__(self, path: Path, fate: Fate) -> None:
        self._fate = fate
        super().__init__(path)

    def commit(self, content_type: str = "") -> None:
        self._fate.step("writing")
        super().commit(content_type)
        self._fate.step("files")

    def abort(self) -> None:
        if not self._fate.dead:
            super().abort()


class Folder(LocalStorage):
    """A folder in which a process can crash at each step."""

    def __init__(self, root: Path, base_url: str, fate: Fate) -> None:
        super().__init__(root, base_url)
        self._fate = fate

    def create(self, key: str) -> LocalWriter:
        self._fate.step("writing")
        return Writer(self.path(key), self._fate)

    def delete(self, key: str) -> None:
        self._fate.step("files")
        super().delete(key)
        self._fate.step("files")


class Database(peewee.SqliteDatabase):
    """A database whose client can crash before each statement and around each commit, and can be
    superseded before each transaction."""

    fate: Fate

    def execute_sql(self, *arguments: Any, **options: Any) -> Any:
        self.fate.step("database")
        return super().execute_sql(*arguments, **options)

    def begin(self, *arguments: Any) -> Any:
        self.fate.step("database")
        return super().begin(*arguments)

    def commit(self) -> Any:
        self.fate.step("database")
        result = super().commit()
        self.fate.step("database")
        return result
