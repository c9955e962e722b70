"""Boots a worker process from settings and environment alone, before any actor is declared."""

import sys

from gifster.app.boot import boot
from gifster.app.settings import SettingsError, load
from gifster.app.valkey import NoEmbeddedBroker

try:
    settings = load()
    broker = boot(settings)
except (SettingsError, NoEmbeddedBroker) as error:
    sys.exit(f"gifster.actors: {error}")
