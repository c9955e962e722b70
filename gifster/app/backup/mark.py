"""The mark of a restore that has not finished, `var/restoring.json`: which backup it brings back,
by which name it knows the database that it has filled, and what it had to leave out."""

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from gifster.app.backup import BackupError
from gifster.app.installation import RESTORING


@dataclass(frozen=True)
class Mark:
    """The mark of the restore that this process does.

    Parameters:
      outbox: the name that the outbox of the restored database gets.
    """

    outbox: str
    _file: TextIO
    _length: int

    def leave_out(self, lines: list[str]) -> None:
        """Note what is left out, before the database is there: after that nobody can tell."""
        self._file.seek(self._length)
        self._file.truncate()
        json.dump(lines, self._file)
        _sync(self._file)

    def left_out(self) -> list[str]:
        """What `leave_out()` has noted."""
        self._file.seek(self._length)
        lines: list[str] = json.loads(self._file.read() or "[]")
        return lines


@contextmanager
def marked(mine: dict[str, str], check: Callable[[], object], *, resumed: bool) -> Iterator[Mark]:
    """A block during which the mark of this restore is there, and no other process restores here.

    Parameters:
      mine: what is restored.
      check: raises an error if nothing can be restored here; called before the mark is written.
      resumed: whether it goes on with one that was interrupted.

    Raises:
      BackupError: another one does, or has done so, or another backup has been restored half-way.
    """
    RESTORING.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = RESTORING.open("r+" if resumed else "a+", encoding="utf-8")
    except FileNotFoundError:
        raise _another() from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _another() from None
        file.seek(0)
        if resumed:
            yield _read(mine, file)
            return
        if file.read():
            raise _another()
        try:
            check()  # another one may just have ended
        except BaseException:
            RESTORING.unlink(missing_ok=True)
            raise
        yield _written(mine, file)


def _read(mine: dict[str, str], file: TextIO) -> Mark:
    first = file.readline()
    try:
        found = json.loads(first)
        outbox = found.pop("outbox", "")
    except (ValueError, AttributeError, TypeError):
        raise _another() from None
    # One of the release before names no storages.
    known = {name: place for name, place in mine.items() if name.startswith("storage ")} | found
    if known != mine:
        raise _another()
    # One of the release before has no name in it.
    return Mark(outbox, file, len(first)) if outbox else _written(mine, file)


def _written(mine: dict[str, str], file: TextIO) -> Mark:
    outbox = secrets.token_hex(8)
    first = json.dumps(mine | {"outbox": outbox}) + "\n"
    file.seek(0)
    file.truncate()
    file.write(first)
    _sync(file)
    return Mark(outbox, file, len(first))


def _sync(file: TextIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _another() -> BackupError:
    return BackupError(
        f"another gifster restore runs here, or has not finished ({RESTORING.absolute()}): start "
        "that one again. To give it up, empty the storages, and remove that file"
    )
