"""What the groups of a person, which a sign-in service or a proxy tells, allow: to log in at all,
and roles."""

import logging
from collections.abc import Collection

from gifster.app.errors import Denied
from gifster.app.models import User
from gifster.app.moderation.roles import Role, role_of, set_role
from gifster.app.settings import Auth

logger = logging.getLogger("gifster.app.sign_in")


def check_allowed(groups: Collection[str], auth: Auth) -> None:
    """Raise `Denied` (`group_not_allowed`) for somebody in none of `auth.allowed_groups`."""
    if auth.allowed_groups and not set(groups) & set(auth.allowed_groups):
        raise Denied(
            "group_not_allowed",
            "You are in no group that may use this library. Ask the people who run it.",
        )


def give_role(user: User, groups: Collection[str], auth: Auth) -> None:
    """Give a user the role that their groups say. A role for which no groups are set is not given
    or taken."""
    before = role = role_of(user)
    if auth.admin_groups and role is Role.ADMIN:
        role = Role.MEMBER
    if auth.moderator_groups and role is Role.MODERATOR:
        role = Role.MEMBER
    if role is Role.MEMBER and set(groups) & set(auth.moderator_groups):
        role = Role.MODERATOR
    if set(groups) & set(auth.admin_groups):
        role = Role.ADMIN
    if role is not before:
        now_is = set_role(user, role, reason="groups", even_last=True)
        user.is_admin, user.is_moderator = now_is.is_admin, now_is.is_moderator
        logger.warning("role changed by groups user=%s role=%s", user.id, role)
