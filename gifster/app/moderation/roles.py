"""What people are in a library: members, moderators or admins.

A role is derived from two columns of the account, `is_admin` and `is_moderator`, so that processes
of the release before go on knowing admins. `access` says which GIFs each role may see and change.
"""

from enum import StrEnum
from typing import Any

from gifster.app.database import db
from gifster.app.errors import Conflict, NotFound
from gifster.app.models import User
from gifster.app.moderation.log import note_role
from gifster.jobs import transaction


class Role(StrEnum):
    """Each role may do what those before it may."""

    #: Sees the library, adds GIFs, changes their own.
    MEMBER = "member"
    #: Edits, hides and removes the GIFs of others, and decides about reports.
    MODERATOR = "moderator"
    #: Does everything: also jobs, accounts, and the log of what moderators did.
    ADMIN = "admin"

    def covers(self, needed: "Role") -> bool:
        """Whether this role may do what that one may."""
        roles = list(Role)
        return roles.index(self) >= roles.index(needed)


def role_of(user: User) -> Role:
    """The role of an account."""
    if user.is_admin:
        return Role.ADMIN
    return Role.MODERATOR if user.is_moderator else Role.MEMBER


def set_role(
    user: User, role: Role, by: User | None = None, reason: str = "", *, even_last: bool = False
) -> User:
    """The account, which has that role from now on. The log says who gave it.

    Parameters:
      by: who gives it; None for a command, or for a provider of identities.
      reason: why; may be empty.
      even_last: whether to leave a library without an admin.

    Raises:
      NotFound: the account has been deleted meanwhile.
      Conflict: nobody else is an admin (`last_admin`).
    """
    with transaction(db):
        rows = locked_with_admins(user)
        present = rows.get(user.id)
        if present is None:
            raise NotFound("account_not_found", "This account does not exist any more.")
        before = role_of(present)
        if role is not Role.ADMIN and not even_last:
            check_not_last_admin(present, rows)
        if before is not role:
            present.is_admin = role is Role.ADMIN
            present.is_moderator = role is Role.MODERATOR
            present.save(only=[User.is_admin, User.is_moderator])
            note_role(present, before, role, by, reason)
    return present


def locked_with_admins(user: User) -> dict[str, User]:
    """The rows of a user and of all admins by their ids, locked in their order until the
    transaction ends. So of two last admins who go at once, one stays."""
    query: Any = User.select().where((User.id == user.id) | User.is_admin).order_by(User.id)
    # As `locked_row()` does.
    query = query.for_update("FOR NO KEY UPDATE") if db.obj.for_update else query
    return {row.id: row for row in query}


def check_not_last_admin(user: User, rows: dict[str, User]) -> None:
    """Raise `Conflict` (`last_admin`) for the only admin whom anybody can log in as.

    Parameters:
      user: as they are now.
      rows: what `locked_with_admins()` gave.
    """
    able = {row.id for row in rows.values() if row.is_admin and row.disabled_at is None}
    if able == {user.id}:
        raise Conflict(
            "last_admin",
            f"{user.email} is the only admin. Make somebody else an admin first, on the page "
            "/people or with gifster admins add ADDRESS.",
        )


def with_role(role: Role) -> list[User]:
    """The accounts with a role, by address."""
    moderators = User.is_moderator & ~User.is_admin
    condition = {
        Role.ADMIN: User.is_admin,
        Role.MODERATOR: moderators,
        Role.MEMBER: ~User.is_moderator & ~User.is_admin,
    }[role]
    return list(User.select().where(condition).order_by(User.email))
