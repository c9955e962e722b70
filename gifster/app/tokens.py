"""Sessions of browsers and API tokens of programs: both are secrets that stand for a user.

A session may do all that its user may. A token may do what its scope allows: `read` looks, `write`
also adds and changes GIFs, `admin` does all that the user may, and manages tokens. Plain
synchronous functions, like those of `accounts`: call them with a database connection open.
"""

import hashlib
import logging
import re
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import peewee

from gifster.app import texts
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied, Invalid, NotFound
from gifster.app.models import Token, User, moment_before, new_id, now
from gifster.jobs import enqueue, transaction
from gifster.jobs.wording import not_one_of
from gifster.uploads.columns.rows import locked_row, readable

logger = logging.getLogger("gifster.app.tokens")

#: Of one user. One more token is refused; one more session ends the oldest.
MAX_TOKENS = 100
MAX_SESSIONS = 100
MAX_DAYS = 3_650
#: `last_used_at` is written at most this often, so that requests that only read seldom write.
USED_EVERY = timedelta(hours=1)
#: Somebody who has logged in longer ago does so again before something that outlives the session,
#: such as a token that may do all: in case it is not they who sit at the browser, or have the
#: cookie.
FRESH = timedelta(minutes=15)
NOW = timedelta()
#: How long the rows of expired ones are kept: if somebody has set the clock ahead, they are good
#: again once it is right. And how far a clock may be set back in passing.
REMEMBERED, CLOCK_SLACK = timedelta(days=1), timedelta(minutes=1)
#: What secrets look like: 32 bytes as URL-safe base64.
SECRET = re.compile("[A-Za-z0-9_-]{43}")


class Kind(StrEnum):
    """What a secret is for. A token is never accepted as a session, nor a session as a token."""

    SESSION = "session"
    TOKEN = "token"  # noqa: S105


