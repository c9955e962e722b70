"""Looking for what should not be there, and for what should: files without a row, rows without a
file, uploads without a job. Crashes leave these, and nothing else finds them.

Safe beside uploads, workers and other sweeps, late or twice: only what is older than `min_age_s` is
taken for abandoned, and what a pending upload may still come to name is left alone. The storages
are listed before the database is read, so that a file cannot lose its row in between.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from gifster.jobs import Job
from gifster.uploads.cache import CachedFile
from gifster.uploads.config import config
from gifster.uploads.mount import Mount, mounted_models, mounts_of
from gifster.uploads.storage.base import Listing
from gifster.uploads.storage.spool import WORK_PREFIX
from gifster.uploads.stored import StoredFile

MIN_AGE_S = 3600.0


@dataclass
class Findings:
    """What a sweep has found. Files are `storage:key`, rows are `table id column`."""

    #: Files in a cache that no row waits for, and half-written files.
    abandoned: list[str] = field(default_factory=list)
    #: Stored files that no row names.
    orphans: list[str] = field(default_factory=list)
    #: Files that a row names, and that are not there. Nothing can mend them.
    missing: list[str] = field(default_factory=list)
    #: Rows that wait for an upload which no job is going to store.
    stuck: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {part.name: len(getattr(self, part.name)) for part in fields(self)}


def sweep(*, repair: bool, min_age_s: float = MIN_AGE_S) -> Findings:
    """Look at all storages and all models with uploads.

    Parameters:
      repair: remove what is abandoned or orphaned, and enqueue what is stuck.
      min_age_s: what is younger (seconds) belongs to a request or a job that is under way.
    """
    found = Findings()
    before = time.time() - min_age_s
    storages: dict[str, Any] = {n: s for n, s in config.storages.items() if isinstance(s, Listing)}
    kept = {name: dict(storage.walk()) for name, storage in storages.items()}
    names = _Names.read()
    for name, files in kept.items():
        old = {key for key, modified_at in files.items() if modified_at < before}
        for key in sorted(old - names.files.get(name, set())):
            if not key.startswith(tuple(names.pending.get(name, ()))):
                (found.abandoned if name in names.caches else found.orphans).append(f"{name}:{key}")
                if repair:
                    storages[name].delete(key)
        for key in sorted(names.files.get(name, set()) - set(files)):
            if not storages[name].exists(key):  # not just stored since the listing
                found.missing.append(f"{name}:{key}")
        found.abandoned += [f"{name}:{p}" for p in storages[name].half_written(before, repair)]
    found.abandoned += _work_folders(before, repair)
    for record, mount, upload in names.waiting:
        found.stuck.append(f"{record._meta.table_name} {record._pk} {mount.name}")
        if repair and mount.background is not None:
            mount.background.enqueue(mount.uploader_of(record, upload), upload)
    return found


class _Names:
    """All files that rows name, by storage; read once."""

    def __init__(self) -> None:
        self.files: dict[str, set[str]] = {}
        #: The beginnings of keys that pending uploads will be stored under.
        self.pending: dict[str, list[str]] = {}
        self.caches: set[str] = {"cache"}
        #: Uploads that wait for a job, and that no job is about.
        self.waiting: list[tuple[Any, Mount[Any], CachedFile | StoredFile]] = []

    @classmethod
    def read(cls) -> "_Names":
        names = cls()
        for model in mounted_models():
            for mount in mounts_of(model):
                names.caches.add(mount.uploader.cache)
                names._read(model, mount)
        in_hand = {str(argument) for job in Job.select() for argument in job.arguments}
        names.waiting = [item for item in names.waiting if item[2].key not in in_hand]
        return names

    def _read(self, model: Any, mount: Mount[Any]) -> None:
        columns = [model._meta.primary_key, *(model._meta.fields[name] for name in mount.columns)]
        for record in model.select(*columns).iterator():
            failed = getattr(record, f"{mount.name}_state", None) == "failed"
            for stored in mount.stored_files(record):
                for name, key in stored.files:
                    self.files.setdefault(name, set()).add(key)
                if stored.unprocessed and not failed:
                    self.waiting.append((record, mount, stored))
            for cached in mount.pending(record):
                self.files.setdefault(cached.storage, set()).add(cached.key)
                folder = mount.uploader_of(record, cached).folder(cached) + "/"
                for name in config.storages:
                    self.pending.setdefault(name, []).append(folder)
                if not failed:
                    self.waiting.append((record, mount, cached))


def _work_folders(before: float, repair: bool) -> Iterator[str]:
    """Temporary files and folders of processes that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{WORK_PREFIX}*"):
        try:
            abandoned = path.stat().st_mtime < before and path.stat().st_uid == os.getuid()
        except FileNotFoundError:
            continue
        if abandoned:
            yield f"temporary:{path.name}"
            if repair:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
