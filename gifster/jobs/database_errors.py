"""Tells an error of the database from any other error.

Peewee wraps the errors of its drivers, but not those of reading rows: `psycopg` and `sqlite3` raise
their own there.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import peewee
from playhouse.pool import MaxConnectionsExceeded

V = TypeVar("V")

#: The base classes of a driver's errors (PEP 249), which every driver calls so.
_NAMES = {"DatabaseError", "InterfaceError"}


def is_database_error(error: BaseException) -> bool:
    """Whether Peewee, its pool or a database driver raised an error."""
    if isinstance(error, peewee.PeeweeException | MaxConnectionsExceeded):
        return True
    return any(kind.__name__ in _NAMES for kind in type(error).__mro__)


def is_of_one_row(error: Exception) -> bool:
    """Whether an error concerns one row alone. SQLite keeps bytes that are no text, and its driver
    calls that operational."""
    return not is_database_error(error) or "Could not decode to UTF-8" in str(error)


def sqlstate_of(error: BaseException) -> str | None:
    """The code that PostgreSQL gave an error, or one before it; None without one."""
    return next(filter(None, map(sqlstate, chain(error))), None)


def sqlstate(error: BaseException) -> str | None:
    """The code that PostgreSQL gave an error; None if it gave none, or a driver's error is wrapped
    in this one."""
    code: str | None = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return code


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and the errors from which or after which it was raised."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def reads(load: Callable[[Any, Any], V]) -> Callable[[Any, Any], V]:
    """The `python_value()` of a field, whose errors tell which column cannot be read (see
    `unreadable_column()`)."""

    @functools.wraps(load)
    def python_value(field: Any, value: Any) -> V:
        try:
            return load(field, value)
        except Exception as error:
            named = f"{field.model._meta.table_name}.{field.column_name}"
            error.unreadable_column = named  # type: ignore[attr-defined]
            raise

    return python_value


def unreadable_column(error: BaseException) -> str:
    """The column that could not be read, if that is the error; else empty."""
    return str(getattr(error, "unreadable_column", ""))
