"""The accounts of a sign-in service with which users log in (OpenID Connect).

An identity is the issuer and the subject, which never change hands. An e-mail address may: it leads
to an account once, and only if both sides know that it is its user's (decision 74). Otherwise
somebody could get at an account by signing up elsewhere with its address, or keep a way into one by
signing up here before its user does.
"""

import logging
from dataclasses import dataclass, field

import peewee

from gifster.app import accounts, addresses, texts, tokens
from gifster.app.accounts.passwords import NONE
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied, Invalid, NotFound
from gifster.app.models import Token, User, now
from gifster.app.settings import Settings
from gifster.app.sign_in import groups
from gifster.app.sign_in.notices import tell
from gifster.app.sign_in.tables import Identity
from gifster.jobs import enqueue, transaction
from gifster.uploads.columns.rows import locked_row

logger = logging.getLogger("gifster.app.sign_in")

#: The most characters of a subject (OpenID Connect Core 1.0, 2), and of an issuer here.
MAX_SUBJECT = 255


@dataclass(frozen=True)
class Person:
    """What the service says of somebody who has logged in there.

    Parameters:
      email_verified: whether the service has seen that they read the mails of the address.
    """

    issuer: str
    subject: str
    email: str = ""
    email_verified: bool = False
    name: str = ""
    groups: frozenset[str] = field(default_factory=frozenset)


def log_in(person: Person, settings: Settings) -> User:
    """The user who logs in with an identity: its own, the one whose account has its address, or a
    new one.

    Raises:
      Denied: nobody may log in with it; the code and the message say why, and what to do.
    """
    groups.check_allowed(person.groups, settings.auth)
    identity = _find(person)
    user = _owner(identity) if identity else _connected(person, settings)
    accounts.check_may_log_in(user, confirmed_only=settings.auth.confirm_emails)
    Identity.update(last_used_at=now(), email=_shown(person)).where(_is(person)).execute()
    groups.give_role(user, person.groups, settings.auth)
    return user


def link(user: User, person: Person, settings: Settings, by: Token | None = None) -> Identity:
    """Let a user, who is logged in and has asked for it, log in with an identity, too.

    Parameters:
      by: the session that asks.

    Raises:
      Conflict: it is another user's.
      Denied: nobody of their groups may log in, or the session has ended meanwhile.
    """
    groups.check_allowed(person.groups, settings.auth)
    found = _find(person) or _add(user, person, by)
    if found.user_id != user.id:
        raise Conflict(
            "identity_taken",
            "Another account of this library is linked to that one. Log in to it, and remove the "
            "link first.",
        )
    return found


def unlink(user: User, identity_id: str, settings: Settings) -> None:
    """Forget an identity of a user.

    Raises:
      NotFound: the user has no such identity.
      Denied: they could not log in any more.
    """
    with transaction(db):
        locked_row(user)  # of two at once, the second is the last
        mine = of(user)
        if identity_id not in {identity.id for identity in mine}:
            raise NotFound("identity_not_found", "You have no such link (any more).")
        with_password = settings.auth.passwords and accounts.has_password(user)
        if len(mine) == 1 and not with_password:
            raise Denied("last_way_in", "Without it you could not log in. Choose a password first.")
        Identity.delete().where(Identity.id == identity_id).execute()
        tell(user, "unlinked")
    logger.info("identity removed user=%s identity=%s", user.id, identity_id)


def unlink_all(user: User) -> int:
    """Forget all identities of a user, for the person who runs the server. Returns how many."""
    return int(Identity.delete().where(Identity.user == user.id).execute())


def of(user: User) -> list[Identity]:
    """The identities of a user, the oldest first."""
    return list(
        Identity.select().where(Identity.user == user.id).order_by(Identity.linked_at, Identity.id)
    )


def _find(person: Person) -> Identity | None:
    return Identity.get_or_none(_is(person))


