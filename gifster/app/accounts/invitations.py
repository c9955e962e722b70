"""Who may sign up: anybody, people who were invited, or nobody (`auth.sign_up`). An invitation is a
link for one person. An admin passes it on, or has it sent by mail. It is good as long as that admin
is one.
"""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from typing import Any

import peewee

from gifster.app import addresses
from gifster.app.accounts import mail_links
from gifster.app.accounts.logging_in import account_with
from gifster.app.accounts.mail_secrets import digest
from gifster.app.accounts.post import Post
from gifster.app.accounts.tables import Invitation
from gifster.app.damaged_text import Unreadable
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied, Invalid, NotFound
from gifster.app.models import User, moment_before, new_id, now
from gifster.app.moderation.roles import Role, role_of
from gifster.app.settings import Web
from gifster.app.texts import GIF_ID
from gifster.jobs import enqueue, transaction
from gifster.uploads.columns.rows import readable

logger = logging.getLogger("gifster.app.accounts")

#: How long an invitation is good for, by default and at most (days).
DAYS, MAX_DAYS = 7, 365
#: How long the lists still have one that was used or is too old.
REMEMBERED = timedelta(days=30)


class SignUps(StrEnum):
    """Who may sign up: the values of `auth.sign_up`."""

    OPEN = "open"
    INVITE = "invite"
    CLOSED = "closed"


def invite(
    by: User | None, web: Web, *, days: int = DAYS, once: str = ""
) -> tuple[Invitation, str]:
    """A new invitation, and its link, which cannot be shown again.

    Parameters:
      by: the admin who invites; None for the command line.
      days: how long it is good for, 1 to `MAX_DAYS`.
      once: a random text of the form that asks, so that the form sent twice makes one invitation.

    Raises:
      Invalid: the number of days is wrong.
      Conflict: there is an invitation of this form already (`invitation_made`).
    """
    secret = secrets.token_urlsafe(32)
    values = {"id": _id_of(by, once), "made_by": by, "expires_at": _end(days)}
    with _of_one_form():
        made = Invitation.create(digest=digest(secret), **values)
    logger.info("invited invitation=%s", made.id)
    return made, mail_links.link(web, mail_links.INVITATION, secret)


def invite_by_mail(
    by: User | None, email: str, *, days: int = DAYS, in_house: bool = False, once: str = ""
) -> Invitation:
    """A new invitation, which a worker sends to an address.

    Parameters:
      by, days, once: as `invite()`.
      in_house: as `addresses.canonical()`.

    Raises:
      Invalid: the address or the number of days is wrong.
      Conflict: the address has an account (`email_taken`), or as `invite()`.
    """
    address = addresses.canonical(email, in_house=in_house)
    if account_with(address) is not None:
        raise Conflict(
            "email_taken",
            f"{address} has an account already: there is nothing to sign up for. If its user "
            "cannot log in, have a link for a new password sent to them.",
        )
    values = {"id": _id_of(by, once), "made_by": by, "expires_at": _end(days)}
    with _of_one_form(), transaction(db):
        made = Invitation.create(email=address, **values)
        enqueue("send_invitation", made.id)
    logger.info("invited invitation=%s by mail", made.id)
    return made


def _id_of(by: User | None, once: str) -> str:
    return digest(f"{by.id if by else ''} {once}")[:12] if once else new_id()


@contextmanager
def _of_one_form() -> Iterator[None]:
    try:
        yield
    except peewee.IntegrityError:
        raise Conflict(
            "invitation_made",
            "This form has made its invitation already, which is below. If you have not copied its "
            "link, revoke it and make another one.",
        ) from None


def _end(days: int) -> Any:
    if not 1 <= days <= MAX_DAYS:
        raise Invalid(
            "days_invalid", f"An invitation cannot be good for {days:,} days: use 1 to {MAX_DAYS}."
        )
    return now() + timedelta(days=days)


def deliver(invitation_id: str, post: Post) -> None:
    """Deliver the mail of an invitation that is still good. A second mail has a new link, which
    ends that of the first."""
    found = Invitation.get_or_none((Invitation.id == invitation_id) & _good())
    if found is None:
        return
    secret = secrets.token_urlsafe(32)
    mine = (Invitation.id == invitation_id) & _good()
    Invitation.update(digest=digest(secret)).where(mine).execute()
    post.deliver(
        "invitation",
        to=found.email,
        key=f"invitation.{digest(secret)[:16]}",  # its link is another one, so it is no copy
        user=None,
        by=found.made_by.name if found.made_by else "",
        link=post.link(mail_links.INVITATION, secret),
        end=f"{found.expires_at:%-d %B %Y}",
    )


