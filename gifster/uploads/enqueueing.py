"""Enqueues the jobs of uploads: to store, complete, process, recreate and remove files.

Each job is enqueued in the transaction that needs it, so it runs if, and only if, that commits.
`backgrounder.py` declares what a column leaves to a worker; the actors are in `actors.py`.
"""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import dramatiq
import peewee

from gifster.jobs import Job, enqueue, is_waiting
from gifster.uploads.config import config
from gifster.uploads.files import keys
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.stored import Files, StoredFile

Actor = dramatiq.Actor[Any, Any]

#: Before the names of all versions, in a job that is to make all.
ALL = "*"


@dataclass(frozen=True)
class Background:
    """What a column leaves to a worker, and the actor that does it."""

    #: Whether the worker stores the upload; otherwise it only makes the versions.
    stores: bool
    #: The actor, or its name.
    actor: Actor | str
    #: The queue, if the actor is given by its name; None means the queue named in `configure()`.
    queue: str | None = None

    def __deepcopy__(self, memo: Any) -> "Background":
        return self  # Peewee copies the columns that a model inherits; an actor cannot be copied

    def enqueue(
        self,
        record: peewee.Model,
        column: str,
        upload: CachedFile | StoredFile,
        group: str | None,
        unique: str | None = None,
    ) -> Job | None:
        """Enqueue the job of an upload; it is sent once the current transaction has committed.

        Parameters:
          record, column: the record and the mounted column of the upload.
          group, unique: as for `jobs.enqueue()`.

        Returns:
          the job; None if the outbox already has one with the name `unique`.
        """
        name, queue = self._names
        arguments = (*_address(record, column), upload.key)
        return enqueue(name, *arguments, queue=queue, unique=unique, group=group)

    def enqueue_completion(
        self, record: peewee.Model, column: str, upload: CachedFile, group: str | None
    ) -> Job | None:
        """Enqueue the job that makes the `later` versions of an upload which its own job has shown.

        Returns:
          the job; None if a second copy of that job has enqueued it already.
        """
        arguments, (_, queue) = (*_address(record, column), upload.key), self._names
        unique = hashlib.sha256(repr(("complete", arguments)).encode()).hexdigest()[:32]
        return enqueue("complete_asset", *arguments, queue=queue, unique=unique, group=group)

    def others_wait(self, record: peewee.Model, column: str, upload: CachedFile) -> bool:
        """Whether other uploads than this one wait for a thread."""
        return is_waiting(*self._names, but=(*_address(record, column), upload.key))

    @property
    def _names(self) -> tuple[str, str]:
        """The names of the actor and of its queue."""
        if isinstance(self.actor, str):
            return self.actor, self.queue or config.queue
        return self.actor.actor_name, self.actor.queue_name


def enqueue_removal(record: peewee.Model, column: str, files: Files, group: str | None) -> None:
    """Have a worker delete stored files once the current transaction has committed.

    A job does that even for a savepoint: if the savepoint is rolled back, so is its outbox row. A
    callback of the commit would still run.
    """
    if files:
        enqueue("remove_files", *_address(record, column), files, queue=config.queue, group=group)


def enqueue_recreation(
    record: peewee.Model, column: str, stored: StoredFile, names: Collection[str]
) -> Job | None:
    """Have a worker make versions of a stored file again.

    Parameters:
      names: the versions; `ALL` and all that are declared, to have no others. A worker may be of
        another release of the application, and declare others.

    Returns:
      the job; None if such a job already waits.
    """
    where, wanted = (*_address(record, column), stored.key), sorted(names)
    return enqueue(
        "recreate_versions",
        *where,
        wanted,
        secrets.token_hex(4),
        queue=config.queue,
        unique=hashlib.sha256(repr((where, wanted)).encode()).hexdigest()[:32],
        group="recreate_versions",  # Recreating a whole library does not hold up new uploads.
    )


def enqueue_update(
    record: peewee.Model, column: str, stored: StoredFile, group: str | None
) -> Job | None:
    """Have a worker make the versions of a stored file anew, unless they begin with the present
    steps by then.

    Each change enqueues a job of its own. One that waited may just have ended without the change.
    """
    arguments = (*_address(record, column), stored.key, secrets.token_hex(4))
    return enqueue("update_versions", *arguments, queue=config.queue, group=group)


def _address(record: peewee.Model, column: str) -> tuple[str, Any, str]:
    """A record's column, as the arguments of a job."""
    return keys.table_of(record), keys.to_job(record), column