def _is(person: Person) -> peewee.Expression:
    same: peewee.Expression = (Identity.issuer == person.issuer) & (
        Identity.subject == person.subject
    )
    return same


def _owner(identity: Identity) -> User:
    owner: User = identity.user
    return owner


def _connected(person: Person, settings: Settings) -> User:
    """The user to whom a new identity belongs, by its address."""
    address = _address(person, settings)
    _check_verified(person, settings)
    user = accounts.account_with(address)
    if user is None:
        return _new_user(person, address, settings)
    if _find(person) is None:  # else another tab has just connected it
        _check_connectable(user, person, settings)
    _add(user, person)
    return user


def _address(person: Person, settings: Settings) -> str:
    if not person.email:
        raise Denied(
            "email_missing",
            "The sign-in service does not send your e-mail address, and an account needs one. "
            "Ask the people who run this library to add the scope `email`.",
        )
    try:
        return addresses.canonical(person.email, in_house=settings.auth.in_house_emails)
    except Invalid as error:
        raise Denied(error.code, f"The sign-in service sent {person.email!r}: {error}") from None


def _check_connectable(user: User, person: Person, settings: Settings) -> None:
    """Raise `Denied` unless an account and an identity of the same verified address certainly
    belong to one person."""
    if user.confirmed_at is None:
        raise Denied(
            "email_unconfirmed",
            "There is an account with your address, whose owner has not confirmed it. If it is "
            f"yours: {_BY_HAND} If not, use Forgotten password, which makes it yours.",
        )
    issuers = {identity.issuer for identity in of(user)}
    if person.issuer in issuers:
        # An address that somebody else had before.
        raise Denied(
            "identity_differs",
            "There is an account with your address, which belongs to another account of the "
            "sign-in service. Ask the people who run this library.",
        )


def _new_user(person: Person, address: str, settings: Settings) -> User:
    if not settings.oidc.sign_up:
        raise Denied(
            "no_account", f"There is no account for {address}. Ask the people who run this library."
        )
    name = _name(person) or address.partition("@")[0]
    try:
        with transaction(db):
            user: User = User.create(
                email=address, name=name, password_hash=NONE, confirmed_at=now()
            )
            _insert(user, person)
            enqueue("send_welcome_email", user.id)
    except peewee.IntegrityError:  # two tabs, or somebody with the same address
        raise Conflict("email_taken", "That account has just been made. Try again.") from None
    logger.info("signed up by the sign-in service user=%s", user.id)
    return user


def _check_verified(person: Person, settings: Settings) -> None:
    """Raise `Denied` for somebody whose address may be another person's. It says the same whether
    the address has an account or not, whoever may sign up."""
    if not (person.email_verified or settings.oidc.trust_emails):
        raise Denied(
            "email_unverified",
            "The sign-in service has not verified that your address is yours. Verify it there, and "
            f"come back. If you have an account here: {_BY_HAND}",
        )


_BY_HAND = "log in with your password, and link it on the page Sign-in of your account."


def _name(person: Person) -> str:
    try:
        return texts.person(person.name[: texts.MAX_NAME])
    except Invalid:
        return ""


def _add(user: User, person: Person, by: Token | None = None) -> Identity:
    try:
        with transaction(db):
            if by is not None:
                locked_row(user)
                tokens.check_not_revoked(by)
            added = _insert(user, person)
            tell(user, "linked")
    except peewee.IntegrityError:
        found = _find(person)  # by another request of the same person
        if found is None or found.user_id != user.id:
            raise Conflict("identity_taken", "Another account has just been linked.") from None
        return found
    logger.info("identity linked user=%s identity=%s", user.id, added.id)
    return added


def _insert(user: User, person: Person) -> Identity:
    made: Identity = Identity.create(
        issuer=person.issuer, subject=person.subject, user=user, email=_shown(person)
    )
    return made


def _shown(person: Person) -> str:
    return person.email[:254]
