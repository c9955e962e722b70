"""What the application does with people: signing up, the one welcome mail, logging in. Sessions and
tokens are in `tokens`.

Like `app/library.py`: plain synchronous functions, with a database connection around them.
"""

import logging
import secrets
from contextlib import suppress

import argon2
import peewee

from gifster.app import addresses, texts
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied, Invalid, NotFound
from gifster.app.mailers import NotDelivered, Transport, WelcomeMailer
from gifster.app.models import User, now
from gifster.app.tokens import forget_expired_tokens, issue_token, revoke_token, user_for_token
from gifster.jobs import enqueue, transaction

__all__ = [
    "admins",
    "deliver_welcome",
    "find_user",
    "forget_expired_tokens",
    "issue_token",
    "log_in",
    "revoke_token",
    "set_admin",
    "sign_up",
    "user_for_token",
]

logger = logging.getLogger("gifster.app.accounts")

# OWASP's second choice of parameters for Argon2id: 19 MiB, two passes. More memory would let a
# dozen people who log in at once take a gigabyte.
_hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_nobody = _hasher.hash(secrets.token_hex())


def sign_up(email: str, password: str, name: str = "", *, in_house: bool = False) -> User:
    """Make an account, and have the welcome mail sent.

    Parameters:
      email: kept as `addresses.canonical()` has it.
      password: 8 to 1,000 characters; only the Argon2id hash of `texts.password()` is kept.
      name: at most 100 characters; by default what is before the address's @.
      in_house: whether addresses are taken that only lead somewhere in this network.

    Raises:
      Invalid: one of them does not do; says which.
      Conflict: there is an account with that address.
    """
    address = addresses.canonical(email, in_house=in_house)
    name = texts.person(name) or address.partition("@")[0]
    if not texts.MIN_PASSWORD <= len(password) <= texts.MAX_PASSWORD:
        raise Invalid(
            "password_invalid",
            f"A password has {texts.MIN_PASSWORD} to {texts.MAX_PASSWORD:,} characters.",
        )
    taken = "There is an account with that address already."
    if _account(email) is not None:
        raise Conflict("email_taken", taken)
    try:
        with transaction(db):
            user = User.create(
                email=address, name=name, password_hash=_hasher.hash(texts.password(password))
            )
            enqueue("send_welcome_email", user.id)
    except peewee.IntegrityError:
        raise Conflict("email_taken", taken) from None
    return user


def _account(email: str) -> User | None:
    """The account of an address, however it is spelt: the one that has it as typed comes first."""
    spellings = addresses.spellings(email)
    found = {user.email: user for user in User.select().where(User.email.in_(spellings))}
    return next((found[spelling] for spelling in spellings if spelling in found), None)


def deliver_welcome(user_id: str, transport: Transport, sender: str) -> None:
    """Deliver the welcome mail of a user, at most once however often this is called.

    The user is claimed before the mail server hears of the mail. The claim is given back only if
    the server certainly has not taken it; when nobody knows (the connection broke after the mail
    was sent off, the process was killed), the mail is not sent again.

    Raises:
      NotDelivered: trying again later is safe.
    """
    user = User.get_or_none(User.id == user_id)
    if user is None:
        return
    mine = User.id == user_id
    unclaimed = mine & User.welcome_claimed_at.is_null()
    if not User.update(welcome_claimed_at=now()).where(unclaimed).execute():
        logger.info("welcome mail of user=%s is in hand already", user_id)
        return
    mail = WelcomeMailer.welcome_email(user, sender)
    try:
        transport.deliver(mail)
    except NotDelivered:
        User.update(welcome_claimed_at=None).where(mine).execute()
        raise
    User.update(welcomed_at=now()).where(mine).execute()


def log_in(email: str, password: str) -> User:
    """The user with that address and password.

    Raises:
      Denied: there is none; does not say whether the address is known.
    """
    user = _account(email)
    if not _is_password(user.password_hash if user else _nobody, password) or user is None:
        raise Denied("login_failed", "The address or the password is wrong.")
    return user


def find_user(email: str) -> User:
    """The user with that address.

    Raises:
      NotFound: there is no account with it.
    """
    user = _account(email)
    if user is None:
        raise NotFound("account_not_found", f"There is no account with the address {email}.")
    return user


def _is_password(kept: str, password: str) -> bool:
    password = password[: texts.MAX_PASSWORD]
    # Earlier releases kept the hash of what was typed, whatever its normalization.
    for one in dict.fromkeys([texts.password(password), password]):
        with suppress(argon2.exceptions.VerificationError):
            return _hasher.verify(kept, one)
    return False


def set_admin(email: str, is_admin: bool = True) -> User:
    """Make somebody an admin, or no admin any more.

    Raises:
      NotFound: there is no account with that address.
    """
    user = find_user(email)
    User.update(is_admin=is_admin).where(User.id == user.id).execute()
    user.is_admin = is_admin
    return user


def admins() -> list[User]:
    """The admins, by address."""
    return list(User.select().where(User.is_admin).order_by(User.email))
