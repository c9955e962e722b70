"""The sweep's own notes: which files exist, and which of them something names.

A library may have millions of files. So the notes are on the disk, in a temporary SQLite database
that is gone with its connection. It sorts and compares them in a fixed amount of memory.

Files have full names, the storage's `place` and the key, so that it does not matter which of the
storage's names a row uses.
"""

import pickle
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Protocol

BATCH = 1000
CACHE_KIB = 8 * 1024

_TABLES = {
    "listed": "place INTEGER, name TEXT, old INTEGER",
    # Files that rows name, under a storage's number.
    "named": "storage INTEGER, name TEXT",
    # Keys in use in any storage, and folders of uploads that a job may still write into.
    "keys": "key TEXT",
    "folders": "folder TEXT",
    # Keys in the arguments of jobs.
    "in_jobs": "key TEXT",
    # Uploads that wait for a job: in which mounted column, and in which row.
    "waiting": "mount INTEGER, pk BLOB, key TEXT",
    "suspects": "place INTEGER, name TEXT, cached INTEGER",
}
_INDEXES = {
    "listed": "place, name, old",
    "named": "name, storage",
    "keys": "key",
    "folders": "folder",
    "in_jobs": "key",
}


class Notes(Protocol):
    """Takes down what a row names."""

    def add(self, table: str, *row: object) -> None:
        """Add a row to a table of the notes."""
        ...

    def add_waiting(self, mount: int, pk: Any, key: str) -> None:
        """Add an upload that waits."""
        ...


class Sieve:
    """Keeps of the files that rows name only those that are asked for.

    Parameters:
      wanted: the number of a storage, and the full name of a file.
    """

    def __init__(self, wanted: Collection[tuple[int, str]]) -> None:
        self._wanted = wanted
        #: Those that a row names.
        self.found: set[tuple[int, str]] = set()

    def add(self, table: str, *row: object) -> None:
        """Keep a row if it is a file that is asked for."""
        match (table, *row):
            case ("named", int(storage), str(name)) if (storage, name) in self._wanted:
                self.found.add((storage, name))

    def add_waiting(self, mount: int, pk: Any, key: str) -> None:
        """Nobody asks for uploads that wait."""


