"""Cached files of refused forms, kept so that the form can be sent again without them; and files
that clients write into the cache directly, from the moment that they may.

Each has a row, and counts for its user's quota, until a GIF is made of it (then `library` deletes
the row) or it is an hour old.
"""

import logging
import re
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from gifster.app import library
from gifster.app.database import db
from gifster.app.library import Quota
from gifster.app.models import Gif, KeptUpload, User, moment_before
from gifster.jobs import transaction
from gifster.uploads import CachedFile, StorageUnavailable
from gifster.uploads.config import storage
from gifster.uploads.sweep.reading import any_text, streamed

logger = logging.getLogger("gifster.app.kept_uploads")

#: The cache id of such a file is handed on for less (see `gifster.uploads.files.cache_ids`).
MOST_AGE = timedelta(hours=1)
#: Whatever could be a key in a text.
_KEYS = re.compile(r"[A-Za-z0-9._/-]+")


def keep(cached: CachedFile, user: User | None, quota: Quota | None) -> None:
    """Keep a cached file, and count it for its user's quota. Keeping it twice changes nothing.

    Parameters:
      user: its owner; None for somebody who is not logged in.

    Raises:
      Denied: it exceeds the quota.
    """
    reserve(cached.key, cached.storage, cached.bytes, user, quota)


def reserve(key: str, storage: str, size: int, user: User | None, quota: Quota | None) -> None:
    """Count a file for its user's quota that is in the cache, or may be soon. It does nothing for
    one that is counted already.

    Parameters:
      key, storage: where it is.
      size: in bytes.
      user: its owner; None for somebody who is not logged in.

    Raises:
      Denied: it exceeds the quota.
    """
    with transaction(db):
        library.lock_quota(user, quota)
        if KeptUpload.get_or_none(KeptUpload.key == key) is None:
            library.check_quota(user, quota, bytes=size)
            KeptUpload.create(key=key, storage=storage, user=user, bytes=size)


def forget_expired() -> int:
    """Delete the kept files that are too old to be used. Returns how many.

    A form that was sent twice may have kept a file that belongs to a GIF: that file stays.
    """
    late = KeptUpload.kept_at < moment_before(MOST_AGE)
    rows: Any = KeptUpload.select(KeptUpload.key, KeptUpload.storage).where(late).tuples()
    expired: dict[str, str] = dict(rows)
    forgotten, named, away = 0, _named_by_gifs(expired), set()
    for key, name in expired.items():
        if KeptUpload.delete().where(KeptUpload.key == key).execute():
            forgotten += 1
            if key in named or name in away:
                continue
            try:
                storage(name).delete(key)
            except (OSError, StorageUnavailable) as error:  # the sweep will find it
                logger.warning("left in the cache key=%s reason=%r", key, str(error))
                if isinstance(error, StorageUnavailable):
                    away.add(name)  # one that hangs takes minutes to say so, for each file
    return forgotten


def _named_by_gifs(keys: Collection[str]) -> set[str]:
    """Those keys that a GIF waits for. A million may wait: their rows are not kept in memory."""
    tmp: Any = Gif.image_tmp
    # As texts: also a row that cannot be read may name a file.
    query = Gif.select(tmp).where(tmp.is_null(False))
    named: set[str] = set()
    if keys:
        with any_text(db.obj):
            for (text,) in streamed(db, *query.sql()):
                named.update(key for key in _KEYS.findall(text) if key in keys)
    return named
