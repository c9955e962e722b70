"""Leaving: an account goes, and its GIFs go with it, or stay without an owner.

At once nobody can log in, and neither name nor address are there any more. Jobs do the rest, each a
part of it: a user may have thousands of GIFs, and a bucket may be away for days. The account's row
says what is to be done, so that it is done whatever becomes of a job.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from gifster.app import direct, library, search, tokens
from gifster.app.access import OPEN
from gifster.app.accounts import exports
from gifster.app.accounts.passwords import NONE
from gifster.app.accounts.people import LEFT, address_left, has_left
from gifster.app.accounts.tables import Export, Invitation, MailSecret
from gifster.app.database import db
from gifster.app.models import Gif, User, now
from gifster.app.moderation.log import Action, note_account
from gifster.app.moderation.roles import check_not_last_admin, locked_with_admins
from gifster.app.one_by_one import for_each_gif
from gifster.jobs import Job, enqueue, transaction

logger = logging.getLogger("gifster.app.accounts")

#: How many GIFs a job removes.
A_JOB = 1_000
#: How many of those that cannot be read an error names.
SHOWN = 10
ACTOR = "remove_account"


class UnreadableGifs(Exception):
    """GIFs of an account cannot be read, so neither they nor the account are removed."""


def leave(
    user: User,
    *,
    with_gifs: bool,
    by_command: bool = False,
    end_ways_in: Callable[[User], object] = tokens.log_out_everywhere,
) -> None:
    """Delete an account.

    Parameters:
      with_gifs: whether its GIFs go, too. If not, the public and the unlisted ones stay, without an
        owner. The private ones, and those in the trash, go in any case: nobody would see them.
      by_command: whether a command removes it, so that the log of moderation has it.
      end_ways_in: ends all ways into it, in the same transaction: `sign_in.claiming` does. What is
        linked to the account of a sign-in service has its address, too, and is free for a new one.

    Raises:
      Conflict: it is the only admin's (`last_admin`).
    """
    with transaction(db):
        rows = locked_with_admins(user)
        row = rows.get(user.id)
        if row is None:
            return
        check_not_last_admin(row, rows)
        end_ways_in(user)
        MailSecret.delete().where(MailSecret.user == user).execute()
        User.update(
            disabled_at=now(),
            email=address_left(user.id),
            new_email=None,
            name="",
            password_hash=NONE,
            is_admin=False,
            is_moderator=False,
            leaves_gifs=not with_gifs,
        ).where(User.id == user.id).execute()
        if by_command:
            note_account(Action.LEAVE, user, {"gifs": ("", "deleted" if with_gifs else "kept")})
        enqueue(ACTOR, user.id, with_gifs)
    logger.info("left user=%s with_gifs=%s", user.id, with_gifs)


def remove(user_id: str, with_gifs: bool, *, most: int = A_JOB) -> None:
    """Remove an account that its user left, or a part of its GIFs: then another job goes on. It may
    run more than once.

    Parameters:
      most: with how many GIFs to do something.

    Raises:
      StorageUnavailable: an export cannot be deleted now.
      UnreadableGifs: all is removed but these, and the account.
    """
    user = User.get_or_none((User.id == user_id) & (User.email == address_left(user_id)))
    if user is None:
        return
    goes = Gif.user == user
    if not with_gifs:
        goes &= Gif.visibility.not_in(OPEN) | Gif.trashed_at.is_null(False)
    kept = 0
    removed, unread = for_each_gif(goes, library.delete, most)
    if not with_gifs:
        kept, others = for_each_gif(Gif.user == user, _disown, most - removed)
        unread = sorted({*unread, *others})
    logger.info("removing user=%s gifs=%d kept=%d", user_id, removed, kept)
    if removed + kept >= most:
        enqueue(ACTOR, user_id, with_gifs)
        return
    direct.forget_of(user_id)
    for export in list(Export.select().where(Export.user == user)):
        exports.forget(export)  # last: a bucket that is away holds up nothing else
    if unread:  # a retry goes on when somebody has mended or deleted them
        raise UnreadableGifs(f"these GIFs cannot be read: {', '.join(unread[:SHOWN])}")
    # An upload that was on its way when its user left is refused from here on.
    with transaction(db):
        row: Any = User.select().where(User.id == user_id)
        # Unlike `locked_row()`, it keeps others from inserting GIFs of theirs.
        if (row.for_update() if db.obj.for_update else row).get_or_none() is None:
            return
        if Gif.select().where(Gif.user == user).exists():
            enqueue(ACTOR, user_id, with_gifs)
            return
        # Not earlier: one that was being made when its admin left would be as good as a command's.
        own = (Invitation.made_by == user) & Invitation.used_at.is_null()
        Invitation.delete().where(own).execute()
        user.delete_instance()
    logger.info("removed user=%s", user_id)


def go_on() -> int:
    """Have the accounts removed that their users left, and for which no job is on its way: one was
    given up after days, or somebody deleted it. Returns how many."""
    jobs = {
        job.arguments[0]: job
        # The last one of an account counts.
        for job in Job.select().where(Job.actor == ACTOR).order_by(Job.created_at)
        if len(job.arguments) == 2
    }
    begun = 0
    for user in _left():
        job = jobs.get(user.id)
        if job is not None and job.failed_at is None:
            continue
        with_gifs = not user.leaves_gifs
        if user.leaves_gifs is None:
            # Somebody left with an earlier release, which has it in the job alone.
            with_gifs = job is not None and bool(job.arguments[1])
        enqueue(ACTOR, user.id, with_gifs)
        begun += 1
        logger.warning("the removal of user=%s goes on: its job was given up", user.id)
    return begun


def waiting() -> tuple[int, datetime | None]:
    """How many accounts their users have left that are not removed yet, and since when the first
    one waits."""
    left = _left()
    return len(left), left[0].disabled_at if left else None


def _left() -> list[User]:
    query: Any = User.select().where(User.disabled_at.is_null(False), User.email.startswith(LEFT))
    return [user for user in query.order_by(User.disabled_at) if has_left(user)]


def _disown(gif: Gif) -> None:
    gif.user = None
    gif.save(only=[Gif.user])
    search.put(gif)
