"""Models, rows and databases, as saving and the workers need them."""

from typing import TYPE_CHECKING, Any

import peewee

from gifster.jobs import Job

if TYPE_CHECKING:

    class Record(peewee.Model):
        """A record, with what we use of it that Peewee does not document."""

        #: The primary key; None if the record has none yet.
        _pk: Any
        #: The names of the fields that were set since the record was loaded or saved.
        _dirty: set[str]
        DoesNotExist: type[peewee.DoesNotExist]

        def _pk_expr(self) -> Any:
            """The expression that finds its row."""

else:
    Record = peewee.Model


def select(model: Any, *fields: Any) -> Any:
    """A query of all rows, also of those that the model's own `select()` hides (soft deletion): an
    upload is no less an upload for that."""
    return peewee.Model.select.__func__(model, *fields)  # type: ignore[attr-defined]


def primary_key(model: Any) -> peewee.Field:
    """The primary key, which models with uploads have in one column (see `check_model`)."""
    found: peewee.Field = model._meta.primary_key
    return found


def row_of(model: Any, pk: Any) -> Any:
    """The row of that primary key as it is now; None if there is none."""
    return select(model).where(model._meta.primary_key == pk).get_or_none()


def locked_row(record: Any) -> Any:
    """The row as it is now, locked until the transaction ends; None if it is gone.

    SQLite has locked the whole database by then.
    """
    query = select(type(record)).where(record._pk_expr())
    locks = real_database(record._meta.database).for_update
    return (query.for_update() if locks else query).get_or_none()


def real_database(database: Any) -> Any:
    """The database itself, where a model names one that is to be set later."""
    return database.obj if isinstance(database, peewee.DatabaseProxy) else database


def outermost_transaction(database: Any) -> Any:
    """The transaction around all others that this thread has begun; None if there is none."""
    return next(iter(real_database(database)._state.transactions), None)


def check_model(model: Any) -> None:
    """Raises `TypeError` unless uploads can be kept safely on a model, as far as is known when the
    model is set up; says what to do."""
    key = model._meta.primary_key
    if key is False or isinstance(key, peewee.CompositeKey):
        raise TypeError(
            f"{model.__name__} has uploads, and no primary key of one column: add one "
            "(id = AutoField()), and make what was the key a unique index"
        )
    # What a proxy stands for may still be changed.
    if not isinstance(model._meta.database, peewee.DatabaseProxy):
        _check_databases(model)


def _check_databases(model: Any) -> None:
    theirs, ours = (real_database(m._meta.database) for m in (model, Job))
    if theirs is not None and ours is not None and theirs is not ours:
        raise TypeError(
            f"{model.__name__} has uploads, and is in another database than the outbox, so an "
            "upload and its job cannot be one transaction: bind both to one database "
            "(database.bind(gifster.jobs.TABLES))"
        )


def check_outbox(model: Any) -> None:
    """Raises `TypeError` unless a model and the outbox are in one database now."""
    _check_databases(model)
    if real_database(Job._meta.database) is None:
        raise TypeError(
            f"{model.__name__} has uploads, and the outbox has no database: bind it to the "
            "model's (database.bind(gifster.jobs.TABLES))"
        )
