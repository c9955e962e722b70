"""Rows and databases, as saving and the workers need them."""

from typing import Any

import peewee


def locked_row(record: Any) -> Any:
    """The row as it is now, locked until the transaction ends; None if it is gone.

    SQLite has locked the whole database by then.
    """
    query = type(record).select().where(record._pk_expr())
    locks = real_database(record._meta.database).for_update
    return (query.for_update() if locks else query).get_or_none()


def real_database(database: Any) -> Any:
    """The database itself, where a model names one that is to be set later."""
    return database.obj if isinstance(database, peewee.DatabaseProxy) else database
