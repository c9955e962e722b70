"""Loads Peewee without the drivers of PostgreSQL, where the database is SQLite.

Peewee loads the drivers that are installed, whatever database an application uses: a quarter of the
time in which a worker process starts.
"""

import importlib
import sys

#: What Peewee looks for.
_DRIVERS = ("psycopg", "psycopg2", "psycopg2cffi")


def load_peewee(database_url: str) -> None:
    """Load Peewee, if nothing has loaded it yet, with the drivers that a database needs. Call it
    before the modules are imported that use Peewee."""
    if "peewee" in sys.modules or not database_url.startswith("sqlite"):
        return
    hidden = [name for name in _DRIVERS if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it is an ImportError
    try:
        importlib.import_module("peewee")
    finally:
        for name in hidden:
            del sys.modules[name]
