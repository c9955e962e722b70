"""Rows, their locks and their database: the Peewee calls that saving and the workers share, and the
few of Peewee's internals that they rely on.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import peewee

from gifster.jobs import Job, transaction
from gifster.jobs.database_errors import is_of_one_row
from gifster.jobs.statements import Statement

logger = logging.getLogger("gifster.uploads")

M = TypeVar("M", bound=peewee.Model)
T = TypeVar("T")

if TYPE_CHECKING:

    class Record(peewee.Model):
        """A Peewee record, with the undocumented attributes that this package uses."""

        #: The primary key; None if the record has none yet.
        _pk: Any
        #: The names of the fields that were set since the record was loaded or saved.
        _dirty: set[str]
        DoesNotExist: type[peewee.DoesNotExist]

        def _pk_expr(self) -> Any:
            """The condition that selects its row."""

else:
    Record = peewee.Model


def select(model: Any, *fields: Any) -> Any:
    """A query over all rows of a model.

    It includes rows that the model's own `select()` hides (soft deletion), because their uploads
    still have to be stored and kept.
    """
    return peewee.Model.select.__func__(model, *fields)  # type: ignore[attr-defined]


def key_names(model: Any) -> set[str]:
    """The names of the fields that make up the primary key."""
    return {field.name for field in model._meta.get_primary_keys()}


def after_key(model: Any, pk: Any) -> Any:
    """The condition that selects the rows whose primary key comes after this one."""
    fields = model._meta.get_primary_keys()
    values = [place_of(value) for value in (pk if isinstance(pk, tuple) else (pk,))]
    condition: Any = None
    for field, value in reversed(list(zip(fields, values, strict=True))):
        condition = (
            field > value if condition is None else (field > value) | ((field == value) & condition)
        )
    return condition


def place_of(key: Any) -> Any:
    """What a walk compares a column with, for the rows that come after this key. A text that a
    connection could not read as it is, and gave as far as it could, has a `place` of its own."""
    return getattr(key, "place", key)


def row_of(model: Any, pk: Any) -> Any:
    """The row with that primary key as it is now; None if there is none."""
    return select(model).where(model._meta.primary_key == pk).get_or_none()


def loaded(query: Any) -> list[tuple[Any, Any]]:
    """The rows of a query, each as its primary key and its record. In place of a record that cannot
    be read, as its JSON is damaged or a later release wrote it, there is the error: it keeps nobody
    from the other rows."""
    try:
        # A query keeps its cursor, and SQLite the snapshot of one that was not read to its end.
        return [(record._pk, record) for record in list(query.clone())]
    except Exception as error:
        if not is_of_one_row(error):
            raise
    key, fields = query.model._meta.primary_key, query.model._meta.get_primary_keys()
    found = []
    for row in list(query.select(*fields).tuples()):
        pk = row if len(fields) > 1 else row[0]
        try:
            record = query.where(key == pk).get_or_none()
        except Exception as error:
            if not is_of_one_row(error):
                raise
            found.append((pk, error.with_traceback(None)))  # whose frames have the cursor
        else:
            found += [] if record is None else [(pk, record)]
    return found


def read_by_columns(model: Any, cursor: Any) -> list[tuple[Any, dict[str, Exception]]]:
    """The rows of a query for all columns of a model, each as its record and the errors of those
    columns that cannot be read, by field name. The record does not have these.

    Parameters:
      cursor: the driver's, with rows that Peewee has not converted (`database.execute()`).
    """
    fields, keys, found = model._meta.sorted_fields, key_names(model), []
    for row in cursor.fetchall():
        values, errors = {}, {}
        for field, value in zip(fields, row, strict=True):
            try:
                values[field.name] = field.python_value(value)
            except Exception as error:
                if field.name in keys:
                    raise
                errors[field.name] = error
        record = model(__no_default__=1, **values)  # as Peewee makes a record of a row
        record._dirty.clear()
        found.append((record, errors))
    return found


def loaded_by(
    statement: Statement, query: Callable[[], Any], **values: Any
) -> list[tuple[Any, Any]]:
    """What `loaded()` finds by a query whose SQL is made once.

    Parameters:
      query: makes the same query, which is asked if a row cannot be read.
      values: the statement's parameters.
    """
    try:
        return [(record._pk, record) for record in statement.records(**values)]
    except Exception as error:
        if not is_of_one_row(error):
            raise
    return loaded(query())


def rows_of_each(
    rows: Callable[[Sequence[Any]], list[Any]], model: Any, values: Sequence[Any]
) -> list[Any]:
    """The rows of a query for some values, without those of a value whose rows cannot be read,
    which the log names.

    Parameters:
      rows: asks the query for values, such as a function of `for_each_length()`.
      model: whose rows are read, for the log.
    """
    try:
        return rows(values)
    except Exception as error:
        if not is_of_one_row(error):
            raise
        if len(values) == 1:
            log_unreadable(model, values[0], error)
            return []
    return [row for value in values for row in rows_of_each(rows, model, [value])]


def readable(query: Any) -> list[Any]:
    """The records of a query. The log names those that cannot be read."""
    return read_or_logged(query.model, loaded(query))


def read_or_logged(model: Any, found: list[tuple[Any, Any]]) -> list[Any]:
    """The records that could be read, of what `loaded()` found. The log names the others."""
    for pk, record in found:
        if isinstance(record, Exception):
            log_unreadable(model, pk, record)
    return [record for _, record in found if not isinstance(record, Exception)]


def cannot_be_found(model: Any, pk: Any) -> bool:
    """Whether no statement finds the row with that key (see `place_of()`), so that it has to be
    left alone. The log names it."""
    if place_of(pk) is pk:
        return False
    log_unreadable(model, pk, ValueError("its key is not as it was written"))
    return True


def log_unreadable(model: Any, pk: Any, error: Exception) -> None:
    """Log that a row cannot be read, and is left alone."""
    table = model._meta.table_name
    logger.warning("left alone, as it is unreadable: table=%s id=%s reason=%r", table, pk, error)


def texts_of(column: Any, pk: Any) -> tuple[str | None, ...]:
    """What the row with that primary key has in a mounted column and in its cache column, as the
    database has it; nothing if there is no such row, or the key has several columns."""
    model = column.model
    key = model._meta.primary_key
    if isinstance(key, peewee.CompositeKey):
        return ()
    # A field that another model inherits is a copy, with the same attributes.
    of, statement = column.__dict__.get("_gifster_texts", (None, None))
    if of is not model:
        cache = column.companion("tmp")
        fields = [column] if cache is None else [column, cache]
        statement = Statement(lambda pk: select(model, *fields).where(key == pk))
        column._gifster_texts = model, statement
    row: tuple[str | None, ...] | None = statement.row(pk=key.db_value(pk))
    return row or ()


def locked_row(record: Any) -> Any:
    """The record's row as it is now, locked until the transaction ends; None if it is gone."""
    return locking(select(type(record)).where(record._pk_expr())).get_or_none()


