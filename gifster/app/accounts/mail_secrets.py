"""The secrets in mails: each stands for the owner of an address, works once, and for an hour.

A worker makes the secret when it sends the mail, so neither the outbox nor the broker has it, and
the database has its SHA-256 only. A user may have several: mails arrive in any order, and each
works. The first that is used ends the others of its purpose.
"""

import hashlib
import secrets
from datetime import timedelta
from enum import StrEnum

from gifster.app.accounts.tables import MailSecret
from gifster.app.errors import Invalid
from gifster.app.models import User, now
from gifster.uploads.columns.rows import locked_row

LIFETIME = timedelta(hours=1)


class Purpose(StrEnum):
    """What a secret is for. One is never accepted for the other."""

    #: Choose a new password.
    RESET = "reset"
    #: Confirm the account's address, or the one that is to take its place.
    CONFIRM = "confirm"


def make(user: User, purpose: Purpose, email: str) -> str:
    """A new secret for a mail to an address."""
    secret = secrets.token_urlsafe(32)
    MailSecret.create(
        digest=digest(secret),
        user=user,
        purpose=purpose.value,
        email=email,
        expires_at=now() + LIFETIME,
    )
    return secret


def find(secret: str, purpose: Purpose) -> MailSecret:
    """The row of a secret that still works, with its user. It goes on working.

    Raises:
      Invalid: it was used, is too old, or never was one (`link_invalid`).
    """
    found: MailSecret | None = (
        MailSecret.select(MailSecret, User)
        .join(User)
        .where(
            MailSecret.digest == digest(secret),
            MailSecret.purpose == purpose.value,
            MailSecret.expires_at > now(),
            User.disabled_at.is_null(),
        )
        .get_or_none()
    )
    if found is None:
        raise too_late()
    return found


def spend(secret: str, purpose: Purpose) -> MailSecret:
    """The row of a secret, which works no more. Call it in a transaction; it locks the user's row.
    Of several requests with one secret, one gets it.

    Raises:
      Invalid: as `find()`.
    """
    found = find(secret, purpose)
    user = locked_row(found.user)
    here = MailSecret.digest == found.digest
    if user is None or not MailSecret.delete().where(here).execute():
        raise too_late()
    found.user = user
    forget(user, purpose)
    return found


def forget(user: User, purpose: Purpose) -> None:
    """End all secrets of a user for one purpose."""
    MailSecret.delete().where(
        (MailSecret.user == user) & (MailSecret.purpose == purpose.value)
    ).execute()


def forget_expired() -> int:
    """Delete the secrets that work no more. Returns how many."""
    return int(MailSecret.delete().where(MailSecret.expires_at <= now()).execute())


def too_late() -> Invalid:
    """The error about a secret that does not work."""
    return Invalid(
        "link_invalid",
        "This link was used already, or it is too old: it works once, and for an hour. "
        "Have another one sent to you.",
    )


def digest(secret: str) -> str:
    """What is kept of a secret. It has 256 bits, so its hash need not be slow."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
