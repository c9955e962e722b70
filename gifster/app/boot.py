"""Starts a process: logs, database, storages, broker.

Web, workers, scheduler and the command line each call `boot()` once, before anything else. What it
sets belongs to the whole process: two applications in one process would share it.
"""

import ctypes
import fcntl
import logging
import secrets
from contextlib import suppress
from pathlib import Path

import dramatiq

from gifster import jobs, uploads
from gifster.app import database
from gifster.app.drivers import load_redis
from gifster.app.logs import log_in_lines
from gifster.app.models import ImageUploader
from gifster.app.private import (
    close_to_others,
    keep_private,
    refuse_served_secrets,
    write_private,
)
from gifster.app.settings import PREFIX, Settings, SettingsError, Storage
from gifster.app.settings.values import MIN_SECRET
from gifster.app.tracing import trace_process
from gifster.app.valkey import embedded_url

logger = logging.getLogger("gifster")

MEDIA = "/media"
#: What the URLs of files on this machine begin with: `MEDIA` below `web.root_path`. `configure()`
#: sets it.
media_url = MEDIA
#: From glibc's malloc.h. A freed block of at least so many bytes goes back to the system at once;
#: the threads of a process share so many heaps.
M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES = -3, 128 * 1024
M_ARENA_MAX, ARENAS = -8, 2
#: The limits of `ImageUploader` that settings change.
UPLOAD_LIMITS = (
    "max_bytes",
    "max_pixels",
    "max_frame_pixels",
    "max_total_pixels",
    "max_frames",
    "max_duration_s",
    "max_video_s",
    "max_video_pixels",
    "strip_metadata",
)


def configure(settings: Settings) -> None:
    """Bind the models to the database, and the framework to its storages. Opens no connection.

    From now on, only this process's user can read the files that it writes, unless the settings say
    otherwise.

    Raises:
      SettingsError: the installation's secret can be neither read nor made, or private files are
        in the store.
    """
    global media_url  # noqa: PLW0603 it belongs to the process, like the rest of this
    media_url = settings.web.root_path + MEDIA
    keep_private()
    secret = check_files(settings)
    close_to_others(settings)
    database.connect(settings.database.url, durable=settings.durability == "fsync")
    database.db.bind([*jobs.TABLES, *uploads.TABLES])
    configure_storages(settings, secret)
    ImageUploader.set_limits(**{name: getattr(settings.uploads, name) for name in UPLOAD_LIMITS})


def configure_storages(settings: Settings, secret: str = "") -> None:
    """Bind the framework to its storages, without a database."""
    durable = settings.durability == "fsync"
    uploads.configure(
        {
            "cache": storage(settings.cache, durable=durable),
            "store": storage(settings.store, media_url, durable=durable),
        },
        secret=secret,
        private_remotes=settings.uploads.private_remotes,
    )


def check_files(settings: Settings) -> str:
    """The secret of this installation, if `/media` serves neither it nor another private file.

    Raises:
      SettingsError: private files are in the store, or the secret can be neither read nor made.
    """
    refuse_served_secrets(settings)
    return settings.uploads.secret or secret_file()


def storage(settings: Storage, base_url: str = "", *, durable: bool = True) -> uploads.Storage:
    """The storage that a section of the settings describes.

    Parameters:
      base_url: the URL of files that are in no bucket, unless the settings have one.
      durable: whether local files are synced to the disk.
    """
    if settings.kind == "local":
        base_url = settings.base_url or base_url
        return uploads.LocalStorage(
            settings.root,
            base_url,
            durable=durable,
            permissions=settings.permissions,
            directory_permissions=settings.directory_permissions,
        )
    if settings.kind == "fsspec":
        return uploads.FsspecStorage(settings.url, base_url=settings.base_url or base_url)
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
        checksums=settings.checksums,
        addressing=settings.addressing,
        ca_file=settings.ca_file or None,
    )


def secret_file(path: Path = Path("var/secret")) -> str:
    """The secret in a file, for an installation without `uploads.secret`. It is made once, and only
    its owner can read it.

    Raises:
      SettingsError: it can be neither read nor made; the message says what to do.
    """
    try:
        kept = _kept_secret(path)
        if kept is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.with_name(f".{path.name}.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # several processes start at once
                kept = _kept_secret(path) or _new_secret(path)
    except OSError as error:
        raise SettingsError(
            f"the secret in {path} can be neither read nor made ({error.strerror}): run this as "
            f"the user that owns {path.parent}/, or set {PREFIX}UPLOADS__SECRET"
        ) from None
    return kept


def _kept_secret(path: Path) -> str | None:
    """The secret in a file; None without one, or if a power cut has emptied or damaged it."""
    try:
        text = path.read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        return None
    secret = text.strip()
    return text if secret.isascii() and secret.isprintable() and len(secret) >= MIN_SECRET else None


def _new_secret(path: Path) -> str:
    if path.exists():
        logger.warning(
            "%s is empty or damaged: a new secret replaces it. People must choose the files of "
            "unsent forms once more",
            path,
        )
    secret = secrets.token_urlsafe(32)
    write_private(path, secret.encode())
    return secret


def broker_url(settings: Settings) -> str:
    """The broker's URL: that of the settings, else of the embedded Valkey.

    Raises:
      NoEmbeddedBroker: `broker.url` is empty and no embedded Valkey has been started here.
    """
    return settings.broker.url or embedded_url()


def queue_weights(settings: Settings) -> dict[str, jobs.QueueWeight]:
    """The weights and limits of the queues, by name."""
    return {
        name: jobs.QueueWeight(queue.weight, queue.max, queue.user_max)
        for name, queue in settings.queues.items()
    }


def connect_broker(settings: Settings) -> dramatiq.Broker:
    """Connect to `broker_url()`. Opens no connection yet.

    Raises:
      NoEmbeddedBroker
    """
    url = broker_url(settings)
    if not url.startswith("amqp"):
        load_redis()
    return jobs.connect(
        url,
        lease_s=settings.worker.lease_s,
        weights=queue_weights(settings),
        max_memory_bytes=settings.worker.max_memory_mb * 2**20 or None,
        namespace=settings.broker.namespace,
        max_per_group=settings.worker.max_jobs_per_user,
    )


def boot(settings: Settings) -> dramatiq.Broker:
    """Make this process ready for work. Returns its broker, to which no connection is open yet."""
    log_in_lines()
    _give_memory_back()
    configure(settings)
    broker = connect_broker(settings)
    trace_process(settings.traces)
    return broker


def _give_memory_back() -> None:
    """Keep a process that decodes images from growing for hours. By default, glibc raises its
    threshold with each large block that is freed, and keeps the next blocks in up to eight heaps
    for each core (`make hostile`: 18 to 22 MB more after 10,000 requests, 3 to 6 with this)."""
    with suppress(OSError, AttributeError):  # another libc has neither the problem nor the function
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(M_ARENA_MAX, ARENAS)
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