def locking(query: Any, *, to_delete: bool = False) -> Any:
    """The same query, which locks its rows until the transaction ends.

    Others may still insert rows that refer to these: with the stronger lock of `FOR UPDATE` they
    wait, and two transactions easily wait for each other. SQLite needs no lock of rows: its write
    transaction locks the whole database.

    Parameters:
      to_delete: whether the rows are to be deleted, which takes the stronger lock. Who gets it only
        then may stand behind somebody who has just referred to a row, and who waits for it by now.
    """
    if not real_database(query.model._meta.database).for_update:
        return query
    return query.for_update("FOR UPDATE" if to_delete else "FOR NO KEY UPDATE")


@contextmanager
def locking_transaction(database: Any, lock: Callable[[], T]) -> Iterator[T]:
    """A transaction that begins with a lock of rows, for a `with` block that gets what `lock`
    returns.

    Within another transaction the lock comes before the savepoint. Who waits for a row that a
    savepoint has locked or changed waits for the whole transaction, once PostgreSQL has released
    the savepoint; even if an outer one is rolled back, which ends the lock. Whoever wanted the row
    again after that stood behind those who waited for it: a deadlock.
    """
    if database.in_transaction():
        found = lock()
        with transaction(database):
            yield found
    else:
        with transaction(database):
            yield lock()


def bare_record(model: type[M], values: dict[str, Any]) -> M:
    """A record with these values and no others. No code of the model runs."""
    record = model.__new__(model)
    vars(record).update(__data__=values, __rel__={}, _dirty=set())
    return record


def record_of_key(model: type[M], pk: Any) -> M:
    """A record with nothing but its primary key. No code of the model runs: the default of another
    column may count, or take a number that nobody gets again."""
    names = [field.name for field in model._meta.get_primary_keys()]
    return bare_record(model, dict(zip(names, pk if len(names) > 1 else (pk,), strict=True)))


def real_database(database: Any) -> Any:
    """The database behind a `DatabaseProxy` (None if none is set yet), or the database itself."""
    return database.obj if isinstance(database, peewee.DatabaseProxy) else database


def database_of(model: Any) -> Any:
    """The database of a model, or of a record's model, behind its proxy.

    Raises:
      InterfaceError: it has none yet, as of a query of Peewee's; says what to do.
    """
    database = real_database(model._meta.database)
    if database is None:
        name = model._meta.model.__name__
        raise peewee.InterfaceError(
            f"{name} has no database yet: initialize its DatabaseProxy, or bind it "
            f"(database.bind([{name}]))"
        )
    return database


def check_model(model: Any) -> None:
    """Check, when a model is defined, that it can have uploads.

    Raises:
      TypeError: it has no primary key, or is not in the outbox's database; says what to do.
    """
    if model._meta.primary_key is False:
        raise TypeError(
            f"{model.__name__} has uploads, so it needs a primary key: add one (id = AutoField()), "
            "or declare primary_key = CompositeKey(...) in its Meta"
        )
    # A proxy's database may still change: `check_outbox()` looks at the time of the save.
    if not isinstance(model._meta.database, peewee.DatabaseProxy):
        _check_databases(model)


def _check_databases(model: Any) -> None:
    theirs, ours = (real_database(m._meta.database) for m in (model, Job))
    if theirs is not None and ours is not None and theirs is not ours:
        raise TypeError(
            f"{model.__name__} has uploads, but is in another database than the outbox, so an "
            "upload and its job cannot be written in one transaction: bind both to one database "
            "(database.bind(gifster.jobs.TABLES))"
        )


def check_outbox(model: Any) -> None:
    """Check, when a record is saved, that its model and the outbox are in one database.

    Raises:
      TypeError: they are not; says what to do.
    """
    _check_databases(model)
    if real_database(Job._meta.database) is None:
        raise TypeError(
            f"{model.__name__} has uploads, but the outbox has no database: bind it to the model's "
            "(database.bind(gifster.jobs.TABLES))"
        )
