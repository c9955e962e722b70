"""What the people who run the library decide about accounts: who is what, and which accounts nobody
may use. The log of moderation has each of these."""

import logging

from gifster.app import tokens
from gifster.app.accounts.logging_in import find_user
from gifster.app.accounts.people import has_left
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied, NotFound
from gifster.app.models import User, now
from gifster.app.moderation.log import Action, note_account
from gifster.app.moderation.roles import (
    Role,
    check_not_last_admin,
    locked_with_admins,
    role_of,
    set_role,
)
from gifster.jobs import transaction

logger = logging.getLogger("gifster.app.accounts")


def set_admin(email: str, is_admin: bool = True, *, even_last: bool = False) -> User:
    """Make an account an admin's, or a member's. The log of moderation has it.

    Parameters:
      even_last: whether to leave a library without an admin.

    Raises:
      NotFound: there is no account with that address.
      Conflict: nobody else is an admin (`last_admin`).
    """
    role = Role.ADMIN if is_admin else Role.MEMBER
    return set_role(find_user(email), role, even_last=even_last)


def admins() -> list[User]:
    """The admins, by address."""
    return list(User.select().where(User.is_admin).order_by(User.email))


def give_role(user: User, role: Role, by: User, reason: str) -> User:
    """The account, which has another role from now on, as an admin says.

    Parameters:
      reason: why; may be empty.

    Raises:
      Denied: the one who gives it is no admin any more, or it is their own account.
      Conflict, NotFound: as `roles.set_role()`.
    """
    with transaction(db):
        check_admin(by, user)
        return set_role(user, role, by, reason)


def check_admin(by: User, user: User) -> dict[str, User]:
    """Check that somebody may decide about an account. Call it in the transaction of what they
    decide: the rows stay locked until its end.

    Returns:
      what `roles.locked_with_admins()` gave. To ask it again might lock further rows, in another
      order.

    Raises:
      Conflict: it is their own (`own_account`).
      Denied: they are no admin any more (`admins_only`).
    """
    if by.id == user.id:
        raise Conflict("own_account", "This is your own account: another admin decides about it.")
    rows = locked_with_admins(user)
    present = rows.get(by.id)
    if present is None or role_of(present) is not Role.ADMIN or present.disabled_at is not None:
        raise Denied("admins_only", "You are no admin any more.")
    return rows


def disable(
    user: User, by: User | None = None, reason: str = "", *, even_last: bool = False
) -> int:
    """Disable an account: from now on nobody can log in to it, and its sessions and tokens are
    gone, for good. Its GIFs stay. The invitations of an admin end with it (`invitations`).

    Parameters:
      by: the admin who decides; None for a command.
      reason: why; may be empty.
      even_last: whether to leave a library without an admin.

    Returns:
      how many sessions and tokens were valid.

    Raises:
      NotFound: the account has been deleted meanwhile.
      Conflict: nobody else is an admin (`last_admin`), or it is their own (`own_account`).
      Denied: the one who decides is no admin any more.
    """
    with transaction(db):
        # A session that begins now ends with the others, or finds this.
        rows = locked_with_admins(user) if by is None else check_admin(by, user)
        present = rows.get(user.id)
        if present is None:
            raise NotFound("account_not_found", "This account does not exist any more.")
        if not even_last:
            check_not_last_admin(present, rows)
        if present.disabled_at is None:
            User.update(disabled_at=now()).where(User.id == user.id).execute()
            note_account(Action.DISABLE, present, {"disabled": (False, True)}, by, reason)
        revoked = tokens.log_out_everywhere(user)
    logger.info("disabled user=%s revoked=%d", user.id, revoked)
    return revoked


def enable(user: User, by: User | None = None, reason: str = "") -> None:
    """Let the user of a disabled account log in again.

    Parameters:
      by, reason: as of `disable()`.

    Raises:
      NotFound: the account has been deleted, or its user has left it.
      Conflict, Denied: as `disable()`.
    """
    with transaction(db):
        rows = locked_with_admins(user) if by is None else check_admin(by, user)
        present = rows.get(user.id)
        if present is None or has_left(present):
            raise NotFound("account_not_found", "This account does not exist any more.")
        if present.disabled_at is not None:
            User.update(disabled_at=None).where(User.id == user.id).execute()
            note_account(Action.ENABLE, present, {"disabled": (True, False)}, by, reason)
    logger.info("enabled user=%s", user.id)


def log_out(user: User, by: User, reason: str) -> int:
    """End all sessions of an account and revoke its tokens, as an admin says. Returns how many
    there were.

    Raises:
      Conflict, Denied: as `disable()`.
    """
    with transaction(db):
        check_admin(by, user)
        revoked = tokens.log_out_everywhere(user)
        note_account(Action.LOG_OUT, user, {"sessions and tokens": (revoked, 0)}, by, reason)
    return revoked
