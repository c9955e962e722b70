"""What the web server calls in each of its processes: it makes the application.

It loads Peewee and redis-py first (see `gifster.app.drivers`); with wrong settings it loads nothing
else.
"""

from typing import TYPE_CHECKING

from gifster.app.drivers import load_peewee, load_redis, loading
from gifster.app.settings import load

if TYPE_CHECKING:
    from gifster.api.adapter import Application


def build() -> "Application":
    """The application of one web process, from settings and environment alone."""
    with loading():
        load_peewee(load().database.url)
        load_redis()
        from gifster.api.app import build as build_it  # noqa: PLC0415 it loads all the rest
    return build_it()
