"""Makes a backup while Gifster runs.

The files must be those that the copy of the database names. So a snapshot of the database comes
first; then the files that it names are copied, those first that wait in the cache, as they go
soonest; then the database, as it was in that snapshot. The content of a key never changes, so only
deleting can interfere: when a file is gone, another snapshot is taken, which names it no more.

If there are many files to copy, they are copied without a snapshot, and it is tried again: a
snapshot that lasts for hours lets the database grow.
"""

import hashlib
import hmac
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import peewee

from gifster import __version__
from gifster.app.backup import BackupError
from gifster.app.backup.manifest import Kept, Manifest, unused
from gifster.app.backup.repository import Backup, Facts, Repository, hash_of
from gifster.app.backup.snapshot import frozen, opened_file, save_database
from gifster.app.models import KeptUpload, rfc3339
from gifster.app.settings import Settings
from gifster.app.settings.loading import FILE
from gifster.uploads.config import config, storage
from gifster.uploads.storage.base import check_present, is_key, is_of_one_file
from gifster.uploads.sweep.naming import NamedFile, named_files

#: So many files are copied within a snapshot; more are copied before the next one.
MANY = 1000
#: After so many snapshots the last one counts, though files of it are gone.
MOST_SNAPSHOTS = 12
THREADS = 8
PIECE_BYTES = 1024 * 1024
#: The "row" of a file that a refused form keeps. The file may be a GIF's by now, and gone.
KEPT = "kept_upload"
#: The secret of an installation that has it as a file.
SECRET = Path("var/secret")


@dataclass
class Progress:
    """What a backup has done so far. `tell` is called after each step."""

    files: int = 0
    bytes: int = 0
    tables: int = 0
    tell: Callable[["Progress"], None] = field(default=lambda _: None, repr=False)

    def copied(self, size: int) -> None:
        self.files, self.bytes = self.files + 1, self.bytes + size
        self.tell(self)

    def table(self, name: str, rows: int) -> None:
        self.tables += 1
        self.tell(self)


def make(
    repository: Repository,
    database: peewee.Database,
    settings: Settings,
    secret: str,
    progress: Progress,
) -> Backup:
    """Make a backup.

    Parameters:
      repository: locked.
      secret: of this installation.

    Raises:
      BackupError, StorageUnavailable, OSError, peewee.PeeweeException
    """
    earlier = [each.files for each in repository.backups([])[-1:] if each.has_sound_list()]
    folder = repository.begin()
    try:
        manifest = Manifest(folder / "files.sqlite", earlier[0] if earlier else None)
        making = _Making(repository, database, manifest, folder / "database.sqlite", progress)
        making.run()
        files, size = manifest.counts()
        manifest.close()
        _copy_settings(settings, folder)
        facts = Facts(
            made_at=rfc3339(datetime.now(UTC)),
            gifster=__version__,
            kind="sqlite" if isinstance(database, peewee.SqliteDatabase) else "postgresql",
            database_sha256=hash_of(folder / "database.sqlite"),
            files_sha256=hash_of(folder / "files.sqlite"),
            files=files,
            bytes=size,
            new_files=progress.files,
            new_bytes=progress.bytes,
            secret=secret_mark(secret),
            faults=making.faults,
        )
        return repository.complete(folder, facts)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def prune(repository: Repository, keep: int) -> int:
    """Remove all backups but the last ones, and the contents that only they have. One that somebody
    restores or verifies at this moment stays, too.

    Parameters:
      repository: locked.
      keep: how many backups stay, at least 1.

    Returns:
      how many backups were removed.

    Raises:
      BackupError: nobody knows which contents one of them needs; no content is removed.
    """
    found = repository.backups()
    kept, removed = found[-keep:], 0
    _check_lists(kept)
    for backup in found[:-keep]:
        # Nobody may begin to read it between the look and the removal. One at a time: each is an
        # open file, and there may be thousands.
        with backup.alone() as is_free:
            if is_free:
                repository.remove(backup)
                removed += 1
            else:
                kept.append(backup)
    _check_lists(kept[keep:])
    for path in unused([backup.files for backup in kept], repository.walk()):
        path.unlink()
    return removed


def _check_lists(kept: list[Backup]) -> None:
    for backup in kept:
        if not backup.has_sound_list():
            raise BackupError(
                f"{backup.files} is damaged or missing, so nobody knows which contents that "
                f"backup needs, and no content is removed: move {backup.folder} away"
            )


def secret_mark(secret: str) -> str:
    """A text that tells whether two secrets are the same, and does not tell them."""
    return hmac.new(secret.encode(), b"gifster backup", hashlib.sha256).hexdigest()[:16]


def _copy_settings(settings: Settings, folder: Path) -> None:
    if not settings.uploads.secret and SECRET.exists():
        shutil.copy(SECRET, folder / "secret")
    if FILE.exists():
        shutil.copy(FILE, folder / FILE.name)


class _Unread(Exception):
    """A file cannot be read, while others may be sound. The message says why."""


def _pieces(file: NamedFile) -> Iterator[bytes]:
    try:
        with storage(file.storage).open(file.key) as content:
            while piece := content.read(PIECE_BYTES):
                yield piece
    except OSError as error:
        if isinstance(error, FileNotFoundError) or not is_of_one_file(error):
            raise
        raise _Unread(error.strerror) from error


