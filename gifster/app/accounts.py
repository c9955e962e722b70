"""People's accounts: sign up, the one welcome mail, log in, admins. `tokens` has their sessions and
API tokens.

Plain synchronous functions, like those of `library`: call them with a database connection open.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import argon2
import peewee

from gifster.app import addresses, texts
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied, Invalid, NotFound
from gifster.app.mailers import NotDelivered, Transport, WelcomeMailer
from gifster.app.models import User, now
from gifster.app.tokens import Scope, create_token
from gifster.jobs import enqueue, transaction

logger = logging.getLogger("gifster.app.accounts")

# OWASP's second choice of parameters for Argon2id: 19 MiB, two passes. With more memory, a dozen
# people who log in at once could take a gigabyte.
_hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
#: The hash of a random password, with the same parameters: to log in with an unknown address takes
#: as long as with a known one.
NOBODY = (
    "$argon2id$v=19$m=19456,t=2,p=1$2BqrzAaOplE8EWAW0E+VFg"
    "$IZeWPu+ob8ODgExP80K5D8DQLHqNuihTS+vklFsP54s"
)


def sign_up(email: str, password: str, name: str = "", *, in_house: bool = False) -> User:
    """Make an account, and have the welcome mail sent.

    Parameters:
      email: kept in the form of `addresses.canonical()`.
      password: 8 to 1,000 characters; only the Argon2id hash of `texts.password()` is kept.
      name: at most 100 characters; the part of the address before its @ by default.
      in_house: whether to accept addresses that only lead somewhere within this network.

    Raises:
      Invalid: one of them is invalid; the code and the message say which.
      Conflict: there is an account with that address.
    """
    fields = _fields(email, password, name, in_house)
    with _one_account(), transaction(db):
        return _create(fields)


def sign_up_with_token(
    email: str, password: str, name: str = "", *, in_house: bool = False, days: int | None = None
) -> tuple[User, str]:
    """Make an account as `sign_up()` does, with a token of the scope `admin`: both or neither.

    Parameters:
      days: how long the token is valid; None for without end.

    Returns:
      the user, and the secret of the token.
    """
    fields = _fields(email, password, name, in_house)
    with _one_account(), transaction(db):
        user = _create(fields)
        return user, create_token(user, "sign-up", Scope.ADMIN, days)[1]


def _fields(email: str, password: str, name: str, in_house: bool) -> dict[str, str]:
    """The checked values of a new account. Hashes the password, outside any transaction."""
    address = addresses.canonical(email, in_house=in_house)
    name = texts.person(name) or address.partition("@")[0]
    if not texts.MIN_PASSWORD <= len(password) <= texts.MAX_PASSWORD:
        raise Invalid(
            "password_invalid",
            f"The password has {len(password):,} characters. Choose one with "
            f"{texts.MIN_PASSWORD} to {texts.MAX_PASSWORD:,} characters.",
        )
    if _account(email) is not None:
        raise _taken()
    return {"email": address, "name": name, "password_hash": _hasher.hash(texts.password(password))}


def _create(fields: dict[str, str]) -> User:
    user = User.create(**fields)
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


def _account(email: str) -> User | None:
    """The account with an address, however it is spelt. One that has it as typed comes first."""
    spellings = addresses.spellings(email)
    found = {user.email: user for user in User.select().where(User.email.in_(spellings))}
    return next((found[spelling] for spelling in spellings if spelling in found), None)


def deliver_welcome(user_id: str, transport: Transport, sender: str) -> None:
    """Deliver the welcome mail of a user, at most once however often this is called.

    It claims the user before it sends the mail, and gives the claim back only if the mail server
    certainly has not taken the mail. If nobody knows (the connection broke after the mail was sent,
    the process was killed), the mail is not sent again.

    Raises:
      NotDelivered: trying again later is safe.
    """
    user = User.get_or_none(User.id == user_id)
    if user is None:
        return
    mine = User.id == user_id
    unclaimed = mine & User.welcome_claimed_at.is_null()
    if not User.update(welcome_claimed_at=now()).where(unclaimed).execute():
        logger.info("welcome mail of user=%s is sent already, or is being sent", user_id)
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
      Denied: no account has them. It does not say whether the address is known.
    """
    user = _account(email)
    if not _is_password(user.password_hash if user else NOBODY, password) or user is None:
        raise Denied("login_failed", "The address or the password is wrong.")
    return user


def find_user(email: str) -> User:
    """The user with that address.

    Raises:
      NotFound: there is no account with that address.
    """
    user = _account(email)
    if user is None:
        raise NotFound("account_not_found", f"There is no account with the address {email}.")
    return user


def _is_password(kept: str, password: str) -> bool:
    password = password[: texts.MAX_PASSWORD]
    # Earlier releases kept the hash of the password as typed, whatever its normalization.
    for one in dict.fromkeys([texts.password(password), password]):
        with suppress(argon2.exceptions.VerificationError):
            return _hasher.verify(kept, one)
    return False


def set_admin(email: str, is_admin: bool = True) -> User:
    """Make an account an admin, or an ordinary account.

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
