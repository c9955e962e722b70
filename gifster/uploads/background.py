"""What is left to workers: the jobs of uploads, as they are enqueued.

Each job is written in the transaction that makes it necessary, so it runs exactly if that commits.
The actors are in `actors.py`; `backgrounder.py` declares which columns leave what to them.
"""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import dramatiq
import peewee

from gifster.jobs import Job, enqueue
from gifster.uploads import keys
from gifster.uploads.cache import CachedFile
from gifster.uploads.config import config
from gifster.uploads.stored import Files, StoredFile

Actor = dramatiq.Actor[Any, Any]


@dataclass(frozen=True)
class Background:
    """What a column leaves to a worker, and to which actor."""

    #: Whether storing is left to it; otherwise only making the versions.
    stores: bool
    #: The actor, or its name.
    actor: Actor | str
    #: The queue of an actor that is given by its name; None is the one that `configure()` named.
    queue: str | None = None

    def enqueue(
        self,
        record: peewee.Model,
        column: str,
        upload: CachedFile | StoredFile,
        group: str | None,
        unique: str | None = None,
    ) -> Job | None:
        """Have a worker take care of an upload, once the current transaction has committed.

        Parameters:
          record, column: the upload's.
          group, unique: as for `jobs.enqueue()`.
        """
        if isinstance(self.actor, str):
            name, queue = self.actor, self.queue or config.queue
        else:
            name, queue = self.actor.actor_name, self.actor.queue_name
        arguments = (*_address(record, column), upload.key)
        return enqueue(name, *arguments, queue=queue, unique=unique, group=group)


def enqueue_removal(record: peewee.Model, column: str, files: Files, group: str | None) -> None:
    """Have a worker remove stored files, once the current transaction has committed.

    This is a job, so that it happens exactly if the transaction commits, also where that is a
    savepoint.
    """
    if files:
        enqueue("remove_files", *_address(record, column), files, queue=config.queue, group=group)


def enqueue_recreation(
    record: peewee.Model, column: str, stored: StoredFile, names: Collection[str]
) -> Job | None:
    """Have a worker make versions of a stored file again.

    Parameters:
      names: which versions; empty means all.

    Returns:
      the job; None if such a job waits already.
    """
    where, wanted = (*_address(record, column), stored.key), sorted(names)
    return enqueue(
        "recreate_versions",
        *where,
        wanted,
        secrets.token_hex(4),
        queue=config.queue,
        unique=hashlib.sha256(repr((where, wanted)).encode()).hexdigest()[:32],
        group="recreate_versions",  # a whole library of them does not hold up new uploads
    )


def _address(record: peewee.Model, column: str) -> tuple[str, Any, str]:
    """A record's column, as jobs name it."""
    return record._meta.table_name, keys.to_job(record), column
