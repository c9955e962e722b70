"""A new password: for somebody who knows the present one, and by mail for somebody who forgot it.

Whoever asks for a mail learns nothing of who has an account: the request only writes a job,
whatever the address is, and a worker looks whether there is an account.
"""

import logging
from collections.abc import Callable
from typing import Any

from gifster.app import addresses, tokens
from gifster.app.accounts import mail_links, mail_secrets
from gifster.app.accounts.logging_in import account_with
from gifster.app.accounts.mail_secrets import Purpose
from gifster.app.accounts.passwords import has_password, hashed, is_password
from gifster.app.accounts.post import Post
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied
from gifster.app.models import Token, User, now
from gifster.jobs import enqueue, transaction

logger = logging.getLogger("gifster.app.accounts")


def ask_for_reset(email: str) -> None:
    """Have a mail sent to an address, with a link to choose a new password, if it has an account.

    Raises:
      Invalid: it is not an address.
    """
    enqueue("send_password_reset", addresses.canonical(email, in_house=True))


def deliver_reset(email: str, post: Post) -> None:
    """Deliver the mail with the link, if the address has an account that is in use."""
    user = account_with(email)
    if user is None or user.disabled_at is not None:
        logger.info("no mail for a new password: no account in use has that address")
        return
    link = reset_link(user, post)
    key = f"password.{mail_secrets.digest(link)[:16]}"
    post.deliver("password", to=user.email, key=key, user=user, link=link)


def reset_link(user: User, post: Post) -> str:
    """A link to choose a new password. It works once, and for an hour."""
    return post.link(mail_links.RESET, mail_secrets.make(user, Purpose.RESET, user.email))


def reset_password(
    secret: str,
    password: str,
    *,
    revoke: bool = False,
    claimed: Callable[[User], object] = tokens.log_out_everywhere,
) -> User:
    """The user of a mail's secret, who has a new password from now on, no sessions, and no wish for
    another address. Reading the mail has shown that the address is theirs, so it is confirmed.

    Parameters:
      revoke: whether to revoke their tokens, too.
      claimed: ends all other ways in if nobody had confirmed the address before, in the same
        transaction: somebody else may have made the account.

    Raises:
      Invalid: the secret does not work, or the password is too short or too long.
    """
    found = mail_secrets.find(secret, Purpose.RESET)
    password_hash = hashed(password)
    with transaction(db):
        user: User = mail_secrets.spend(secret, Purpose.RESET).user
        if user.email != found.email:
            raise mail_secrets.too_late()
        changed: dict[Any, Any] = {User.password_hash: password_hash}
        is_claimed = user.confirmed_at is None
        if is_claimed:
            changed[User.confirmed_at] = now()
        _change(user, changed)
        tokens.end_sessions(user, revoke=revoke)
        if is_claimed:
            claimed(user)
    return user


def change_password(
    user: User, present: str, password: str, *, keep: Token | None = None, revoke: bool = False
) -> None:
    """Give a user who knows their password a new one, and end their other sessions and their wish
    for another address.

    Parameters:
      keep: the session that stays.
      revoke: whether to revoke their tokens, too.

    Raises:
      Denied: that is not the present password.
      Invalid: the new one is too short or too long.
      Conflict: it was changed meanwhile.
    """
    require_password(user, present)
    password_hash = hashed(password)
    with transaction(db):
        _change(user, {User.password_hash: password_hash}, User.password_hash == user.password_hash)
        mail_secrets.forget(user, Purpose.RESET)
        tokens.end_sessions(user, keep=keep, revoke=revoke)


def require_password(user: User, password: str) -> None:
    """Check the password of somebody who is logged in, before something that cannot be undone: a
    browser may be left open.

    Raises:
      Denied: it is wrong (`password_wrong`), or the account has none (`password_missing`).
    """
    if not has_password(user):
        raise Denied(
            "password_missing",
            "Your account has no password. Have a link sent to you, and choose one first.",
        )
    if not is_password(user, password):
        raise Denied("password_wrong", "That is not your password.")


def deliver_password_changed(user_id: str, post: Post) -> None:
    """Tell a user that their password was changed."""
    user = User.get_or_none(User.id == user_id)
    if user is not None:
        key = f"password-changed.{user.id}.{mail_secrets.digest(user.password_hash)[:8]}"
        post.deliver(
            "password_changed", to=user.email, key=key, user=user, link=post.link("/forgot")
        )


def _change(user: User, values: dict[Any, Any], *conditions: Any) -> None:
    # Another address may be the wish of somebody who knew the former password.
    given_up: dict[Any, Any] = {User.new_email: None}
    query = User.update(values | given_up).where(User.id == user.id, *conditions)
    if not query.execute():
        raise Conflict("conflict", "Your password has just been changed. Try again.")
    enqueue("send_password_changed", user.id)
    logger.info("password changed user=%s", user.id)
