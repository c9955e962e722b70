"""Removes what nobody asks for any more: uploads that failed long ago, tags that no GIF has, mails
that were written as files. The hourly `clean_up` calls it.

docs/running/observing.md lists every table and folder, and what bounds it.
"""

import logging
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from peewee import fn

from gifster import jobs
from gifster.app import library
from gifster.app.database import db
from gifster.app.models import Gif, GifTag, Tag, moment_before
from gifster.app.one_by_one import for_each_gif
from gifster.app.settings import Settings
from gifster.jobs import transaction

logger = logging.getLogger("gifster.app.retention")

DAY_S = 86_400
#: A transaction deletes at most so many tags.
AT_ONCE = 200
#: A mail as `mailers.FileTransport` names it: what it is about, and whom.
_MAIL = re.compile(r"[a-z_-]+\.[A-Za-z0-9_.-]+\.eml")


def forget_old(settings: Settings) -> dict[str, int]:
    """Remove what `[retention]` in the settings lets nobody keep for longer. Returns how many of
    each."""
    kept, folder = settings.retention, settings.mail.folder
    mails_before = jobs.moment_before(kept.mail_days * DAY_S)
    return {
        "dead_jobs": jobs.forget_dead(kept.dead_job_days * DAY_S, kept.dead_jobs),
        "failed": forget_failed(kept.failed_days) if kept.failed_days else 0,
        "mails": forget_mails(folder, mails_before) if folder and kept.mail_days else 0,
        "tags": forget_unused_tags(),
    }


def forget_failed(days: int) -> int:
    """Delete the GIFs that are older than so many days, whose upload failed, and that never had a
    picture. Returns how many.

    A GIF that kept its picture when its replacement failed stays.
    """
    image: Any = Gif.image
    old = (Gif.image_state == "failed") & (Gif.created_at < moment_before(timedelta(days=days)))
    deleted, _ = for_each_gif(old & image.is_null(), library.delete)
    return deleted


def forget_unused_tags() -> int:
    """Delete the tags that no GIF has. Returns how many."""
    deleted, after = 0, 0
    key: Any = Tag._meta.primary_key
    used = fn.EXISTS(GifTag.select().where(GifTag.tag == key))
    while True:
        unused: Any = Tag.select(key).where((key > after) & ~used).order_by(key)
        ids = [tag_id for (tag_id,) in unused.limit(AT_ONCE).tuples()]
        if not ids:
            return deleted
        after = ids[-1]
        with transaction(db):
            if db.obj.for_update:
                # An upload that names one now has locked it, and may be committed any moment: the
                # tag would go all the same, and be gone from its GIF.
                free: Any = Tag.select(key).where(key.in_(ids))
                ids = [tag_id for (tag_id,) in free.for_update("FOR UPDATE SKIP LOCKED").tuples()]
            deleted += int(Tag.delete().where(key.in_(ids) & ~used).execute())


def forget_mails(folder: Path, before: float) -> int:
    """Delete the mails that Gifster wrote into a folder before a moment (seconds since the epoch).
    Returns how many. Files of others stay."""
    deleted = 0
    try:
        for path in folder.glob("*.eml"):
            with suppress(FileNotFoundError):
                if path.lstat().st_mtime < before and is_our_mail(path):
                    path.unlink()
                    deleted += 1
    except OSError as error:  # the rest of the job does not depend on it
        logger.warning("old mails stay in %s: %s", folder, error)
    return deleted


def is_our_mail(path: Path) -> bool:
    """Whether Gifster wrote a mail: its name is the beginning of its message id."""
    if not _MAIL.fullmatch(path.name) or path.is_symlink():
        return False
    head = path.read_bytes()[:4096].decode("ascii", "replace").lower()
    own_id = re.escape(path.name.removesuffix(".eml").lower())
    return re.search(rf"^message-id:\s+<{own_id}@", head, re.MULTILINE) is not None