class _Making:
    def __init__(
        self,
        repository: Repository,
        database: peewee.Database,
        manifest: Manifest,
        target: Path,
        progress: Progress,
    ) -> None:
        self._repository, self._database, self._manifest = repository, database, manifest
        self._target, self._progress = target, progress
        self.faults: list[str] = []
        self._unreadable: list[str] = []
        self._damaged: dict[tuple[str, str], str] = {}
        self._unread: dict[tuple[str, str], str] = {}
        #: Files that are gone, with their rows: of this snapshot, and of those before.
        self._gone: dict[tuple[str, str], str] = {}
        self._gone_before: set[tuple[str, str]] = set()

    def run(self) -> None:
        for left in reversed(range(MOST_SNAPSHOTS)):
            if self._attempt(is_last=not left):
                break
            self._gone_before |= self._gone.keys()
        for (name, key), row in self._gone.items():
            if row == KEPT:
                continue
            is_missing = (name, key) in self._gone_before
            why = "is missing" if is_missing else "was deleted while the backup ran"
            self.faults.append(f"{name}:{key} {why} ({row})")
        self.faults += [*self._damaged.values(), *self._unread.values()]
        self.faults += [f"a row cannot be read: {each}" for each in self._unreadable]
        self._check()

    def _attempt(self, *, is_last: bool) -> bool:
        """Take a snapshot, and copy what it names.

        Returns:
          False if another one must be taken.
        """
        self._manifest.begin()
        self._gone, self._damaged, self._unread, self._unreadable = {}, {}, {}, []
        with frozen(self._database):
            # Files in the cache go within seconds: copy them before the others are listed.
            for files in (self._waiting, self._stored):
                self._note(files())
                if self._manifest.wanted() > MANY and not is_last:
                    break
                self._copy()
            else:
                # A file that was gone in an earlier snapshot and is named in this one is missing.
                gone = {at for at, row in self._gone.items() if row != KEPT}
                if gone <= self._gone_before or is_last:
                    save_database(self._database, self._target, self._progress.table)
                    return True
        self._copy()
        return False

    def _waiting(self) -> Iterator[NamedFile]:
        yield from named_files(self._database, waiting=True, unreadable=self._unreadable)
        kept = KeptUpload.select(KeptUpload.storage, KeptUpload.key).tuples()
        for name, key in kept.execute(self._database):
            yield NamedFile(name, key, "", KEPT)

    def _stored(self) -> Iterator[NamedFile]:
        return named_files(self._database, waiting=False, unreadable=self._unreadable)

    def _note(self, files: Iterator[NamedFile]) -> None:
        for file in files:
            if file.storage not in config.storages:
                self._unreadable.append(f"{file.row}: there is no storage {file.storage!r}")
                continue
            if not is_key(file.key):  # a bit of the row has flipped, and no storage takes it
                self._unreadable.append(f"{file.row}: no file is named {file.key[:200]!r}")
                continue
            kept = self._manifest.find(file)
            if kept is not None and self._repository.holds(kept.sha256, kept.bytes):
                self._manifest.name(kept)
            else:
                self._manifest.want(file)

    def _copy(self) -> None:
        """Copy the files that are wanted, several at a time."""
        with ThreadPoolExecutor(THREADS) as pool:
            try:
                for files in self._manifest.take_wanted():
                    for file, copied in zip(files, pool.map(self._copied, files), strict=True):
                        self._note_copied(file, copied)
            finally:
                pool.shutdown(cancel_futures=True)

    def _copied(self, file: NamedFile) -> "tuple[Kept, bool] | _Unread | None":
        """Copy one file.

        Returns:
          the file, and whether its content was not there yet; None if it is gone.

        Raises:
          StorageUnavailable: all files of its storage are gone, as a disk is not mounted.
        """
        if file.sha256 and (size := self._repository.size_of(file.sha256)) is not None:
            return Kept(file.storage, file.key, file.sha256, size), False
        try:
            sha256, size = self._repository.add(_pieces(file))
        except FileNotFoundError:
            check_present(storage(file.storage))
            return None
        except _Unread as unread:
            return unread
        return Kept(file.storage, file.key, sha256, size), True

    def _note_copied(self, file: NamedFile, copied: "tuple[Kept, bool] | _Unread | None") -> None:
        at = (file.storage, file.key)
        if copied is None:
            self._gone[at] = file.row
            return
        if isinstance(copied, _Unread):
            self._unread[at] = (
                f"{file.storage}:{file.key} cannot be read, and is not in the backup ({file.row}): "
                f"{copied}"
            )
            return
        kept, is_new = copied
        self._manifest.copied(kept)
        if is_new:
            self._progress.copied(kept.bytes)
        if file.sha256 not in {"", kept.sha256}:
            self._damaged[at] = (
                f"{file.storage}:{file.key} is damaged, and is kept as it is ({file.row}): its "
                f"SHA-256 is {kept.sha256}, and was {file.sha256}"
            )

    def _check(self) -> None:
        """Check that the backup has each file that its own copy of the database names."""
        with opened_file(self._target) as copy:
            for waiting in (True, False):
                for file in named_files(copy, waiting=waiting, unreadable=[]):
                    at = (file.storage, file.key)
                    if (
                        at not in self._gone
                        and at not in self._unread
                        and file.storage in config.storages
                        and is_key(file.key)
                        and not self._manifest.has(*at)
                    ):
                        raise BackupError(
                            f"the copy of the database names {at[0]}:{at[1]}, which is not in the "
                            f"list of files ({file.row}): make the backup again"
                        )
