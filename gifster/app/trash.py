"""The trash: GIFs that somebody has thrown away, until they are taken back or deleted for good.

A GIF in the trash keeps its row and its files, and counts for its user's quota. Only those who may
change it still see it (`access`). `empty_old()` deletes what has been there for too long.
"""

from datetime import timedelta
from typing import Any

from gifster.app import library, search
from gifster.app.access import Reach, may_show_again
from gifster.app.cursors import newest_page
from gifster.app.database import db
from gifster.app.errors import Denied
from gifster.app.models import Gif, User, moment_before, now
from gifster.app.moderation.log import Action, actor, note, note_moderation
from gifster.app.one_by_one import for_each_gif
from gifster.jobs import enqueue, transaction

#: How many GIFs a request deletes that empties a trash, and how many a job. Each takes some
#: milliseconds, and a user may have ten thousand.
A_REQUEST, A_JOB = 100, 1_000
#: By how much later than now a moment may be that somebody else has written.
CLOCK_SLACK = timedelta(minutes=1)


def throw_away(gif_id: str, user: User | None, reach: Reach = Reach.OWN, reason: str = "") -> Gif:
    """The GIF, which is in the trash from now on. If it is there already, it stays for as long as
    it would have.

    Parameters:
      reason: why; a moderator who throws somebody else's GIF away needs one.

    Raises:
      NotFound, Denied: as `library.gif_to_change()`; also if it is deleted at the same moment.
      Invalid: a moderator gives no reason.
    """
    return _move(gif_id, user, reach, reason, into=True)


def take_back(gif_id: str, user: User | None, reach: Reach = Reach.OWN, reason: str = "") -> Gif:
    """The GIF, which is no longer in the trash; it is what it was before.

    Raises:
      NotFound, Denied, Invalid: as `throw_away()`. What a moderator has hidden, only a moderator
        takes back.
    """
    return _move(gif_id, user, reach, reason, into=False)


def _move(gif_id: str, user: User | None, reach: Reach, reason: str, *, into: bool) -> Gif:
    gif = library.gif_to_change(gif_id, user, reach)
    by = actor(gif, user, reach, reason)
    with transaction(db):
        present = library.locked_to_change(gif, user, reach)
        if (
            not into
            and present.hidden_from is not None
            and not may_show_again(present, user, reach)
        ):
            raise Denied(
                "gif_hidden",
                "A moderator has hidden this GIF, so only another moderator takes it back.",
            )
        if into is (present.trashed_at is None):
            present.trashed_at = now() if into else None
            present.save(only=[Gif.trashed_at])
            search.put(present)
            changes = {"in_trash": (not into, into)}
            if not into and present.hidden_from is not None and user is not None:
                # An admin undoes what a moderator did, maybe with the admin's own GIF.
                note_moderation(Action.RESTORE, present, user, by.reason, changes)
            else:
                note(Action.TRASH if into else Action.RESTORE, present, by, changes)
    return present


def trash_of(user: User, *, cursor: str = "", limit: int = 30) -> tuple[list[Gif], str | None]:
    """A page of what a user has in the trash, the last thrown away first, and the cursor of the
    next page.

    Raises:
      BadQuery: the limit or the cursor is invalid.
    """
    in_trash = Gif.select().where((Gif.user == user) & Gif.trashed_at.is_null(False))
    return newest_page(in_trash, Gif.trashed_at, Gif.id, cursor, limit)


def empty(user: User) -> int:
    """Delete all that a user has in the trash now for good. Returns how many GIFs are gone; if they
    are `A_REQUEST`, a worker deletes the others."""
    return empty_until(user.id, Gif.trashed_at.db_value(now()), A_REQUEST)


def empty_until(user_id: str, moment: int, most: int = A_JOB) -> int:
    """Delete for good what a user had in the trash at a moment, or a part of it: then a job goes
    on. Returns how many GIFs.

    Parameters:
      moment: as the database has it (microseconds). What went there later stays.
      most: how many GIFs at most.
    """
    deleted = _delete_all((Gif.user == user_id) & (Gif.trashed_at <= moment), most)
    if deleted >= most:
        enqueue("empty_trash", user_id, moment)
    return deleted


def empty_old(days: int) -> int:
    """Delete for good what has been in the trash for longer. Returns how many GIFs.

    Parameters:
      days: how long GIFs stay in the trash.
    """
    # What went there while the clock was ahead would stay for as much longer.
    Gif.update(trashed_at=now()).where(Gif.trashed_at > now() + CLOCK_SLACK).execute()
    return _delete_all(Gif.trashed_at < moment_before(timedelta(days=days)))


def _delete_all(condition: Any, most: int | None = None) -> int:
    deleted, _ = for_each_gif(condition, library.delete, most)
    return deleted
