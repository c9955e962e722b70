"""The list of files of one backup: which storage has which content under which key.

A library may have millions of files, so the list is a SQLite file, and compared on the disk with
that of the last backup.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gifster.uploads.sweep.naming import NamedFile

FILES = """
    storage TEXT NOT NULL, key TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (storage, key)) WITHOUT ROWID
"""
BATCH = 1000


@dataclass(frozen=True)
class Kept:
    """A file of a backup: where it belongs, and its content."""

    storage: str
    key: str
    sha256: str
    bytes: int


class Manifest:
    """The list while a backup is made.

    Parameters:
      path: of a new file.
      earlier: the list of the last backup; None for the first one.
    """

    def __init__(self, path: Path, earlier: Path | None) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        # Files of earlier attempts and of the last backup, whose content is there.
        self._db.execute(f"CREATE TABLE files ({FILES}")
        self._db.execute(f"CREATE TEMP TABLE copied ({FILES}")
        self._db.execute(
            "CREATE TEMP TABLE todo (storage TEXT, key TEXT, sha256 TEXT, about TEXT, "
            "PRIMARY KEY (storage, key)) WITHOUT ROWID"
        )
        self._db.execute("ATTACH ? AS earlier", (str(earlier or ":memory:"),))
        if earlier is None:
            self._db.execute(f"CREATE TABLE earlier.files ({FILES}")
        self._db.execute("BEGIN")

    def begin(self) -> None:
        """Forget which files are named: another attempt begins."""
        self._db.execute("DELETE FROM files")
        self._db.execute("DELETE FROM todo")

    def find(self, file: NamedFile) -> Kept | None:
        """The content of a file, if this backup or the last one has it."""
        for table in ("copied", "earlier.files"):
            row = self._db.execute(
                f"SELECT sha256, bytes FROM {table} WHERE storage = ? AND key = ?",  # noqa: S608
                (file.storage, file.key),
            ).fetchone()
            if row is not None and file.sha256 in {"", row[0]}:
                return Kept(file.storage, file.key, *row)
        return None

    def name(self, kept: Kept) -> None:
        """Note a file whose content is there."""
        row = (kept.storage, kept.key, kept.sha256, kept.bytes)
        self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", row)

    def copied(self, kept: Kept) -> None:
        """Note a file whose content has been copied now."""
        row = (kept.storage, kept.key, kept.sha256, kept.bytes)
        self._db.execute("INSERT OR REPLACE INTO copied VALUES (?, ?, ?, ?)", row)
        self.name(kept)

    def want(self, file: NamedFile) -> None:
        """Note a file that has to be copied."""
        row = (file.storage, file.key, file.sha256, file.row)
        self._db.execute("INSERT OR REPLACE INTO todo VALUES (?, ?, ?, ?)", row)

    def wanted(self) -> int:
        """How many files have to be copied."""
        return int(self._db.execute("SELECT count(*) FROM todo").fetchone()[0])

    def take_wanted(self) -> Iterator[list[NamedFile]]:
        """The files that have to be copied, some at a time. They are no longer noted."""
        while rows := self._db.execute("SELECT * FROM todo LIMIT ?", (BATCH,)).fetchall():
            yield [NamedFile(*row) for row in rows]
            gone = [row[:2] for row in rows]
            self._db.executemany("DELETE FROM todo WHERE storage = ? AND key = ?", gone)

    def has(self, storage: str, key: str) -> bool:
        """Whether a file is in the list."""
        query = "SELECT 1 FROM files WHERE storage = ? AND key = ?"
        return self._db.execute(query, (storage, key)).fetchone() is not None

    def counts(self) -> tuple[int, int]:
        """The number of files, and of their bytes."""
        query = "SELECT count(*), COALESCE(sum(bytes), 0) FROM files"
        count, size = self._db.execute(query).fetchone()
        return count, size

    def close(self) -> None:
        """Write the list."""
        self._db.execute("COMMIT")
        self._db.execute("DETACH earlier")
        self._db.close()


def listed(path: Path) -> Iterator[Kept]:
    """The files of a backup, in the order of their contents."""
    with sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True) as db:
        for row in db.execute("SELECT storage, key, sha256, bytes FROM files ORDER BY sha256"):
            yield Kept(*row)
    db.close()


def unused(paths: Iterable[Path], objects: Iterable[Path]) -> Iterator[Path]:
    """Those objects that none of these lists names."""
    with sqlite3.connect("") as db:
        db.execute("CREATE TABLE used (sha256 TEXT PRIMARY KEY) WITHOUT ROWID")
        for path in paths:
            rows = ((kept.sha256,) for kept in listed(path))
            db.executemany("INSERT OR IGNORE INTO used VALUES (?)", rows)
        for path in objects:
            found = db.execute("SELECT 1 FROM used WHERE sha256 = ?", (path.name,)).fetchone()
            if found is None:
                yield path
    db.close()
