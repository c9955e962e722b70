"""New accounts, and the one welcome mail of each."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import peewee

from gifster.app import addresses, texts
from gifster.app.accounts import invitations
from gifster.app.accounts.confirming import confirmation_link
from gifster.app.accounts.logging_in import account_with
from gifster.app.accounts.passwords import NONE, hashed
from gifster.app.accounts.people import has_left
from gifster.app.accounts.post import Post
from gifster.app.accounts.tables import Invitation
from gifster.app.database import db
from gifster.app.errors import Conflict
from gifster.app.mailers import NotDelivered, Transport, WelcomeMailer
from gifster.app.models import User, now
from gifster.app.settings import Web
from gifster.app.tokens import Scope, create_token
from gifster.jobs import enqueue, transaction

logger = logging.getLogger("gifster.app.accounts")


def sign_up(
    email: str,
    password: str,
    name: str = "",
    *,
    in_house: bool = False,
    invitation: Invitation | None = None,
) -> User:
    """Make an account, and have the welcome mail sent, which has a link that confirms the address.

    Parameters:
      email: kept in the form of `addresses.canonical()`.
      password: 8 to 1,000 characters; only the Argon2id hash of `texts.password()` is kept.
      name: at most 100 characters; the part of the address before its @ by default.
      in_house: whether to accept addresses that only lead somewhere within this network.
      invitation: what `invitations.check_may_sign_up()` gave. It is used up with this. If it was
        sent to this very address, that is confirmed.

    Raises:
      Invalid: one of them is invalid; the code and the message say which.
      Conflict: there is an account with that address.
      Denied: somebody else has used the invitation meanwhile.
    """
    fields = _fields(email, name, in_house) | {"password_hash": hashed(password)}
    with _one_account(), transaction(db):
        return _create(fields, invitation)


def sign_up_to_confirm(
    email: str,
    password: str,
    name: str = "",
    *,
    in_house: bool = False,
    invitation: Invitation | None = None,
) -> User:
    """Make an account as `sign_up()` does, where nobody logs in before they have confirmed their
    address. Whoever signs up learns nothing of who has an account: if the address has one, they get
    a user who is in no table, and its owner gets a mail.

    Raises:
      Invalid, Denied: as `sign_up()`.
    """
    try:
        return sign_up(email, password, name, in_house=in_house, invitation=invitation)
    except Conflict:
        address = addresses.canonical(email, in_house=in_house)
        hashed(password)  # takes as long as for a new account
        enqueue("send_email_taken", address)
        return User(email=address, name=texts.person(name) or address.partition("@")[0])


def sign_up_with_token(  # noqa: PLR0913 as `sign_up()`
    email: str,
    password: str,
    name: str = "",
    *,
    in_house: bool = False,
    days: int | None = None,
    invitation: Invitation | None = None,
) -> tuple[User, str]:
    """Make an account as `sign_up()` does, with a token of the scope `admin`: both or neither.

    Parameters:
      days: how long the token is valid; None for without end.

    Returns:
      the user, and the secret of the token.
    """
    fields = _fields(email, name, in_house) | {"password_hash": hashed(password)}
    with _one_account(), transaction(db):
        user = _create(fields, invitation)
        return user, create_token(user, "sign-up", Scope.ADMIN, days)[1]


def add(email: str, name: str = "", *, in_house: bool = False, confirmed: bool = False) -> User:
    """Make an account for somebody else. It has no password until its user chooses one
    (`password_changes`), and gets no welcome mail.

    Parameters:
      email, name, in_house: as `sign_up()`.
      confirmed: whether it is known that its user reads the mails of the address.

    Raises:
      Invalid, Conflict: as `sign_up()`.
    """
    fields = _fields(email, name, in_house) | {"password_hash": NONE}
    with _one_account(), transaction(db):
        return User.create(
            **fields, welcome_claimed_at=now(), confirmed_at=now() if confirmed else None
        )


def _fields(email: str, name: str, in_house: bool) -> dict[str, Any]:
    """The checked values of a new account."""
    address = addresses.canonical(email, in_house=in_house)
    name = texts.person(name) or address.partition("@")[0]
    if account_with(email) is not None:
        raise _taken()
    return {"email": address, "name": name}


def _create(fields: dict[str, Any], invitation: Invitation | None) -> User:
    if invitation is not None and invitation.email == fields["email"]:
        fields["confirmed_at"] = now()
    user = User.create(**fields)
    if invitation is not None:
        invitations.accept(invitation, user)
    enqueue("send_welcome_email", user.id)
    return user


@contextmanager
def _one_account() -> Iterator[None]:
    """Turn the database's refusal of a second account with an address into `Conflict`."""
    try:
        yield
    except peewee.IntegrityError:
        raise _taken() from None


def _taken() -> Conflict:
    return Conflict(
        "email_taken",
        "There is an account with that address already. Log in, or use another address.",
    )


def deliver_welcome(
    user_id: str, transport: Transport, sender: str, web: Web | None = None
) -> None:
    """Deliver the welcome mail of a user, at most once however often this is called.

    Parameters:
      web: where the link that confirms the address leads; None for a mail without one.

    It claims the user before it sends the mail, and gives the claim back only if the mail server
    certainly has not taken the mail. If nobody knows (the connection broke after the mail was sent,
    the process was killed), the mail is not sent again.

    Raises:
      NotDelivered: trying again later is safe.
    """
    user = User.get_or_none(User.id == user_id)
    if user is None or has_left(user):
        return
    mine = User.id == user_id
    unclaimed = mine & User.welcome_claimed_at.is_null()
    link = ""
    if web is not None and user.confirmed_at is None and user.welcome_claimed_at is None:
        link = confirmation_link(user, user.email, Post(transport, sender, web))
    mail = WelcomeMailer.welcome_email(user, sender, link)
    # Whatever fails before this is tried again.
    if not User.update(welcome_claimed_at=now()).where(unclaimed).execute():
        logger.info("welcome mail of user=%s is sent already, or is being sent", user_id)
        return
    try:
        transport.deliver(mail)
    except NotDelivered:
        User.update(welcome_claimed_at=None).where(mine).execute()
        raise
    User.update(welcomed_at=now()).where(mine).execute()
