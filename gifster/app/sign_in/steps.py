"""What a log-in keeps between two requests: that a password was right and the second factor is
still to come; and which answers were used, so that nobody uses one twice.

A stranger cannot fill the table: it gets a row when a password was right, or an answer was.
"""

import hashlib
import secrets
from datetime import timedelta

import peewee

from gifster.app.database import db
from gifster.app.models import User, now
from gifster.app.sign_in.tables import SignInStep
from gifster.jobs import transaction

#: How long a log-in may take.
AGE = timedelta(minutes=10)
#: After so many wrong codes, the password has to be typed again.
MAX_FAILURES = 5


def begin(user: User) -> str:
    """The secret of a log-in that waits for the second factor of a user.

    Only its hash is kept. It says nothing more than that the password was right: no session is made
    of it.
    """
    secret = secrets.token_urlsafe(32)
    SignInStep.create(digest=_digest(secret), user=user, expires_at=now() + AGE)
    return secret


def waiting(secret: str) -> User | None:
    """The user whose second factor a log-in waits for; None if it has ended or failed too often."""
    step = SignInStep.get_or_none(_goes_on(secret))
    return None if step is None or step.user_id is None else User.get_or_none(id=step.user_id)


def failed(secret: str) -> None:
    """Count a wrong code."""
    SignInStep.update(failures=SignInStep.failures + 1).where(_goes_on(secret)).execute()


def end(secret: str) -> bool:
    """End a log-in. Returns whether it still waited: of two requests at once, one ends it."""
    return bool(SignInStep.delete().where(_goes_on(secret)).execute())


def use_once(answer: str, age: timedelta = AGE) -> bool:
    """Note that an answer is used. Returns whether it was not used before.

    Parameters:
      answer: what makes it the only one of its kind, such as its challenge.
      age: for how long it would be accepted otherwise.
    """
    try:
        with transaction(db):
            SignInStep.create(digest=_digest(f"used {answer}"), expires_at=now() + age)
    except peewee.IntegrityError:
        return False
    return True


def forget_expired() -> int:
    """Delete the rows that have expired. Returns how many."""
    return int(SignInStep.delete().where(SignInStep.expires_at <= now()).execute())


def _goes_on(secret: str) -> peewee.Expression:
    found: peewee.Expression = (
        (SignInStep.digest == _digest(secret))
        & (SignInStep.expires_at > now())
        & (SignInStep.failures < MAX_FAILURES)
    )
    return found


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
