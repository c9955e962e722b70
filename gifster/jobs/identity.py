"""Whose a job is: the name of an outbox, which its messages carry.

Two applications may share a broker and have queues of the same name. A worker then meets messages
whose row is in the other's database, and must not take them for jobs that are done. So each outbox
has a random name. It is a row beside the jobs: all processes of an application read the same one,
by whatever URL they reach the database, and a backup keeps it.
"""

import logging
import secrets
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import peewee

logger = logging.getLogger("gifster.jobs")

#: How long a database that has no name and takes none is left alone (seconds).
ASK_AGAIN_S = 60.0


class OutboxIdentity(peewee.Model):
    """The name of this database's outbox, in one row."""

    id = peewee.IntegerField(primary_key=True)
    name = peewee.CharField(32)

    class Meta:
        table_name = "outbox_identity"


#: By database: its file or name, what its outbox is called, and when that was asked.
_known: WeakKeyDictionary[peewee.Database, tuple[str, str | None, float]] = WeakKeyDictionary()


def identity_of(database: peewee.Database | peewee.DatabaseProxy | None) -> str | None:
    """The name of a database's outbox. The first who asks makes it, with its table where no
    migration has.

    Returns:
      None if there is no database, or if it has no name and one cannot be made now.
    """
    real: Any = database.obj if isinstance(database, peewee.DatabaseProxy) else database
    return None if real is None else _identity_of(real)


def _identity_of(database: peewee.Database) -> str | None:
    known = _known.get(database)
    if known is not None and known[0] == str(database.database):
        _, name, asked_at = known
        if name is not None or time.monotonic() < asked_at + ASK_AGAIN_S:
            return name
    with _connected(database):
        name = _read(database)
        if name is None and not database.in_transaction():
            name = _make(database)
        elif name is None:
            return None  # the transaction is somebody's, who wants no table made in it
    _known[database] = (str(database.database), name, time.monotonic())
    return name


def _connected(database: peewee.Database) -> AbstractContextManager[Any]:
    """A connection for a moment, unless this thread has one."""
    return database.connection_context() if database.is_closed() else nullcontext()


def _read(database: peewee.Database) -> str | None:
    try:
        with database.atomic():  # without the table the caller's own transaction would be over
            query = OutboxIdentity.select(OutboxIdentity.name).where(OutboxIdentity.id == 1)
            rows = list(query.tuples().execute(database))
    except peewee.PeeweeException:
        return None
    return str(rows[0][0]) if rows else None


def _make(database: peewee.Database) -> str | None:
    try:
        peewee.SchemaManager(OutboxIdentity, database).create_table(safe=True)
        row = OutboxIdentity.insert(id=1, name=secrets.token_hex(8))
        row.on_conflict_ignore().execute(database)
    except peewee.PeeweeException as error:
        logger.info("the outbox has no name yet, and none can be made: %s", error)
    return _read(database)  # another process's, if that was quicker