class Ledger:
    """The notes of one sweep. Add them, call `sort()`, then ask."""

    def __init__(self) -> None:
        # Without a name, no other process sees the file, and even a crash does not leave it.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        for table, columns in _TABLES.items():
            self._db.execute(f"CREATE TABLE {table} ({columns})")
        self._db.execute("BEGIN")
        self._unwritten: dict[str, list[tuple[object, ...]]] = {table: [] for table in _TABLES}

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def add(self, table: str, *row: object) -> None:
        """Add a row to a table."""
        rows = self._unwritten[table]
        rows.append(row)
        if len(rows) >= BATCH:
            self._write(table)

    def add_listing(self, place: int, prefix: str, files: Iterable[tuple[str, float]],
                    before: float) -> int:  # fmt: skip
        """Add the files of a place: keys, and when each was last written.

        Returns:
          their number.
        """
        count = 0
        for key, modified_at in files:
            self.add("listed", place, prefix + key, modified_at < before)
            count += 1
        return count

    def forget_listing(self, place: int) -> None:
        """Forget the files of a place whose listing failed half-way."""
        self.flush()
        self._db.execute("DELETE FROM listed WHERE place = ?", (place,))

    def add_waiting(self, mount: int, pk: Any, key: str) -> None:
        """Add an upload that waits. `pk`: the row's, as the database's driver returned it; a tuple
        of a composite key."""
        parts = pk if isinstance(pk, tuple) else (pk,)
        # psycopg2 gives a memoryview for bytes.
        plain = tuple(bytes(part) if isinstance(part, memoryview) else part for part in parts)
        pk = plain if isinstance(pk, tuple) else plain[0]
        self.add("waiting", mount, pickle.dumps(pk), key)

    def flush(self) -> None:
        """Make all added rows visible to the questions."""
        for table in self._unwritten:
            self._write(table)

    def _write(self, table: str) -> None:
        rows = self._unwritten[table]
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 ours
            rows.clear()

    def sort(self) -> None:
        """Build the indexes. Rows added later are found after `flush()`."""
        self.flush()
        for table, columns in _INDEXES.items():
            self._db.execute(f"CREATE INDEX by_{table} ON {table} ({columns})")

    # The questions.

    def unnamed(self, place: int) -> Iterator[str]:
        """The full names of old files that no row names, in order."""
        return self._texts(
            "SELECT name FROM listed WHERE place = ? AND old AND NOT EXISTS "
            "(SELECT 1 FROM named WHERE named.name = listed.name) ORDER BY name",
            place,
        )

    def names_some(self, beginning: str) -> bool:
        """Whether a row names a file whose full name begins so, and goes on without a slash."""
        return self._any(
            "SELECT 1 FROM named WHERE name >= :value "
            "AND name < substr(:value, 1, length(:value) - 1) || '0' "
            "AND instr(substr(name, length(:value) + 1), '/') = 0",
            beginning,
        )

    def missing(self, storage: int, place: int) -> Iterator[str]:
        """The full names of files that rows name and the listing lacks, in order."""
        return self._texts(
            "SELECT DISTINCT name FROM named WHERE storage = ? AND NOT EXISTS "
            "(SELECT 1 FROM listed WHERE place = ? AND listed.name = named.name) ORDER BY name",
            storage,
            place,
        )

    def is_in_use(self, key: str) -> bool:
        """Whether a job, or a row of an unknown model, names a key."""
        return self._any(
            "SELECT 1 FROM keys WHERE key = :value "
            "UNION ALL SELECT 1 FROM in_jobs WHERE key = :value",
            key,
        )

    def is_awaited(self, folder: str) -> bool:
        """Whether a job may still write into the folder of an upload."""
        return self._any("SELECT 1 FROM folders WHERE folder = :value", folder)

    def stuck(self) -> Iterator[tuple[int, Any, str]]:
        """Uploads that wait without a job: number of the mounted column, primary key, key."""
        for mount, pk, key in self._db.execute(
            "SELECT mount, pk, key FROM waiting WHERE NOT EXISTS "
            "(SELECT 1 FROM in_jobs WHERE in_jobs.key = waiting.key)"
        ):
            yield mount, pickle.loads(pk), key  # noqa: S301 written above

    def drop_suspects(self, may_go: Callable[[int, str], bool]) -> None:
        """Forget the suspects that turned out to be in use."""
        self.flush()
        for row, place, name in self._db.execute("SELECT rowid, place, name FROM suspects"):
            if not may_go(place, name):
                self._db.execute("DELETE FROM suspects WHERE rowid = ?", (row,))

    def count_suspects(self, place: int | None = None) -> tuple[int, int]:
        """The number of stored and of cached suspects, of one place or of all."""
        query = "SELECT COALESCE(SUM(NOT cached), 0), COALESCE(SUM(cached), 0) FROM suspects"
        here = " WHERE place = :place OR :place IS NULL"
        stored, cached = self._db.execute(query + here, {"place": place}).fetchone()
        return stored, cached

    def count_named(self) -> int:
        """The number of listed files that rows name."""
        query = (
            "SELECT COUNT(*) FROM listed WHERE EXISTS "
            "(SELECT 1 FROM named WHERE named.name = listed.name)"
        )
        count: int = self._db.execute(query).fetchone()[0]
        return count

    def suspects(self, place: int) -> Iterator[tuple[str, bool]]:
        """The full names of the suspects in order, and whether each is a cached file."""
        for name, cached in self._db.execute(
            "SELECT name, cached FROM suspects WHERE place = ? ORDER BY name", (place,)
        ):
            yield name, bool(cached)

    def _texts(self, query: str, *values: int) -> Iterator[str]:
        for (text,) in self._db.execute(query, values):
            yield text

    def _any(self, query: str, value: str) -> bool:
        return self._db.execute(query, {"value": value}).fetchone() is not None
