"""The folder that has the backups.

    gifster-backups.json          says what it is, and the format
    objects/ab/ab3f…              a file's content, under its SHA-256, once for all backups
    backups/2026-11-26T170000Z/   one backup:
        backup.json               what is in it; written last, so a folder without it is no backup
        database.sqlite           the database: a SQLite database, whichever the original is
        files.sqlite              which file has which content (`manifest`)
        secret, settings.toml     if the installation has them as files

Files are only added, and never changed, so any program can copy the folder elsewhere. Only the
user who made it can read it.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gifster.app.backup import BackupError
from gifster.app.private import write_private
from gifster.uploads.storage.base import is_of_one_file

FORMAT = 1
MARK = "gifster-backups.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: The names of what a backup has not finished, in `backups` and in `objects`; and of a backup that
#: is not the first of its second. Whatever else is there is somebody else's.
_UNFINISHED, _LATER = re.compile(r"\.[0-9a-f]{16}|[0-9].*\.removed"), re.compile(r"(.*Z)-([0-9]+)")


class Removed(BackupError):
    """Another process has removed the backup. The message names it."""


@dataclass(frozen=True)
class Facts:
    """What `backup.json` says of a backup.

    Attributes:
      made_at: RFC 3339.
      gifster: the release that made it.
      kind: of the original database.
      database_sha256, files_sha256: of the two SQLite files.
      files, bytes: of all files that rows name.
      new_files, new_bytes: what this backup added.
      secret: tells two secrets apart (see `secret_mark()`).
      faults: files and rows that are missing, damaged or unreadable, each as a line.
    """

    made_at: str
    gifster: str
    kind: str
    database_sha256: str
    files_sha256: str
    files: int
    bytes: int
    new_files: int
    new_bytes: int
    secret: str
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Backup:
    """A complete backup."""

    folder: Path
    facts: Facts

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def order(self) -> tuple[str, int]:
        """Its place among the others."""
        return _order(self.name)

    @property
    def database(self) -> Path:
        return self.folder / "database.sqlite"

    @property
    def files(self) -> Path:
        return self.folder / "files.sqlite"

    def has_sound_list(self) -> bool:
        """Whether the list of files is as it was written."""
        return self.files.exists() and hash_of(self.files) == self.facts.files_sha256

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """A block in which no other process removes this backup.

        Raises:
          Removed: one has just done so.
        """
        gone = Removed(f"{self.name} was removed a moment ago")
        try:
            file = self._facts.open("rb")
        except FileNotFoundError:
            raise gone from None
        with file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_SH)
            if not self._facts.exists():
                raise gone
            yield

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """A block in which no other process begins to read this backup. Gives whether none does at
        the moment: a restore may last for hours."""
        with self._facts.open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    @property
    def _facts(self) -> Path:
        return self.folder / "backup.json"


class Repository:
    """The folder. `open_repository()` opens it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects, self._backups = folder / "objects", folder / "backups"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A block in which no other process changes the folder.

        Raises:
          BackupError: another one does.
        """
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupError(
                    f"another gifster backup is writing into {self.folder}: wait until it is done"
                ) from None
            yield

    def backups(self, unreadable: list[str] | None = None) -> list[Backup]:
        """The complete backups, oldest first.

        Parameters:
          unreadable: gets a text for each of which nobody can tell what it has.

        Raises:
          BackupError: there is one, and `unreadable` is None.
        """
        found = []
        for path in self._backups.glob("[0-9]*/backup.json"):
            if _UNFINISHED.fullmatch(path.parent.name):
                continue
            try:
                facts = json.loads(path.read_bytes())
                found.append(Backup(path.parent, Facts(**facts)))
            except FileNotFoundError:
                continue  # just removed
            except (OSError, ValueError, TypeError) as error:
                reason = (
                    f"{path} cannot be read ({error}): a later release wrote it, or it is damaged. "
                    f"Move {path.parent} away"
                )
                if unreadable is None:
                    raise BackupError(reason) from None
                unreadable.append(reason)
        return sorted(found, key=lambda backup: backup.order)

    def backup(self, name: str | None) -> Backup:
        """A backup by its name; the last one without a name.

        Raises:
          BackupError: there is none, or nobody can tell which is the last.
        """
        found = self.backups(None if name is None else [])
        for backup in reversed(found):
            if name in {None, backup.name}:
                return backup
        known = ", ".join(backup.name for backup in found) or "none"
        raise BackupError(f"there is no backup {name or ''} in {self.folder}: it has {known}")

    def object(self, sha256: str) -> Path:
        """The path of a content.

        Raises:
          BackupError: that is no SHA-256.
        """
        if not _SHA256.fullmatch(sha256):
            raise BackupError(f"{sha256[:80]!r} is no SHA-256: the list of files is damaged")
        return self.objects / sha256[:2] / sha256

    def holds(self, sha256: str, size: int) -> bool:
        """Whether the content of a complete backup is still there, by its size (bytes)."""
        with _readable():
            return self.object(sha256).stat().st_size == size
        return False

    def size_of(self, sha256: str) -> int | None:
        """The size of a content that is there and sound; None without one. It is read: an
        interrupted backup may have left a part of it."""
        path = self.object(sha256)
        with _readable():
            return path.stat().st_size if hash_of(path) == sha256 else None
        return None

    def add(self, content: Iterable[bytes]) -> tuple[str, int]:
        """Keep a content. Returns its SHA-256, and its size (bytes)."""
        self.objects.mkdir(exist_ok=True)
        part = self.objects / f".{secrets.token_hex(8)}"
        digest = hashlib.sha256()
        try:
            with part.open("xb") as file:
                for piece in content:
                    digest.update(piece)
                    file.write(piece)
                size = file.tell()
            path = self.object(digest.hexdigest())
            path.parent.mkdir(exist_ok=True)
            # One that earlier backups rely on is on the disk; this one is not yet.
            if self.size_of(path.name) is None:
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return digest.hexdigest(), size

    def begin(self) -> Path:
        """An empty folder for a new backup. Removes what interrupted ones have left."""
        self._backups.mkdir(exist_ok=True)
        for left in [path for path in self._backups.iterdir() if _UNFINISHED.fullmatch(path.name)]:
            shutil.rmtree(left)
        for part in self.objects.glob(".*"):
            if _UNFINISHED.fullmatch(part.name):
                part.unlink()
        folder = self._backups / f".{secrets.token_hex(8)}"
        folder.mkdir()
        return folder

    def complete(self, folder: Path, facts: Facts) -> Backup:
        """Make a backup of a folder from `begin()`. All of it is on the disk before it counts."""
        os.sync()  # of a million files, each alone would take hours
        write_private(folder / "backup.json", json.dumps(asdict(facts), indent=2).encode())
        target = self._backups / self._name(facts)
        folder.rename(target)
        os.sync()
        return Backup(target, facts)

    def _name(self, facts: Facts) -> str:
        """The name of a new backup: its time. It comes after all others, whatever the clock says:
        otherwise `prune()` would take the new one for an old one."""
        name = facts.made_at.replace(":", "").partition(".")[0] + "Z"
        # Also after those that cannot be read.
        there = (path.parent.name for path in self._backups.glob("[0-9]*/backup.json"))
        time, number = max(map(_order, there), default=("", 0))
        return name if name > time else f"{time}-{number + 1:03}"

    def remove(self, backup: Backup) -> None:
        """Remove a backup, but none of the objects. It is gone at once, even after a crash."""
        gone = backup.folder.with_name(f"{backup.name}.removed")
        backup.folder.rename(gone)
        shutil.rmtree(gone)

    def damaged(self) -> set[str]:
        """The contents that are not what they were, or cannot be read. All are read."""
        return {path.name for path in self.walk() if self.size_of(path.name) is None}

    def walk(self) -> Iterator[Path]:
        """The paths of all objects."""
        for folder in self.objects.glob("[0-9a-f][0-9a-f]"):
            yield from (path for path in folder.iterdir() if _SHA256.fullmatch(path.name))


def _order(name: str) -> tuple[str, int]:
    """The place of a backup among others, by its name."""
    later = _LATER.fullmatch(name)
    return (later[1], int(later[2])) if later else (name, 1)


@contextmanager
def _readable() -> Iterator[None]:
    """A block that ends early if the file that it reads is not there, or cannot be read: it can be
    copied again."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        if not is_of_one_file(error):
            raise


def open_repository(folder: Path, *, new: bool = False) -> Repository:
    """The folder with the backups.

    Parameters:
      new: make it if it is missing or empty.

    Raises:
      BackupError: it is something else, or of another format.
    """
    mark = folder / MARK
    if not mark.exists():
        if not new:
            raise BackupError(f"there are no backups in {folder.absolute()}: {MARK} is not there")
        if folder.exists() and any(folder.iterdir()):
            raise BackupError(
                f"{folder.absolute()} has something else than backups: name an empty folder, or "
                "one that is not there yet"
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(mark, json.dumps({"format": FORMAT}).encode())
    try:
        found: Any = json.loads(mark.read_bytes())["format"]
    except (ValueError, KeyError, TypeError):
        found = None
    if found != FORMAT:
        raise BackupError(
            f"{mark} names the format {found}, and this release knows {FORMAT}: use the release "
            "that made the backups, or a later one"
        )
    return Repository(folder)


def hash_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
