"""People whom a trusted proxy has logged in (`auth.proxy_header`). Which requests come from that
proxy is checked by the caller (`api/sign_in/proxy.py`)."""

import logging
from collections.abc import Collection

import peewee

from gifster.app import accounts, addresses
from gifster.app.accounts.passwords import NONE
from gifster.app.database import db
from gifster.app.errors import Denied, Invalid
from gifster.app.models import Token, User, now
from gifster.app.settings import Auth
from gifster.app.sign_in import claiming, groups
from gifster.app.tokens import Kind, Scope
from gifster.jobs import enqueue, transaction
from gifster.uploads.columns.rows import locked_row

logger = logging.getLogger("gifster.app.sign_in")

#: The id of the session that a proxy vouches for. It is in no table.
PROXY_SESSION = "proxy"


def session(address: str, of_groups: Collection[str], auth: Auth) -> Token:
    """The session of somebody whom the proxy has logged in. It holds for one request.

    Parameters:
      address: their e-mail address, as the proxy tells it.
      of_groups: their groups.

    Raises:
      Denied: they may not log in, or the text is not an e-mail address.
    """
    groups.check_allowed(of_groups, auth)
    user = _user(address, auth)
    accounts.check_may_log_in(user)
    groups.give_role(user, of_groups, auth)
    return Token(
        digest="", id=PROXY_SESSION, user=user, kind=Kind.SESSION.value, scope=Scope.ADMIN.value
    )


def _user(address: str, auth: Auth) -> User:
    # A proxy writes an address in one way, which the account has, so this one query is enough.
    user = User.get_or_none(User.email == address) or accounts.account_with(address)
    if user is None:
        return _new_user(address, auth)
    if user.confirmed_at is None:
        _claim(user)
    return user


def _new_user(address: str, auth: Auth) -> User:
    try:
        email = addresses.canonical(address, in_house=auth.in_house_emails)
    except Invalid as error:
        raise Denied(
            "proxy_header_invalid",
            f"The proxy sent {address[:100]!r} in {auth.proxy_header}. {error}",
        ) from None
    try:
        with transaction(db):
            user: User = User.create(
                email=email, name=email.partition("@")[0], password_hash=NONE, confirmed_at=now()
            )
            enqueue("send_welcome_email", user.id)
    except peewee.IntegrityError:  # another request of the same person
        found = accounts.account_with(email)
        if found is None:
            raise
        return found
    logger.info("signed up by the proxy user=%s", user.id)
    return user


def _claim(user: User) -> None:
    """Give an account whose address nobody has confirmed to the person whom the proxy vouches for.
    Somebody else may have made it, so their password and all other ways in end."""
    with transaction(db):
        row = locked_row(user)
        if row is None or row.confirmed_at is not None:
            return
        User.update(confirmed_at=now(), password_hash=NONE, new_email=None).where(
            User.id == user.id
        ).execute()
        ended = claiming.end_ways_in(user)
    logger.warning("account claimed by the proxy user=%s ended=%d", user.id, ended)
