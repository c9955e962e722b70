"""Brings a backup back, where nothing is yet.

First the files, then the database: until that is there, no other command takes this folder for an
installation, and a restore that was interrupted goes on where it ended.

All jobs of the outbox are due again, so each upload that was accepted before the backup is stored.
The outbox gets a new name: if the broker still has messages of the original, they are not ours, and
a trial on a copy takes none of the original's jobs.
"""

import shutil
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gifster.app import database as databases
from gifster.app.backup import BackupError
from gifster.app.backup.making import SECRET, secret_mark
from gifster.app.backup.manifest import Kept, listed
from gifster.app.backup.mark import marked
from gifster.app.backup.repository import Backup, Repository, hash_of
from gifster.app.backup.snapshot import check_file, opened_file, sync
from gifster.app.backup.tables import copy_rows
from gifster.app.backup.targets import (
    filling,
    new_file,
    outbox_of,
    refuse_full,
    remove_file,
    unfinished,
)
from gifster.app.installation import RESTORING
from gifster.app.numbers import counted
from gifster.app.private import write_private
from gifster.app.settings import Settings
from gifster.uploads.config import config, storage
from gifster.uploads.content_types import HEAD_BYTES, detect
from gifster.uploads.storage.base import Listing, is_key

THREADS = 8
#: What to do about contents that are damaged or missing.
SKIP = (
    "Copy it from another copy of the backups. Without one, gifster restore --skip-damaged brings "
    "back all other files"
)
OUTBOX_NAME = "INSERT INTO outbox_identity (id, name) VALUES (1, ?)"
#: What is different once the database is back, but for its name: SQL for both kinds.
CHANGES: list[tuple[str, Callable[[], list[object]]]] = [
    # No worker of the original runs here.
    ("DELETE FROM worker", list),
    (
        "UPDATE outbox SET leased_by = NULL, thread = NULL, started_at = NULL, "
        "send_at = COALESCE(due_at, ?) WHERE failed_at IS NULL AND NOT held",
        lambda: [time.time()],
    ),
    ("DELETE FROM outbox_identity", list),
    # People log in again: who has logged out since, or changed a password, must stay logged out.
    ("DELETE FROM token WHERE kind = 'session'", list),
    # What works once may have been used since.
    ("DELETE FROM mail_secret", list),
    ("DELETE FROM sign_in_step", list),
    # Their files are not in a backup.
    ("DELETE FROM export WHERE finished_at IS NOT NULL", list),
    ("DELETE FROM resumable_upload WHERE stage = 'open'", list),
]


def restore(
    repository: Repository,
    backup: Backup,
    settings: Settings,
    restored: Callable[[int], None] = lambda _: None,
    *,
    skip_damaged: bool = False,
) -> list[str]:
    """Bring a backup back into the database and the storages of the settings.

    Parameters:
      restored: is called with the size of each file (bytes).
      skip_damaged: whether to leave out the files whose contents are damaged or missing.

    Returns:
      what was left out, a line for each file.

    Raises:
      BackupError: something is there already, or the backup is damaged; says what to do.
      StorageUnavailable, OSError, peewee.PeeweeException
    """
    with backup.in_use():
        return _restore(repository, backup, settings, restored, skip_damaged)


def _restore(
    repository: Repository,
    backup: Backup,
    settings: Settings,
    restored: Callable[[int], None],
    skip_damaged: bool,
) -> list[str]:
    _check(repository, backup, skip_damaged=skip_damaged)
    _check_storages(backup)
    mine = {"backups": str(repository.folder.resolve()), "backup": backup.name}
    for name, kept in config.storages.items():  # only where it began is it known to be empty
        mine[f"storage {name}"] = str(getattr(kept, "place", name))
    # One that was killed before it had written its mark has done nothing else.
    resumed = RESTORING.exists() and RESTORING.stat().st_size > 0
    if not resumed:  # without a mark: an installation may run here
        _refuse_full(settings)
    left_out: list[str] = []
    with marked(mine, lambda: _refuse_full(settings), resumed=resumed) as mark:
        # The database comes last, and at once: if it is there, only the mark was left.
        if resumed and outbox_of(settings.database.url) == mark.outbox:
            left_out = mark.left_out()
        else:
            if resumed:  # somebody may have written into it meanwhile
                refuse_full(settings.database.url)
            for outcome in _restore_files(repository, backup, resumed=resumed):
                if isinstance(outcome, int):
                    restored(outcome)
                elif skip_damaged:
                    left_out.append(outcome)
                else:
                    raise BackupError(f"{outcome}. {SKIP}")
            mark.leave_out(left_out)
            _restore_secret(backup, settings)
            _restore_database(backup, settings, mark.outbox)
        remove_file(_unfinished(settings))  # a killed one may have left it
        RESTORING.unlink()
    sync(RESTORING.parent)
    return left_out


