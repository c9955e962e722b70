"""The start of every process: settings, logs, database, storages, broker.

Each way in (web, workers, scheduler, command line) calls `boot()` once, before anything else.
"""

import logging
import sys
from collections.abc import Sequence

from dramatiq.brokers.redis import RedisBroker

from gifster import database, jobs, uploads
from gifster.models import ImageUploader
from gifster.settings import Settings
from gifster.valkey import embedded_url

MEDIA = "/media"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def configure(settings: Settings) -> None:
    """Bind the models to the database, and the framework to its storages. Opens no connection."""
    database.connect(settings.database.url)
    jobs.Job.bind(database.db)
    uploads.configure(
        {
            "cache": uploads.LocalStorage(settings.cache.root),
            "store": uploads.LocalStorage(settings.store.root, MEDIA),
        }
    )
    ImageUploader.max_bytes = settings.uploads.max_bytes
    ImageUploader.max_pixels = settings.uploads.max_pixels
    ImageUploader.max_frames = settings.uploads.max_frames


def connect_broker(settings: Settings) -> RedisBroker:
    """The broker that the settings name, else the embedded Valkey. Opens no connection.

    Raises:
      NoEmbeddedBroker: `broker.url` is empty and no embedded Valkey has been started here.
    """
    return jobs.connect(settings.broker.url or embedded_url(), lease_s=settings.worker.lease_s)


def boot(settings: Settings) -> RedisBroker:
    """Make this process ready for work: `configure()` and `connect_broker()`."""
    configure(settings)
    return connect_broker(settings)


def log_to_stderr(quiet: Sequence[str] = ("apscheduler", "PIL")) -> None:
    """One line an event, on standard error.

    Parameters:
      quiet: loggers of libraries that only report warnings.
    """
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    for name in quiet:
        logging.getLogger(name).setLevel(logging.WARNING)
