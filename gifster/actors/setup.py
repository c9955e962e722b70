"""Boots a worker process from the settings and the environment, before any actor is declared."""

import multiprocessing
import sys

from gifster.app.boot import boot
from gifster.app.settings import SettingsError, load
from gifster.app.valkey import NoEmbeddedBroker
from gifster.jobs.parent import end_with_parent

# From the start, not only once the worker runs: a process that cannot start tells its parent, and
# would wait for ever if that is killed in the meantime.
if multiprocessing.parent_process() is not None:
    end_with_parent()
try:
    settings = load()
    broker = boot(settings)
except (SettingsError, NoEmbeddedBroker) as error:
    sys.exit(f"gifster.actors: {error}")