class Scope(StrEnum):
    """What a token allows. Each scope includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def covers(self, needed: "Scope") -> bool:
        """Whether this scope includes that one."""
        scopes = list(Scope)
        return scopes.index(self) >= scopes.index(needed)


def allows(token: Token, needed: Scope) -> bool:
    """Whether a token, or a session, may do what needs that scope. One with a scope that is none of
    ours may do nothing."""
    return token.scope in set(Scope) and Scope(token.scope).covers(needed)


def check_enabled(user: User) -> None:
    """Raise `Denied` (`account_disabled`) for an account that nobody may use."""
    if user.disabled_at is not None:
        raise Denied(
            "account_disabled",
            "This account is disabled. Ask the people who run this library.",
        )


def is_fresh(session: Token) -> bool:
    """Whether somebody has just logged in with a session. A token never is. What a proxy vouches
    for always is: that session is made anew for each request. One that began later than now is not:
    the clock was ahead then, and may have been for a year."""
    age = now() - session.created_at
    return session.kind == Kind.SESSION and bool(-CLOCK_SLACK <= age <= FRESH)


def start_session(
    user: User, days: int, *, address: str = "", browser: str = "", age: timedelta = NOW
) -> str:
    """The secret of a new session. Only its hash is kept, so it cannot be shown again.

    Parameters:
      user: as they were when it was clear who logs in.
      days: how long the session is valid.
      address: the address that it begins from, so that its user recognizes it.
      browser: the `User-Agent` of its browser; at most `texts.MAX_BROWSER` characters of it stay.
      age: how long ago its user showed who they are, such as to a sign-in service, which lets them
        in without a question for hours. The session counts as begun then, or when it was no longer
        fresh.

    Raises:
      Denied: the account is disabled, or got another password meanwhile.
    """
    with transaction(db):
        if _lock(user).password_hash != user.password_hash:
            # The former one logs nobody in, and a new one has ended all sessions.
            raise Denied("password_changed", "The password was just changed. Log in again.")
        where: dict[str, Any] = {"address": address[:45], "browser": texts.browser(browser)}
        began = now() - min(age, FRESH + timedelta(seconds=1))
        made, secret = _issue(user, Kind.SESSION, Scope.ADMIN, days, created_at=began, **where)
        sessions = (Token.user == user) & (Token.kind == Kind.SESSION)
        others = Token.select(Token.digest).where(sessions & (Token.digest != made.digest))
        newest = others.order_by(Token.created_at.desc(), Token.id).limit(MAX_SESSIONS - 1)
        kept = [made.digest, *(token.digest for token in newest)]
        Token.delete().where(sessions & Token.digest.not_in(kept)).execute()
    return secret


def create_token(  # noqa: PLR0913 fields, each with a default
    user: User,
    name: str,
    scope: str = Scope.WRITE,
    days: int | None = None,
    by: Token | None = None,
    *,
    once: str = "",
) -> tuple[Token, str]:
    """A new token, and its secret. Only its hash is kept, so it cannot be shown again.

    Parameters:
      name: the user's name for it, 1 to `texts.MAX_NAME` characters, as people's names.
      scope: one of `Scope`.
      days: how long it is valid, 1 to 3,650; None for until it is revoked.
      by: the session or token that asks. If it has been revoked meanwhile, it gets no new token. A
        token gets none of the scope `admin` that is valid for longer than itself. Its user is told
        by mail.
      once: a random text of the form that asks, so that the form sent twice makes one token.

    Raises:
      Conflict: there is a token of this form already.
      Invalid: one of them is invalid; the code and the message say which.
      Denied: the user has 100 tokens already, `by` was revoked meanwhile, or the account is
        disabled; or the token may do all, and the session that asks is not fresh
        (`log_in_again`).
    """
    name = texts.person(name)
    if not name:
        raise Invalid("name_invalid", "The token has no name. Give it one, to know it by later.")
    if scope not in set(Scope):
        raise Invalid("scope_invalid", not_one_of("scope", scope, Scope))
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise Invalid(
            "expires_in_days_invalid",
            f"A token cannot be valid for {days:,} days: choose 1 to {MAX_DAYS:,} days, or no end.",
        )
    if by is not None and by.kind == Kind.SESSION and scope == Scope.ADMIN and not is_fresh(by):
        raise Denied(
            "log_in_again",
            "A token of the scope admin may do all that you may. Log in once more, to show that it "
            "is you, and make it then.",
        )
    with transaction(db):
        _lock(user)  # two requests at once cannot share the last place
        if by is not None:
            check_not_revoked(by)
        if _of(user, Kind.TOKEN).count() >= MAX_TOKENS:
            raise Denied(
                "too_many_tokens",
                f"You have {MAX_TOKENS} tokens already, which is the most. Revoke one first.",
            )
        token_id = _id_of(user, once) if once else new_id()
        if once and Token.select().where(Token.id == token_id).exists():
            raise Conflict(
                "token_made",
                "This form has made its token already, which is below. Its secret is shown once: "
                "if you have not copied it, revoke the token and make another one.",
            )
        outlived = by is not None and by.kind == Kind.TOKEN and scope == Scope.ADMIN
        ends = by.expires_at if by is not None and outlived else None
        made = _issue(user, Kind.TOKEN, Scope(scope), days, ends=ends, name=name, id=token_id)
        if by is not None:
            enqueue("send_sign_in_changed", user.id, f"token_{scope}", token_id)
        return made


def _id_of(user: User, once: str) -> str:
    return hashlib.sha256(f"{user.id} {once}".encode(errors="replace")).hexdigest()[:12]


def check_not_revoked(token: Token) -> None:
    """Raise `Denied` (`token_invalid`) for a session or token that was revoked since it was found.
    Call it with the row of its user locked, before something that would outlive it."""
    # The session of somebody whom a proxy has logged in is in no table.
    if token.digest and not Token.select().where(Token.digest == token.digest).exists():
        raise Denied("token_invalid", "The token is expired or revoked. Log in again.")


def issue_token(user: User, days: int | None = None) -> str:
    """The secret of a new token without a name, of the scope `admin`."""
    return _issue(user, Kind.TOKEN, Scope.ADMIN, days)[1]


def find_token(secret: str, kind: Kind) -> Token | None:
    """The session or token of a secret, with its user, if it is still valid. Notes its use."""
    found: Token | None = (
        Token.select(Token, User)
        .join(User)
        .where(Token.digest == _digest(secret), Token.kind == kind, _holds())
        .where(User.disabled_at.is_null())
        .get_or_none()
    )
    if found is not None:
        _note_use(found)
    return found


def user_for_token(secret: str) -> User | None:
    """The user that a token's secret stands for, if the token is still valid."""
    token = find_token(secret, Kind.TOKEN)
    return None if token is None else token.user


