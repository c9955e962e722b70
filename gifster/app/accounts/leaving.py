"""Leaving: an account goes, and its GIFs go with it, or stay without an owner.

At once nobody can log in, and neither name nor address are there any more. A job does the rest: a
user may have thousands of GIFs.
"""

import logging
from typing import Any

from gifster.app import direct, library, search, tokens
from gifster.app.accounts import exports
from gifster.app.accounts.passwords import NONE
from gifster.app.accounts.tables import Export, Invitation, MailSecret
from gifster.app.database import db
from gifster.app.models import Gif, User, now
from gifster.app.moderation.log import Action, note_account
from gifster.app.moderation.roles import check_not_last_admin, locked_with_admins
from gifster.app.texts import Visibility
from gifster.jobs import enqueue, transaction
from gifster.uploads.columns.rows import locked_row

logger = logging.getLogger("gifster.app.accounts")

#: How many GIFs are looked up at a time.
AT_ONCE = 200


def leave(user: User, *, with_gifs: bool, by_command: bool = False) -> None:
    """Delete an account.

    Parameters:
      with_gifs: whether its GIFs go, too. If not, the public and the unlisted ones stay, without an
        owner. The private ones, and those in the trash, go in any case: nobody would see them.
      by_command: whether a command removes it, so that the log of moderation has it.

    Raises:
      Conflict: it is the only admin's (`last_admin`).
    """
    with transaction(db):
        rows = locked_with_admins(user)
        row = rows.get(user.id)
        if row is None:
            return
        check_not_last_admin(row, rows)
        tokens.log_out_everywhere(user)
        MailSecret.delete().where(MailSecret.user == user).execute()
        Invitation.delete().where(Invitation.made_by == user, Invitation.used_at.is_null()).execute()
        User.update(
            disabled_at=now(),
            email=_gone(user.id),
            new_email=None,
            name="",
            password_hash=NONE,
            is_admin=False,
            is_moderator=False,
        ).where(User.id == user.id).execute()
        if by_command:
            note_account(Action.LEAVE, user, {"gifs": ("", "deleted" if with_gifs else "kept")})
        enqueue("remove_account", user.id, with_gifs)
    logger.info("left user=%s with_gifs=%s", user.id, with_gifs)


def _gone(user_id: str) -> str:
    """What an account that its user left has in place of an address, so that this can be used
    again. Nobody can sign up with it."""
    return f"left {user_id}"


def remove(user_id: str, with_gifs: bool) -> None:
    """Remove an account that its user left. It may run more than once.

    Raises:
      StorageUnavailable: an export cannot be deleted now.
    """
    user = User.get_or_none((User.id == user_id) & (User.email == _gone(user_id)))
    if user is None:
        return
    goes = Gif.user == user
    if not with_gifs:
        goes &= (Gif.visibility == Visibility.PRIVATE) | Gif.trashed_at.is_null(False)
    removed = _each(goes, library.delete)
    kept = 0 if with_gifs else _each(Gif.user == user, _disown)
    direct.forget_of(user_id)
    for export in list(Export.select().where(Export.user == user)):
        exports.forget(export)  # last: a bucket that is away holds up nothing else
    # An upload that was on its way when its user left is refused from here on.
    with transaction(db):
        if locked_row(user) is None:
            return
        if not Gif.select().where(Gif.user == user).exists():
            user.delete_instance()
            logger.info("removed user=%s gifs=%d kept=%d", user_id, removed, kept)
            return
    remove(user_id, with_gifs)


def _each(condition: Any, work: Any) -> int:
    """Do something with each GIF that meets a condition, which then none meets any more, in a
    transaction of its own, which is short. Returns how many."""
    done = 0
    query: Any = Gif.select(Gif.id).where(condition).limit(AT_ONCE)
    while ids := [gif_id for (gif_id,) in query.clone().tuples()]:
        for gif_id in ids:
            with transaction(db):
                gif = locked_row(Gif(id=gif_id))
                if gif is not None:
                    work(gif)
                    done += 1
    return done


def _disown(gif: Gif) -> None:
    gif.user = None
    gif.save(only=[Gif.user])
    search.put(gif)
