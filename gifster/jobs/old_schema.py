"""Says what to do where the tables are of an earlier release, or missing.

The database only says that it knows no such column. `migrate()` in `schema.py` adds it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import peewee

from gifster.jobs.database_errors import sqlstate_of
from gifster.jobs.transactions import real_database

P = ParamSpec("P")
R = TypeVar("R")

ADVICE = (
    "call gifster.jobs.migrate(database) when the application starts or is deployed, or run "
    "python -m gifster.jobs migrate YOUR_MODULE"
)

#: SQLSTATE: undefined column, undefined table (PostgreSQL, appendix A).
_UNKNOWN = {"42703", "42P01"}
_UNKNOWN_IN_SQLITE = ("no such column", "no such table", "has no column named")


class OldSchema(peewee.ProgrammingError):
    """The library's tables lack something that this release needs. The message says what, and what
    to do."""


@contextmanager
def explained(*models: type[peewee.Model]) -> Iterator[None]:
    """Raise `OldSchema` for an error of the database whose cause is that the tables of these models
    lack something. Enter it outside of the transaction that may fail."""
    try:
        yield
    except (peewee.OperationalError, peewee.ProgrammingError) as error:
        why = None
        if _is_unknown_name(error):
            try:
                why = what_lacks(models)
            except peewee.PeeweeException:  # the caller's transaction has failed: nobody is asked
                why = f"{str(error).partition(chr(10))[0]}: {ADVICE}"
        if why is None:
            raise
        raise OldSchema(why) from error


def needs(*models: type[peewee.Model]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a public function that uses the tables of these models.

    Raises:
      NotBound: one of them is bound to no database.
      OldSchema: one of them lacks something.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def checked(*arguments: P.args, **options: P.kwargs) -> R:
            for model in models:
                real_database(model._meta.database)
            with explained(*models):
                return function(*arguments, **options)

        return checked

    return decorate


def _is_unknown_name(error: peewee.PeeweeException) -> bool:
    """Whether the database does not know a table or a column. A database that is away or locked is
    not asked a second time."""
    # SQLite has only the message.
    return sqlstate_of(error) in _UNKNOWN or any(t in str(error) for t in _UNKNOWN_IN_SQLITE)


def what_lacks(models: Sequence[type[peewee.Model]]) -> str | None:
    """What the tables of these models lack, and what to do; None if they lack nothing. A model that
    is bound to no database is left out.

    Raises:
      peewee.PeeweeException
    """
    bound: list[Any] = [model for model in models if model._meta.database is not None]
    missing = {model._meta.table_name: _missing_columns(model) for model in bound}
    tables = [table for table, columns in missing.items() if columns is None]
    lacks = [f"the database has no table {', '.join(tables)}"] if tables else []
    lacks += [
        f"the table {table} is of an earlier release and lacks {', '.join(columns)}"
        for table, columns in missing.items()
        if columns
    ]
    return f"{'; '.join(lacks)}: {ADVICE}" if lacks else None


def _missing_columns(model: Any) -> list[str] | None:
    """The columns that a model's table lacks; None if the table itself is missing."""
    present = {column.name for column in model._meta.database.get_columns(model._meta.table_name)}
    if not present:
        return None
    return [f.column_name for f in model._meta.sorted_fields if f.column_name not in present]
