"""Loads modules in less time, and libraries without what they would load besides, because it
happens to be installed.

Peewee loads the drivers of PostgreSQL, whatever database an application uses: a quarter of the time
in which a worker process starts. redis-py loads OpenTelemetry's metrics, which Gifster does not
use: a seventh.
"""

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: What Peewee looks for.
_DRIVERS = ("psycopg", "psycopg2", "psycopg2cffi")
#: What redis-py looks for.
_METRICS = ("opentelemetry.metrics", "opentelemetry.sdk.metrics")


@contextmanager
def loading() -> Iterator[None]:
    """A block in which modules are imported. The garbage collector would look through them again
    and again meanwhile, for a fifth of the time, though nothing of them is garbage. It does not
    look through them later, either."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def load_peewee(database_url: str) -> None:
    """Load Peewee, if nothing has loaded it yet, with the drivers that a database needs. Call it
    before the modules are imported that use Peewee."""
    if database_url.startswith("sqlite"):
        _load("peewee", without=_DRIVERS)


def load_redis() -> None:
    """Load redis-py, if nothing has loaded it yet. Call it before the modules are imported that use
    it."""
    _load("redis", without=_METRICS)


def _load(library: str, without: tuple[str, ...]) -> None:
    if library in sys.modules:
        return
    hidden = [name for name in without if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it is an ImportError
    try:
        importlib.import_module(library)
    finally:
        for name in hidden:
            del sys.modules[name]
