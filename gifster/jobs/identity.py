"""The identity of an outbox: a random name that its messages carry.

Two applications may share a broker and have queues of the same name. A worker then meets messages
whose row is in the other application's database, and must not take them for jobs that are done. The
name is a row beside the jobs: all processes of an application read the same one, whatever URL they
use for the database, and a backup keeps it.
"""

import logging
import secrets
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import peewee

from gifster.jobs.transactions import schema_transaction

logger = logging.getLogger("gifster.jobs")

#: How long a database that returned no name is not asked again (seconds).
ASK_AGAIN_S = 5.0


class OutboxIdentity(peewee.Model):
    """The name of the outbox in this database.

    Attributes:
      id: 1; there is one row.
    """

    id = peewee.IntegerField(primary_key=True)
    name = peewee.CharField(32)

    class Meta:
        table_name = "outbox_identity"


#: By database: its file or name, the name of its outbox, and when it was asked for that.
_known: WeakKeyDictionary[peewee.Database, tuple[str, str | None, float]] = WeakKeyDictionary()


def identity_of(database: peewee.Database | peewee.DatabaseProxy | None) -> str | None:
    """The name of a database's outbox. The first call makes it, and its table where no migration
    has.

    Returns:
      None if there is no database, if it does not answer, or if it has no name and takes none.
    """
    real: Any = database.obj if isinstance(database, peewee.DatabaseProxy) else database
    if real is None:
        return None
    known = _known.get(real)
    if known is not None and known[0] == str(real.database):
        _, name, asked_at = known
        if name is not None or time.monotonic() < asked_at + ASK_AGAIN_S:
            return name
    try:
        with _connected(real):
            name, has_table = _read(real)
            if name is None and real.in_transaction():
                return None  # make no table in the caller's transaction
            name = name or _make(real, has_table=has_table)
    except Exception as error:  # noqa: BLE001 a message without a name is better than no message
        logger.warning("the name of the outbox cannot be read or made: %s", error)
        name = None
    _known[real] = (str(real.database), name, time.monotonic())
    return name


def _connected(database: peewee.Database) -> AbstractContextManager[Any]:
    """A connection for this block, unless the thread has one."""
    return database.connection_context() if database.is_closed() else nullcontext()


def _read(database: peewee.Database) -> tuple[str | None, bool]:
    """The name, and whether its table is there."""
    try:
        with database.atomic():  # a missing table must not end the caller's transaction
            query = OutboxIdentity.select(OutboxIdentity.name).where(OutboxIdentity.id == 1)
            rows = list(query.tuples().execute(database))
    except peewee.DatabaseError:
        return None, False
    return str(rows[0][0]) if rows else None, True


def _make(database: peewee.Database, *, has_table: bool) -> str | None:
    try:
        if not has_table:
            with schema_transaction(database):
                peewee.SchemaManager(OutboxIdentity, database).create_table(safe=True)
        row = OutboxIdentity.insert(id=1, name=secrets.token_hex(8))
        row.on_conflict(action="nothing", conflict_target=[OutboxIdentity.id]).execute(database)
    except peewee.DatabaseError:
        name, _ = _read(database)  # another process made the name at the same time
        if name is None:
            raise
        return name
    return _read(database)[0]
