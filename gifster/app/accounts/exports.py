"""A zip of all GIFs of a user, which a worker makes as `gifster export` does, and which its user
can download for a day.

It is in the cache, which nobody serves: the original of a private GIF is in it, too. A worker
writes it into `var/exports` first, so that machine needs room for it.
"""

import logging
import secrets
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from gifster import jobs
from gifster.app.accounts.tables import Export
from gifster.app.database import db
from gifster.app.errors import Conflict, NotFound
from gifster.app.models import User, moment_before, now
from gifster.app.texts import GIF_ID
from gifster.app.transfer import exporting
from gifster.jobs import enqueue, transaction
from gifster.uploads import StorageUnavailable
from gifster.uploads.columns.rows import locked_row
from gifster.uploads.config import storage, storage_to_write
from gifster.uploads.storage.base import Listing, supported_options

logger = logging.getLogger("gifster.app.accounts")

#: How long a zip is kept, and after what time nobody waits any more for one that is not there.
KEPT, GIVEN_UP = timedelta(days=1), timedelta(hours=6)
FOLDER = Path("var/exports")
#: The beginning of the keys of all zips.
PREFIX = "exports/"


def key_of(export: Export) -> str:
    """The key of a zip in the cache."""
    return f"{PREFIX}{export.id}.zip"


def of(user: User) -> Export | None:
    """The export of a user, made or in the making; None without one."""
    found: Export | None = Export.get_or_none(Export.user == user)
    gone = found is not None and found.expires_at is not None and found.expires_at <= now()
    return None if gone else found


def ask(user: User) -> Export:
    """A new export of a user, in place of the one before. A worker makes it.

    Raises:
      Conflict: one is being made already (`export_running`).
    """
    before = Export.get_or_none(Export.user == user)
    if before is not None and not _is_awaited(before):
        storage("cache").delete(key_of(before))
    with transaction(db):
        locked_row(user)  # two requests at once
        waiting = Export.finished_at.is_null() & (Export.created_at > now() - GIVEN_UP)
        if Export.select().where((Export.user == user) & waiting).exists():
            raise Conflict("export_running", "Your GIFs are being packed already. Wait a little.")
        Export.delete().where(Export.user == user).execute()
        made = Export.create(user=user)
        # Each may take hours. One group leaves a thread to all else, if a worker has several.
        enqueue("make_export", made.id, group="make_export")
    if before is not None:  # as `forget()` does
        storage("cache").delete(key_of(before))
    return made


def _is_awaited(export: Export) -> bool:
    """Whether a worker may still be making it."""
    return export.finished_at is None and export.created_at > now() - GIVEN_UP


def make(export_id: str) -> None:
    """Make the zip of an export. A second run makes it once more, under the same key, or deletes
    the zip of the first run if nobody wants it any more.

    Raises:
      OSError, StorageUnavailable: it cannot be written now.
    """
    export = Export.get_or_none(Export.id == export_id)
    if export is None:
        storage("cache").delete(key_of(Export(id=export_id)))
        return
    if export.finished_at is not None:
        return
    _forget_parts()
    FOLDER.mkdir(parents=True, exist_ok=True)
    part = FOLDER / f"{export.id}.{secrets.token_hex(4)}.part"  # it may run twice at once
    gifs = left_out = 0
    try:
        with part.open("wb") as target:
            for gif, fault in exporting.export(target, exporting.chosen(export.user)):
                gifs += 1
                if fault:
                    left_out += 1
                    logger.warning("export=%s gif=%s fault=%r", export.id, gif.id, fault)
        size = part.stat().st_size
        storage_to_write("cache").upload(part, key_of(export), "application/zip")
    finally:
        part.unlink(missing_ok=True)
    done = {
        Export.finished_at: now(),
        Export.expires_at: now() + KEPT,
        Export.gifs: gifs,
        Export.left_out: left_out,
        Export.bytes: size,
    }
    if not Export.update(done).where(Export.id == export.id).execute():
        storage("cache").delete(key_of(export))  # its user left, or asked for another one
    logger.info("exported export=%s gifs=%d left_out=%d bytes=%d", export.id, gifs, left_out, size)


def give_up(export_id: str) -> None:
    """Wait no more for a zip whose job is dead: its user can ask for another one at once."""
    ended = {Export.finished_at: now(), Export.expires_at: now()}
    Export.update(ended).where((Export.id == export_id) & Export.finished_at.is_null()).execute()


def find(export_id: str, user: User) -> Export:
    """The export with that id, which its user can download.

    Raises:
      NotFound: there is none, it is somebody else's, not made yet, or no longer kept.
    """
    possible = GIF_ID.fullmatch(export_id)
    found = of(user) if possible else None
    if found is None or found.id != export_id or found.finished_at is None:
        raise NotFound(
            "export_not_found", "These GIFs are no longer packed. Have them packed once more."
        )
    return found


def forget(export: Export) -> None:
    """Delete an export and its zip. The row goes after the file, which it knows."""
    cache = storage("cache")
    cache.delete(key_of(export))
    export.delete_instance()
    # A worker may have ended it in between. One that ends it from here on finds no row.
    cache.delete(key_of(export))


def forget_expired() -> int:
    """Delete the exports that are kept no longer, and what killed workers left of others. Returns
    how many were deleted."""
    given_up = Export.finished_at.is_null() & (Export.created_at <= moment_before(GIVEN_UP))
    old = list(Export.select().where((Export.expires_at <= now()) | given_up))
    forgotten = 0
    for export in old:
        try:
            forget(export)
            forgotten += 1
        except (OSError, StorageUnavailable) as error:  # the next time; the others need not wait
            logger.warning("left in the cache export=%s reason=%r", export.id, str(error))
    _forget_parts()
    _forget_half_written()
    return forgotten


def _forget_half_written() -> None:
    """Delete the parts that a bucket keeps of a zip whose worker was killed. The sweep cannot: it
    knows the keys of uploads alone."""
    cache = storage("cache")
    if not isinstance(cache, Listing):
        return
    before = jobs.moment_before(GIVEN_UP.total_seconds())
    options = supported_options(cache.half_written, ours=lambda key: key.startswith(PREFIX))
    if not options:
        return  # it leaves half-written files that the sweep knows
    try:
        for name in cache.half_written(before, True, **options):
            logger.info("removed half-written=%s", name)
    except (OSError, StorageUnavailable) as error:  # many may not list them, and need not
        logger.warning("half-written exports may stay in the cache reason=%r", str(error))


def _forget_parts() -> None:
    """Delete what killed workers left behind."""
    before = jobs.moment_before(GIVEN_UP.total_seconds())
    for part in FOLDER.glob("*.part"):
        with suppress(FileNotFoundError):
            if part.stat().st_mtime < before:
                part.unlink()
