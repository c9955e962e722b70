"""The files that refused forms keep in the cache, for the form to be sent again.

Each has a row, and counts for the quota of its user, until it is used (`library` deletes the row
then) or an hour old.
"""

import logging
from datetime import timedelta
from typing import Any

from gifster.app import library
from gifster.app.database import db
from gifster.app.library import Quota
from gifster.app.models import Gif, KeptUpload, User, now
from gifster.jobs import transaction
from gifster.uploads import CachedFile, StorageUnavailable
from gifster.uploads.config import storage

logger = logging.getLogger("gifster.app.kept_uploads")

#: The cache id of such a file is handed on for less (see `gifster.uploads.sources`).
MOST_AGE = timedelta(hours=1)


def keep(cached: CachedFile, user: User | None, quota: Quota | None) -> None:
    """Have a cached file count for somebody. One that does so already stays as it is.

    Parameters:
      user: whose it is; None is somebody who has not signed in.

    Raises:
      Denied: it is more than the quota has room for.
    """
    with transaction(db):
        library.lock_quota(user, quota)
        if KeptUpload.get_or_none(KeptUpload.key == cached.key) is None:
            library.check_quota(user, quota, bytes=cached.bytes)
            KeptUpload.create(key=cached.key, storage=cached.storage, user=user, bytes=cached.bytes)


def forget_expired() -> int:
    """Delete the kept files that are too old to be used. Returns how many.

    A form that was accepted and came again has kept a file that is a GIF's: that one stays.
    """
    late = KeptUpload.kept_at < now() - MOST_AGE
    forgotten, expired = 0, list(KeptUpload.select().where(late))
    tmp: Any = Gif.image_tmp
    waiting = Gif.select(tmp).where(tmp.is_null(False)) if expired else []
    waited_for = {gif.image_tmp.key for gif in waiting if gif.image_tmp}
    for kept in expired:
        if KeptUpload.delete().where(KeptUpload.key == kept.key).execute():
            forgotten += 1
            if kept.key in waited_for:
                continue
            try:
                storage(kept.storage).delete(kept.key)
            except (OSError, StorageUnavailable) as error:  # the sweep will find it
                logger.warning("left in the cache key=%s reason=%r", kept.key, str(error))
    return forgotten