def find(secret: str) -> Invitation:
    """The invitation of a link, which is still good.

    Raises:
      Denied: it was used or revoked, is too old, or never was one (`invitation_invalid`).
    """
    found: Invitation | None = Invitation.get_or_none(Invitation.digest == digest(secret))
    if found is None or not is_good(found):
        raise _no_good(found)
    return found


def check_may_sign_up(sign_ups: str, secret: str = "") -> Invitation | None:
    """The invitation that somebody brings who may sign up; None for somebody who needs none, and
    brings none.

    Parameters:
      sign_ups: one of `SignUps`.
      secret: of the invitation; empty without one.

    Raises:
      Denied: nobody may sign up (`sign_up_closed`), or only with an invitation
        (`invitation_needed`), or the one that they bring is no good (`invitation_invalid`).
    """
    if sign_ups == SignUps.CLOSED:
        raise Denied(
            "sign_up_closed", "Nobody can sign up here. Ask the people who run this library."
        )
    if secret:
        return find(secret)
    if sign_ups == SignUps.INVITE:
        raise Denied(
            "invitation_needed",
            "You need an invitation to sign up here. Ask somebody who runs this library for one.",
        )
    return None


def is_for(invitation: Invitation | None, email: str) -> bool:
    """Whether an invitation was sent to this very address, which counts as confirmed with it."""
    return invitation is not None and invitation.email == addresses.account_of(email)


def accept(invitation: Invitation, user: User) -> None:
    """Note who has used an invitation. Call it in the transaction that makes the account: of two
    people with one link, one gets an account.

    Raises:
      Denied: it is no good any more (`invitation_invalid`).
    """
    mine = (Invitation.id == invitation.id) & (Invitation.digest == invitation.digest) & _good()
    if not Invitation.update(used_at=now(), used_by=user).where(mine).execute():
        raise _no_good(Invitation.get_or_none(Invitation.digest == invitation.digest))


def recent() -> list[Invitation]:
    """The invitations that are good, and those that were until lately, the newest first."""
    inviting, invited = User.alias(), User.alias()
    query = (
        Invitation.select(Invitation, inviting, invited)
        .left_outer_join(inviting, on=(Invitation.made_by == inviting.id), attr="made_by")
        .switch(Invitation)
        .left_outer_join(invited, on=(Invitation.used_by == invited.id), attr="used_by")
        .order_by(Invitation.created_at.desc(), Invitation.id)
        .limit(200)
    )
    return readable(query)


def revoke(invitation_id: str) -> None:
    """End an invitation.

    Raises:
      NotFound: there is none with that id.
    """
    possible = GIF_ID.fullmatch(invitation_id)
    if not possible or not Invitation.delete().where(Invitation.id == invitation_id).execute():
        raise NotFound("invitation_not_found", f"There is no invitation {invitation_id[:40]!r}.")


def forget_old() -> int:
    """Delete the invitations that ended long ago. Returns how many."""
    long_ago = moment_before(REMEMBERED)
    return int(Invitation.delete().where(Invitation.expires_at < long_ago).execute())


def is_good(invitation: Invitation) -> bool:
    """Whether somebody can still sign up with it."""
    is_open = invitation.used_at is None and bool(invitation.expires_at > now())
    return is_open and is_vouched_for(invitation)


def is_vouched_for(invitation: Invitation) -> bool:
    """Whether the admin who made it still is one. The command line always is."""
    if invitation.made_by_id is None:
        return True
    by = person(invitation, "made_by")
    return by is not None and role_of(by) is Role.ADMIN and by.disabled_at is None


def person(invitation: Invitation, who: str) -> User | None:
    """Who made an invitation (`made_by`), or used it (`used_by`); None for nobody, and if that
    cannot be read."""
    try:
        found: User | None = getattr(invitation, who)
    except (peewee.DoesNotExist, Unreadable):
        return None
    return found


def _good() -> Any:
    able = User.select(User.id).where(User.is_admin, User.disabled_at.is_null())
    vouched = Invitation.made_by.is_null() | Invitation.made_by.in_(able)
    return Invitation.used_at.is_null() & (Invitation.expires_at > now()) & vouched


def _no_good(found: Invitation | None) -> Denied:
    """Why nobody signs up with an invitation; who has its link may know that."""
    if found is None:
        detail = "This invitation has ended, or its link is not whole. Ask for another one."
    elif found.used_at is not None:
        detail = "This invitation was used already. If you have used it, log in."
    elif found.expires_at <= now():
        end = f"{found.expires_at:%-d %B %Y}"
        detail = f"This invitation was good until {end}. Ask for another one."
    else:
        detail = "Who has invited you is no admin any more. Ask somebody else to invite you."
    return Denied("invitation_invalid", detail)
