"""Tells an error of the database from any other error.

Peewee wraps the errors of its drivers, but not those of reading rows: `psycopg` and `sqlite3` raise
their own there.
"""

import peewee
from playhouse.pool import MaxConnectionsExceeded

#: The base classes of a driver's errors (PEP 249), which every driver calls so.
_NAMES = {"DatabaseError", "InterfaceError"}


def is_database_error(error: BaseException) -> bool:
    """Whether Peewee, its pool or a database driver raised an error."""
    if isinstance(error, peewee.PeeweeException | MaxConnectionsExceeded):
        return True
    return any(kind.__name__ in _NAMES for kind in type(error).__mro__)