def faults(repository: Repository, backup: Backup, damaged: Collection[str] = ()) -> Iterator[str]:
    """What is wrong with the contents of a backup, a line for each.

    Parameters:
      damaged: the contents that are (see `Repository.damaged()`); without them, only their sizes
        are looked at.

    Raises:
      BackupError: nothing of it can be restored; says why.
    """
    facts = backup.facts
    pairs = ((backup.files, facts.files_sha256), (backup.database, facts.database_sha256))
    for path, sha256 in pairs:
        if not path.exists() or hash_of(path) != sha256:
            raise BackupError(f"{path} is damaged or missing: use another backup")
    check_file(backup.database)
    for kept in listed(backup.files):
        if not is_key(kept.key):
            raise BackupError(
                f"the list of files names {kept.key[:80]!r}, which is not a storage key"
            )
        if kept.sha256 in damaged or not repository.holds(kept.sha256, kept.bytes):
            yield _damaged(repository, kept)


def _check(repository: Repository, backup: Backup, *, skip_damaged: bool) -> None:
    found = faults(repository, backup)
    fault = next(found, "")
    with opened_file(backup.database) as database:
        databases.check_not_newer(database)  # before hours of copying
    if fault and not skip_damaged:
        others = sum(1 for _ in found)
        more = f" ({counted(others, 'other')} like this)" if others else ""
        raise BackupError(f"{fault}{more}. {SKIP}")
    for _ in found:
        pass


def _damaged(repository: Repository, kept: Kept) -> str:
    return (
        f"{repository.object(kept.sha256)} is damaged or missing, the content of "
        f"{kept.storage}:{kept.key}"
    )


def _check_storages(backup: Backup) -> None:
    names = {kept.storage for kept in listed(backup.files)}
    if unknown := names - set(config.storages):
        raise BackupError(f"the backup has files of a storage {min(unknown)!r}, and none is set")


def _refuse_full(settings: Settings) -> None:
    refuse_full(settings.database.url)
    for name, kept in config.storages.items():
        if isinstance(kept, Listing):
            for key, _ in kept.walk():
                raise BackupError(
                    f"the storage {name} is not empty: it has {key}. A backup is restored where "
                    f"nothing is yet: empty it, or set another folder or bucket for [{name}]"
                )


def _restore_files(repository: Repository, backup: Backup, *, resumed: bool) -> Iterator[int | str]:
    """Restore the files. Yields the size of each (bytes), or why it cannot be restored."""

    def restore_one(kept: Kept) -> int | str:
        # A storage has a file whole or not at all, and no other one under its key.
        if resumed and storage(kept.storage).exists(kept.key):
            return kept.bytes
        if repository.size_of(kept.sha256) is None:
            return _damaged(repository, kept)
        path = repository.object(kept.sha256)
        with path.open("rb") as file:
            content_type = detect(file.read(HEAD_BYTES), kept.key)
        storage(kept.storage).upload(path, kept.key, content_type)
        return kept.bytes

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for batch in _batches(listed(backup.files)):
                yield from pool.map(restore_one, batch)
        finally:
            pool.shutdown(cancel_futures=True)


def _batches(files: Iterator[Kept], size: int = 500) -> Iterator[list[Kept]]:
    batch: list[Kept] = []
    for kept in files:
        batch.append(kept)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch


def _restore_secret(backup: Backup, settings: Settings) -> None:
    kept = backup.folder / "secret"
    if kept.exists() and not settings.uploads.secret:
        SECRET.parent.mkdir(parents=True, exist_ok=True)
        write_private(SECRET, kept.read_bytes())


def has_other_secret(backup: Backup, settings: Settings) -> bool:
    """Whether the backup's installation had another secret than the settings name now."""
    kept = backup.folder / "secret"
    secret = settings.uploads.secret or (kept.read_text("ascii") if kept.exists() else "")
    return secret_mark(secret) != backup.facts.secret


def _unfinished(settings: Settings) -> Path:
    """What the database is made in."""
    file = settings.database.file
    return RESTORING.with_name("restoring.sqlite") if file is None else unfinished(file)


def _restore_database(backup: Backup, settings: Settings, outbox: str) -> None:
    file = settings.database.file
    if file is not None:
        with new_file(file) as part:
            _prepare(backup, part, outbox)
        return
    part = _unfinished(settings)
    remove_file(part)
    try:
        _prepare(backup, part, outbox)
        with opened_file(part) as source, filling(settings.database.url) as target:
            copy_rows(source, target, lambda *_: None)
    finally:
        remove_file(part)


def _prepare(backup: Backup, path: Path, outbox: str) -> None:
    """Write the database of a backup into a file, as it has to be here.

    Parameters:
      outbox: the new name of its outbox.
    """
    shutil.copyfile(backup.database, path)
    with opened_file(path) as database:
        databases.migrate(database)
        with database.atomic("IMMEDIATE"):
            for statement, values in CHANGES:
                database.execute_sql(statement, values())
            database.execute_sql(OUTBOX_NAME, (outbox,))
