"""The start of every process: settings, logs, database, storages, broker.

Each way in (web, workers, scheduler, command line) calls `boot()` once, before anything else.
"""

import logging
import secrets
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dramatiq.brokers.redis import RedisBroker

from gifster import database, jobs, uploads
from gifster.models import ImageUploader
from gifster.settings import Settings, Storage
from gifster.valkey import embedded_url

MEDIA = "/media"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def configure(settings: Settings) -> None:
    """Bind the models to the database, and the framework to its storages. Opens no connection."""
    database.connect(settings.database.url)
    jobs.Job.bind(database.db)
    uploads.configure(
        {"cache": storage(settings.cache), "store": storage(settings.store, MEDIA)},
        secret=settings.uploads.secret or secret_file(),
        private_remotes=settings.uploads.private_remotes,
    )
    ImageUploader.max_bytes = settings.uploads.max_bytes
    ImageUploader.max_pixels = settings.uploads.max_pixels
    ImageUploader.max_frames = settings.uploads.max_frames


def storage(settings: Storage, base_url: str = "") -> uploads.Storage:
    """The storage that a section of the settings describes.

    Parameters:
      base_url: where local files are served, unless the settings say otherwise.
    """
    if settings.kind == "local":
        return uploads.LocalStorage(settings.root, settings.base_url or base_url)
    return uploads.S3Storage(
        settings.bucket,
        prefix=settings.prefix,
        endpoint_url=settings.endpoint_url,
        region=settings.region,
        access_key_id=settings.access_key_id,
        secret_access_key=settings.secret_access_key,
        base_url=settings.base_url,
        expires_s=settings.url_expires_s,
        acl=settings.acl or None,
        encryption=settings.encryption or None,
        kms_key_id=settings.kms_key_id or None,
    )


def secret_file(path: Path = Path("var/secret")) -> str:
    """The secret of an installation that was given none: made once, for its owner's eyes only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        mine = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        mine.touch(0o600)
        mine.write_text(secrets.token_urlsafe(32))
        with suppress(FileExistsError):  # another process was quicker
            path.hardlink_to(mine)
        mine.unlink()
    return path.read_text()


def broker_url(settings: Settings) -> str:
    """The broker that the settings name, else the embedded Valkey.

    Raises:
      NoEmbeddedBroker: `broker.url` is empty and no embedded Valkey has been started here.
    """
    return settings.broker.url or embedded_url()


def connect_broker(settings: Settings) -> RedisBroker:
    """Connect to `broker_url()`. Opens no connection yet.

    Raises:
      NoEmbeddedBroker
    """
    return jobs.connect(broker_url(settings), lease_s=settings.worker.lease_s)


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
