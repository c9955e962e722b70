"""Uploads that come by other ways than one request: resumable ones (tus).

An unfinished upload counts for its user's quota with its whole length, from its creation on. The
transaction that makes its GIF ends it, so that no crash makes two of one upload, or none.
"""

from collections.abc import Callable

from gifster.app import library
from gifster.app.database import db
from gifster.app.library import Quota
from gifster.app.models import Gif, ImageUploader, User
from gifster.jobs import transaction
from gifster.uploads.resumable import rows
from gifster.uploads.resumable.table import ResumableUpload


def begin(  # noqa: PLR0913 facts
    length: int,
    metadata: str,
    user: User | None,
    quota: Quota | None,
    lives_s: int,
    *,
    gifs: int = 1,
) -> ResumableUpload:
    """A new resumable upload.

    Parameters:
      length: its size (bytes).
      metadata: the client's `Upload-Metadata`, which has been checked.
      user: its owner; None for somebody who is not logged in. Then everybody who knows its address
        may go on with it.
      lives_s: how long it is kept after the last progress (seconds).
      gifs: how many GIFs it is going to add; 0 for a new image of one.

    Raises:
      Denied: it exceeds the quota.
    """
    with transaction(db):
        library.lock_quota(user, quota)
        library.check_quota(user, quota, gifs=gifs, bytes=length)
        return rows.create(
            ImageUploader, length, metadata=metadata, owner=owner_of(user), lives_s=lives_s
        )


def find(upload_id: str, user: User | None) -> ResumableUpload:
    """The resumable upload with that id.

    Raises:
      NoSuchUpload: there is none, or it is somebody else's, or it has expired.
    """
    return rows.find(ImageUploader, upload_id, owner_of(user))


def unfinished(user: User) -> list[ResumableUpload]:
    """A user's uploads that are not complete, which count for the quota. The next one to expire is
    the first."""
    return rows.unfinished(ImageUploader, owner_of(user))


def forget_of(user_id: str) -> None:
    """Forget a user's resumable uploads, and delete what has come of them."""
    rows.forget_of(user_id)


def take(upload: ResumableUpload, make: Callable[[], Gif]) -> Gif:
    """The GIF that is made of a complete upload, in one transaction with the upload's end.

    Parameters:
      upload: all of its bytes but the last are safe.
      make: makes the GIF. If it raises, the upload stays as it is.

    Raises:
      OffsetMoved: another request has ended the upload.
    """
    with transaction(db):
        rows.finish(upload, {})  # first, as it counts for the quota no more
        gif = make()
        rows.tell(upload, {"gif": gif.id})
    return gif


def owner_of(user: User | None) -> str:
    """The owner of a resumable upload, as its row has it."""
    return "" if user is None else user.id
