"""Says what to do where the tables are of an earlier release, or missing.

The database only says that it knows no such column. `migrate()` in `schema.py` adds it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import peewee

ADVICE = (
    "call gifster.jobs.migrate(database) when the application starts or is deployed, or run "
    "python -m gifster.jobs migrate YOUR_MODULE"
)


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
        with suppress(peewee.PeeweeException):  # the database is away, or the transaction has ended
            why = what_lacks(models)
        if why is None or isinstance(error, OldSchema):
            raise
        raise OldSchema(why) from error


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
