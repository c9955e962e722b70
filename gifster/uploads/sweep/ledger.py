"""The sweep's own notes: which files there are, and which are named. A library may have millions,
so they are on the disk, in a temporary SQLite database that is gone with its connection; whatever
is compared is sorted there, in a fixed amount of memory.

Files have full names, `place` of the storage and key, so that it does not matter by which of a
storage's names a row calls it.
"""

import pickle
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any

BATCH = 1000
CACHE_KIB = 8 * 1024

_TABLES = {
    "listed": "place INTEGER, name TEXT, old INTEGER",
    # By rows, under a storage's number.
    "named": "storage INTEGER, name TEXT",
    # Keys that are in use in whichever storage, and folders of uploads that may still be written.
    "keys": "key TEXT",
    "folders": "folder TEXT",
    # What the arguments of jobs say.
    "said": "text TEXT",
    # What waits for a job: in which mounted column, and in which row.
    "waiting": "mount INTEGER, pk BLOB, key TEXT",
    "suspects": "place INTEGER, name TEXT, cached INTEGER",
}
_INDEXES = {
    "listed": "place, name, old",
    "named": "name, storage",
    "keys": "key",
    "folders": "folder",
    "said": "text",
}


class Ledger:
    """Notes of one sweep. `sort()` stands between the writing and the questions."""

    def __init__(self) -> None:
        # No name: a file that no other process sees, and that even a crash does not leave.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        for table, columns in _TABLES.items():
            self._db.execute(f"CREATE TABLE {table} ({columns})")
        self._db.execute("BEGIN")
        self._waiting_rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _TABLES}

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def add(self, table: str, *row: Any) -> None:
        """Note one row."""
        rows = self._waiting_rows[table]
        rows.append(row)
        if len(rows) >= BATCH:
            self._write(table)

    def add_listing(self, place: int, prefix: str, files: Iterable[tuple[str, float]],
                    before: float) -> int:  # fmt: skip
        """Note what a storage keeps.

        Returns:
          how many files that are.
        """
        count = 0
        for key, modified_at in files:
            self.add("listed", place, prefix + key, modified_at < before)
            count += 1
        return count

    def forget_listing(self, place: int) -> None:
        """Forget a listing that broke off."""
        self.flush()
        self._db.execute("DELETE FROM listed WHERE place = ?", (place,))

    def add_waiting(self, mount: int, pk: Any, key: str) -> None:
        """Note that a row waits for an upload. `pk`: as the database's driver gave it."""
        pk = bytes(pk) if isinstance(pk, memoryview) else pk  # as psycopg2 gives bytes
        self.add("waiting", mount, pickle.dumps(pk), key)

    def flush(self) -> None:
        """Have what was added be found."""
        for table in self._waiting_rows:
            self._write(table)

    def _write(self, table: str) -> None:
        rows = self._waiting_rows[table]
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 ours
            rows.clear()

    def sort(self) -> None:
        """Be ready for questions. More can be added, and is found after `flush()`."""
        self.flush()
        for table, columns in _INDEXES.items():
            self._db.execute(f"CREATE INDEX by_{table} ON {table} ({columns})")

    # The questions.

    def unnamed(self, place: int) -> Iterator[str]:
        """The full names of old files that no row names, sorted."""
        return self._texts(
            "SELECT name FROM listed WHERE place = ? AND old AND NOT EXISTS "
            "(SELECT 1 FROM named WHERE named.name = listed.name) ORDER BY name",
            place,
        )

    def missing(self, storage: int, place: int) -> Iterator[str]:
        """The full names that rows name, and that are not listed, sorted."""
        return self._texts(
            "SELECT DISTINCT name FROM named WHERE storage = ? AND NOT EXISTS "
            "(SELECT 1 FROM listed WHERE place = ? AND listed.name = named.name) ORDER BY name",
            storage,
            place,
        )

    def is_in_use(self, key: str) -> bool:
        """Whether something but a row of a known model names a key."""
        return self._any(
            "SELECT 1 FROM keys WHERE key = ?1 UNION ALL SELECT 1 FROM said WHERE text = ?1", key
        )

    def is_awaited(self, folder: str) -> bool:
        """Whether a job may still write into the folder of an upload."""
        return self._any("SELECT 1 FROM folders WHERE folder = ?", folder)

    def stuck(self) -> Iterator[tuple[int, Any, str]]:
        """What waits and no job is about: number of the mounted column, primary key, key."""
        for mount, pk, key in self._db.execute(
            "SELECT mount, pk, key FROM waiting WHERE NOT EXISTS "
            "(SELECT 1 FROM said WHERE said.text = waiting.key)"
        ):
            yield mount, pickle.loads(pk), key  # noqa: S301 written above

    def drop_suspects(self, may_go: Callable[[int, str], bool]) -> None:
        """Forget those of which it turned out that they are in use."""
        self.flush()
        for row, place, name in self._db.execute("SELECT rowid, place, name FROM suspects"):
            if not may_go(place, name):
                self._db.execute("DELETE FROM suspects WHERE rowid = ?", (row,))

    def count_suspects(self, place: int | None = None) -> tuple[int, int]:
        """How many stored and how many cached files may go, of one place or of all."""
        query = "SELECT COALESCE(SUM(NOT cached), 0), COALESCE(SUM(cached), 0) FROM suspects"
        here = " WHERE place = ?1 OR ?1 IS NULL"
        stored, cached = self._db.execute(query + here, (place,)).fetchone()
        return stored, cached

    def count_named(self) -> int:
        """How many files there are that rows name."""
        query = (
            "SELECT COUNT(*) FROM listed WHERE EXISTS "
            "(SELECT 1 FROM named WHERE named.name = listed.name)"
        )
        count: int = self._db.execute(query).fetchone()[0]
        return count

    def suspects(self, place: int) -> Iterator[tuple[str, bool]]:
        """The full names of what may go, sorted, and whether it is a cached file."""
        for name, cached in self._db.execute(
            "SELECT name, cached FROM suspects WHERE place = ? ORDER BY name", (place,)
        ):
            yield name, bool(cached)

    def _texts(self, query: str, *values: Any) -> Iterator[str]:
        for (text,) in self._db.execute(query, values):
            yield text

    def _any(self, query: str, value: str) -> bool:
        return self._db.execute(query, (value,)).fetchone() is not None
