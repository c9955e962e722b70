"""Boots a worker process from the settings and the environment, before any actor is declared."""

import multiprocessing
import sys

from gifster.app.drivers import load_peewee
from gifster.app.settings import Settings, SettingsError, load


def _loaded() -> Settings | SettingsError:
    """The settings, or what is wrong with them; and Peewee, before anything else loads it."""
    try:
        found = load()
    except SettingsError as error:
        return error
    load_peewee(found.database.url)
    return found


_found = _loaded()

from gifster.app import installation  # noqa: E402
from gifster.app.boot import boot, broker_url  # noqa: E402
from gifster.app.database import NewerDatabase  # noqa: E402
from gifster.app.valkey import NoEmbeddedBroker  # noqa: E402
from gifster.jobs.parent import end_with_main_process  # noqa: E402


def _tell(why: str) -> None:
    # Dramatiq prints what its workers write only once all of them have started, or after half a
    # minute; and this one waits.
    print(f"gifster.actors: {why}", file=sys.__stderr__, flush=True)


# As early as possible, not only once the worker runs: a process that cannot start tells its parent,
# and would wait for ever if that is killed in the meantime.
end_with_main_process()
if isinstance(_found, SettingsError):
    sys.exit(f"gifster.actors: {_found}")
settings = _found
try:
    broker_url(settings)
    if multiprocessing.parent_process() is not None:  # a worker, not somebody who reads the actors
        installation.check(settings)
        installation.wait_until_migrated(settings, _tell)
    broker = boot(settings)
except (SettingsError, NoEmbeddedBroker, installation.NoInstallation, NewerDatabase) as error:
    sys.exit(f"gifster.actors: {error}")
