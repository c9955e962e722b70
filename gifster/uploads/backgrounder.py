"""The backgrounder: the request only caches an upload; a worker makes the versions and stores it.

After CarrierWave's backgrounder (`include CarrierWave::Backgrounder::Delay`, `store_in_background
:image`), with the safety of Shrine's atomic promotion. One transaction writes `<column>_tmp` and
the job. The worker processes and stores under keys that no other upload has, and then, in one
transaction, looks whether `<column>_tmp` is still the upload it worked for: if so the row gets the
stored file, if not (replaced, removed, deleted, or done by a second copy of the job) the worker
removes what it stored. Either way the job removes the cached file: it owns it.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import peewee

from gifster.jobs import enqueue, transaction
from gifster.uploads.cache import CachedFile, CacheField
from gifster.uploads.config import config, storage
from gifster.uploads.errors import UploadError
from gifster.uploads.mount import Mount, UploadFailure, locked_row, mounts_of, uploader_of
from gifster.uploads.uploader import StoredFile, Uploader, delete_files

logger = logging.getLogger("gifster.uploads")

M = TypeVar("M", bound=type[peewee.Model])

_models: dict[str, type[peewee.Model]] = {}


def store_in_background(column: str, actor: str = "store_asset") -> Callable[[M], M]:
    """A class decorator: the uploads of `column` are processed and stored by a worker.

    The model needs `<column>_tmp`, a `CacheField`, and the column's uploader must be a
    `Backgrounder`.

    Parameters:
      column: the name of a mounted column.
      actor: the name of the Dramatiq actor that does it.

    Raises:
      TypeError: the model or its uploader lacks what is needed; says what.
    """

    def decorate(model: M) -> M:
        mount = next((mount for mount in mounts_of(model) if mount.name == column), None)
        if mount is None:
            raise TypeError(f"{model.__name__}.{column} is no mount_uploader() column")
        if not issubclass(mount.uploader, Backgrounder):
            raise TypeError(f"{mount.uploader.__name__} must be a subclass of Backgrounder")
        if not isinstance(mount.companion("tmp"), CacheField):
            raise TypeError(f"{model.__name__} needs a column {column}_tmp = CacheField()")
        mount.background = actor
        _models[model._meta.table_name] = model
        return model

    return decorate


class Backgrounder(Uploader):
    """Mixed into an uploader, before `Uploader`: leaves processing and storing to a worker, where
    `store_in_background` says so."""

    @property
    def cached(self) -> CachedFile | None:
        """The upload that waits to be stored."""
        cached: CachedFile | None = getattr(self.record, f"{self.mount.name}_tmp", None)
        return cached

    @property
    def deferring(self) -> bool:
        """Whether the assigned file is left to a worker."""
        return self.mount.background is not None and self.assigned is not None

    def prepare(self, resources: Any) -> None:
        if not self.deferring:
            super().prepare(resources)

    def write(self, before: dict[str, Any]) -> None:
        if not self.deferring:
            super().write(before)
            return
        # The stored file of before stays until the new one is. A cached file of before is removed
        # by its own job, which will find that it has been overtaken.
        values = {"tmp": self.assigned, "processing": True, "state": "queued", "error": None}
        stored = before.get(self.mount.name)
        self.record.__data__.update(self.mount.values(stored=stored, **values))

    def written(self) -> None:
        if not self.deferring:
            super().written()
        else:
            self.enqueue()

    def enqueue(self) -> None:
        """Have the cached upload stored by a worker."""
        if self.mount.background is not None and self.cached is not None:
            table = self.record._meta.table_name
            arguments = (table, self.record._pk, self.mount.name, self.cached.key)
            enqueue(self.mount.background, *arguments, queue=config.queue)


class Promotion:
    """The worker's half: one cached upload of one record's column.

    Parameters:
      table, pk, column: which record, and which of its mounted columns.
      cache_key: the key of the cached file that the job is about.
    """

    def __init__(self, table: str, pk: Any, column: str, cache_key: str) -> None:
        if table not in _models:
            raise LookupError(
                f"no model with background uploads has the table {table!r}: "
                "import its module where the actors are imported"
            )
        self.model = _models[table]
        self.mount: Mount[Backgrounder] = self.model._meta.fields[column]
        self.pk, self.cache_key = pk, cache_key

    def promote(self) -> None:
        """Process and store the upload, unless it has been overtaken.

        An upload that cannot be processed is marked failed, with the reason. May be called any
        number of times, also at once.

        Raises:
          Exception: what may be better next time (a full disk, a storage that is away).
        """
        record = self._record()
        cached = self._current(record)
        if record is None or cached is None:
            self._finish(f"overtaken {self}")
            return
        uploader = uploader_of(record, self.mount)
        self._update(record, cached, state="processing")
        try:
            with uploader.process(cached) as files:
                stored = uploader.plan(files, cached)
                uploader.store(files, stored)
        except UploadError as error:
            self.fail(error, give_up=True)
            return
        # A failure from here on leaves the stored files: the commit may have happened, and if it
        # has not, the next try writes the same keys.
        outcome = "stored"
        if not self._swap(record, cached, stored) and not self._has(stored.key):
            delete_files(stored.storage, stored.keys)
            outcome = "overtaken"
        self._finish(f"{outcome} {self} key={stored.key}")

    def fail(self, error: BaseException, *, give_up: bool) -> None:
        """Mark the upload failed, unless it has been overtaken.

        Parameters:
          error: the reason; of one that is not an `UploadError` people are told no details.
          give_up: whether the upload itself is at fault, so that its cached file goes; otherwise
            both stay, and the job can be run again.
        """
        failure = (
            UploadFailure(error.code, str(error))
            if isinstance(error, UploadError)
            else UploadFailure("storing_failed", "The upload could not be stored.")
        )
        record = self._record()
        cached = self._current(record)
        if record is not None and cached is not None:
            values: dict[str, Any] = {"processing": False, "state": "failed", "error": failure}
            self._update(record, cached, **values | ({"tmp": None} if give_up else {}))
        if give_up:
            self._finish(f"failed {self} code={failure.code}")

    def _swap(self, record: Any, cached: CachedFile, stored: StoredFile) -> bool:
        with transaction(self.model._meta.database):
            row = locked_row(record)
            if self._current(row) is None:
                return False
            uploader_of(row, self.mount).discard(row.__data__[self.mount.name])
            done = {"tmp": None, "processing": False, "state": "ready", "error": None}
            return self._update(record, cached, stored=stored, **done)

    def _has(self, key: str) -> bool:
        """Whether the row names this very file: a second copy of the job has stored it."""
        record = self._record()
        stored = None if record is None else uploader_of(record, self.mount).stored
        return stored is not None and stored.key == key

    def _record(self) -> Any:
        return self.model.get_or_none(self.model._meta.primary_key == self.pk)

    def _current(self, record: Any) -> CachedFile | None:
        cached = None if record is None else uploader_of(record, self.mount).cached
        return cached if cached is not None and cached.key == self.cache_key else None

    def _update(self, record: Any, cached: CachedFile, **values: Any) -> bool:
        """Write the columns if the row still waits for this very upload (compare and swap)."""
        columns = self.mount.values(**values)
        if not columns:
            return True
        waiting = (self.model._meta.primary_key == self.pk) & (
            self.model._meta.fields[f"{self.mount.name}_tmp"] == cached
        )
        return bool(self.model.update(**columns).where(waiting).execute())

    def _finish(self, what: str) -> None:
        storage(self.mount.uploader.cache).delete(self.cache_key)
        logger.info("%s", what)

    def __str__(self) -> str:
        return f"table={self.model._meta.table_name} id={self.pk} column={self.mount.name}"
