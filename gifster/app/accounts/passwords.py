"""Passwords: what may be one, and the hash that is kept of it."""

from contextlib import suppress

import argon2

from gifster.app import texts
from gifster.app.errors import Invalid
from gifster.app.models import User
from gifster.app.numbers import counted

# OWASP's second choice of parameters for Argon2id: 19 MiB, two passes. With more memory, a dozen
# people who log in at once could take a gigabyte.
_hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
#: The hash of a random password, with the same parameters: to log in with an unknown address takes
#: as long as with a known one.
NOBODY = (
    "$argon2id$v=19$m=19456,t=2,p=1$2BqrzAaOplE8EWAW0E+VFg"
    "$IZeWPu+ob8ODgExP80K5D8DQLHqNuihTS+vklFsP54s"
)
#: What an account without a password has in place of a hash. No password matches it.
NONE = ""


def hashed(password: str) -> str:
    """The hash of a new password. It takes a while: call it outside any transaction.

    Parameters:
      password: `texts.MIN_PASSWORD` to `texts.MAX_PASSWORD` characters.

    Raises:
      Invalid: it is too short or too long.
    """
    if not texts.MIN_PASSWORD <= len(password) <= texts.MAX_PASSWORD:
        raise Invalid(
            "password_invalid",
            f"The password has {counted(len(password), 'character')}. Choose one with "
            f"{texts.MIN_PASSWORD} to {texts.MAX_PASSWORD:,} characters.",
        )
    return _hasher.hash(texts.password(password))


def has_password(user: User) -> bool:
    """Whether an account has a password. One that somebody else made has none until its user
    chooses one."""
    return bool(user.password_hash != NONE)


def is_password(user: User | None, password: str) -> bool:
    """Whether this is the password of an account. It takes as long if there is no account."""
    kept = NOBODY if user is None or not has_password(user) else user.password_hash
    password = password[: texts.MAX_PASSWORD]
    # Earlier releases kept the hash of the password as typed, whatever its normalization.
    for one in dict.fromkeys([texts.password(password), password]):
        with suppress(argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return _hasher.verify(kept, one) and kept is not NOBODY
    return False
