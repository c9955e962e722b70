"""What the people who run the library decide about accounts: who is an admin, and which accounts
nobody may use."""

import logging

from gifster.app import tokens
from gifster.app.accounts.logging_in import find_user
from gifster.app.database import db
from gifster.app.models import User, now
from gifster.app.moderation.log import Action, note_account
from gifster.app.moderation.roles import Role, set_role
from gifster.jobs import transaction
from gifster.uploads.columns.rows import locked_row

logger = logging.getLogger("gifster.app.accounts")


def set_admin(email: str, is_admin: bool = True) -> User:
    """Make an account an admin's, or a member's. The log of moderation has it.

    Raises:
      NotFound: there is no account with that address.
    """
    return set_role(find_user(email), Role.ADMIN if is_admin else Role.MEMBER)


def admins() -> list[User]:
    """The admins, by address."""
    return list(User.select().where(User.is_admin).order_by(User.email))


def disable(user: User) -> int:
    """Disable an account: from now on nobody can log in to it, and its sessions and tokens are
    gone, for good. Its GIFs stay.

    Returns:
      how many sessions and tokens were valid.
    """
    with transaction(db):
        locked_row(user)  # a session that begins now ends with the others, or finds this
        changed = User.update(disabled_at=now()).where(
            (User.id == user.id) & User.disabled_at.is_null()
        )
        if changed.execute():
            note_account(Action.DISABLE, user, {"disabled": (False, True)})
        revoked = tokens.log_out_everywhere(user)
    logger.info("disabled user=%s revoked=%d", user.id, revoked)
    return revoked


def enable(user: User) -> None:
    """Let the user of a disabled account log in again."""
    with transaction(db):
        changed = User.update(disabled_at=None).where(
            (User.id == user.id) & User.disabled_at.is_null(False)
        )
        if changed.execute():
            note_account(Action.ENABLE, user, {"disabled": (True, False)})
    logger.info("enabled user=%s", user.id)