def tokens_of(user: User) -> list[Token]:
    """The valid sessions and tokens of a user, the newest first."""
    return readable(_of(user))


def revoke(token_id: str, user: User | None = None) -> None:
    """Revoke a session or a token by its id.

    Parameters:
      user: only if it is this user's; None for any user's.

    Raises:
      NotFound: it does not exist (any more).
    """
    query = Token.delete().where(Token.id == token_id)
    if user is not None:
        query = query.where(Token.user == user)
    # Databases refuse queries with some characters, which no id has.
    possible = token_id.isascii() and token_id.isalnum()
    if not possible or not query.execute():
        raise NotFound("token_not_found", f"There is no token {token_id[:40]!r}.")
    logger.info("revoked token=%.40r", token_id)


def revoke_token(secret: str) -> None:
    """Revoke a session or a token by its secret."""
    Token.delete().where(Token.digest == _digest(secret)).execute()


def end_sessions(user: User, *, keep: Token | None = None, revoke: bool = False) -> int:
    """End the sessions of a user. Returns how many there were.

    Parameters:
      keep: the session, or the token, that stays.
      revoke: whether to revoke the user's tokens, too.
    """
    query = Token.delete().where(Token.user == user)
    if not revoke:
        query = query.where(Token.kind == Kind.SESSION)
    if keep is not None:
        query = query.where(Token.digest != keep.digest)
    with transaction(db):
        _lock(user, enabled=False)
        ended = int(query.execute())
    logger.info("ended sessions of user=%s ended=%d", user.id, ended)
    return ended


def log_out_everywhere(user: User) -> int:
    """Revoke all sessions and all tokens of a user. Returns how many were still valid."""
    with transaction(db):
        _lock(user, enabled=False)
        revoked = _of(user).count()
        Token.delete().where(Token.user == user).execute()
    logger.info("logged out everywhere user=%s revoked=%d", user.id, revoked)
    return revoked


def forget_expired_tokens() -> int:
    """Delete the sessions and tokens that expired `REMEMBERED` ago. Returns how many."""
    return int(Token.delete().where(Token.expires_at <= moment_before(REMEMBERED)).execute())


def _issue(
    user: User,
    kind: Kind,
    scope: Scope,
    days: int | None,
    *,
    ends: datetime | None = None,
    **columns: Any,
) -> tuple[Token, str]:
    """A new session or token, and its secret.

    Parameters:
      ends: when it ends at the latest.
    """
    secret = secrets.token_urlsafe(32)
    wished = None if days is None else now() + timedelta(days=days)
    expires_at = min((at for at in (wished, ends) if at is not None), default=None)
    token = Token.create(
        digest=_digest(secret),
        user=user,
        kind=kind.value,
        scope=scope.value,
        expires_at=expires_at,
        **columns,
    )
    return token, secret


def _lock(user: User, *, enabled: bool = True) -> User:
    """The row of a user, locked, so that what follows is one step for all who do the same.

    Parameters:
      enabled: whether to refuse disabled accounts.
    """
    row = locked_row(user)
    if row is None:
        raise NotFound("account_not_found", "This account does not exist any more.")
    if enabled:
        check_enabled(row)
    locked: User = row
    return locked


def _of(user: User, *kinds: Kind) -> "peewee.ModelSelect[Token]":
    chosen = Token.select().where(Token.user == user, Token.kind.in_(list(kinds or Kind)), _holds())
    return chosen.order_by(Token.created_at.desc(), Token.id)


def _holds() -> peewee.Expression:
    valid: peewee.Expression = Token.expires_at.is_null() | (Token.expires_at > now())
    return valid


def _note_use(token: Token) -> None:
    used_at = now()
    if token.last_used_at is not None and token.last_used_at > used_at - USED_EVERY:
        return
    try:
        Token.update(last_used_at=used_at).where(Token.digest == token.digest).execute()
    except peewee.DatabaseError as error:
        # Requests that only read are answered even while the database takes no writes.
        logger.warning("the use of a token is not noted: token=%s error=%s", token.id, error)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
