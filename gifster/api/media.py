"""Who gets a GIF's files: those who may see the GIF (decision 64); the original of a GIF with an
edit only those who may change it (decision 85)."""

import falcon
from falcon.asgi import Request

from gifster.api.auth import viewer_here
from gifster.api.context import Context
from gifster.app import boot
from gifster.app.access import gif_of, may_edit, may_see, standing_of
from gifster.app.damaged_text import Unreadable
from gifster.app.database import db
from gifster.app.originals import is_withheld
from gifster.uploads import S3Storage
from gifster.uploads.config import storage
from gifster.uploads.files.stored import StoredFile, StoredVersion
from gifster.uploads.storage.base import Storage, public_url


def storage_of(file: StoredFile | StoredVersion) -> Storage:
    """The storage of a file.

    Raises:
      Unreadable: there is none of that name.
    """
    try:
        return storage(file.storage)
    except LookupError as error:
        raise Unreadable(str(error)) from error


def plain_url(file: StoredFile | StoredVersion) -> str:
    """The URL of a file that everybody may see.

    Raises:
      Unreadable: its key is none, or it is in no storage that there is.
    """
    try:
        return storage_of(file).url(file.key)
    except ValueError as error:
        raise Unreadable(str(error)) from error


def guarded_url(file: StoredFile | StoredVersion) -> str:
    """The URL of a file that not everybody may see.

    A CDN or a public bucket (`store.base_url`) does not ask who somebody is. So this is a URL of
    `/media`, or, for a bucket, one that is signed and ends.

    Raises:
      Unreadable: as `plain_url()`.
    """
    store = storage_of(file)
    try:
        if isinstance(store, S3Storage):
            return store.url(file.key, store.expires_s)
        return public_url(boot.media_url, file.key)
    except ValueError as error:
        raise Unreadable(str(error)) from error


class MediaAccess:
    """Refuses files to those who may not see their GIF. To be called in a thread.

    A file that not everybody may see is marked in the request's context (`is_private`), so that no
    shared cache keeps it. For public GIFs nobody asks who the client is.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, req: Request, key: str) -> None:
        """Check a request for the file with this key.

        Raises:
          HTTPNotFound: the client may not see its GIF, or there is none (any more); or this is its
            original, and the client may not see that.
        """
        gif_id = gif_of(key)
        if gif_id is None:
            return
        with db.connection_context():
            found = standing_of(gif_id)
            if found is None:
                req.context.is_private = True
                raise falcon.HTTPNotFound
            standing, withheld = found[:4], is_withheld(found, key)
            if not withheld and may_see(*standing):
                return
            req.context.is_private = True
            viewer = viewer_here(self._context, req)
            sees = may_see(*standing, viewer=viewer)
            if not sees or (withheld and not may_edit(found.user_id, viewer)):
                raise falcon.HTTPNotFound
