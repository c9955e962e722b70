"""Who is asking: a session cookie or an API token, both looked up by `accounts`."""

from typing import Any

from gifster import accounts, library
from gifster.api.context import Context
from gifster.api.forwarded import scheme
from gifster.api.problems import Problem
from gifster.api.receive import SMALL_BYTES
from gifster.models import User

COOKIE = "gifster_session"


async def current_user(context: Context, req: Any) -> User | None:
    """The user that the request's token or session stands for.

    Raises:
      Problem: 401 for a token that stands for nobody (any more).
    """
    if hasattr(req.context, "user"):
        user: User | None = req.context.user
        return user
    kind, _, token = (req.get_header("Authorization") or "").partition(" ")
    if kind.lower() == "bearer":
        user = await context.run(accounts.user_for_token, token.strip())
        if user is None:
            raise Problem(401, "token_invalid", "The token is wrong, expired or revoked.")
    else:
        cookies = req.get_cookie_values(COOKIE)
        user = await context.run(accounts.user_for_token, cookies[0]) if cookies else None
    req.context.user = user
    return user


async def require_writer(context: Context, req: Any) -> User | None:
    """The user, who may write; None where anonymous people may.

    Raises:
      Problem: 401 for somebody who has to sign in first.
    """
    user = await current_user(context, req)
    if user is None and not context.settings.auth.anonymous_uploads:
        raise _sign_in_first()
    return user


async def require_uploader(context: Context, req: Any) -> User | None:
    """The user, who may add a GIF now. Asked before the body is read.

    Raises:
      Problem: 401, as `require_writer()`.
      RateLimited: too many uploads of late.
      Denied: the quota is used up.
    """
    user = await require_writer(context, req)
    await context.run_unconnected(context.limits.upload, req, user)
    about = max(0, (req.content_length or 0) - SMALL_BYTES)
    await context.run(library.check_quota, user, context.quota, gifs=1, bytes=about)
    return user


async def require_admin(context: Context, req: Any) -> User:
    """The user, who is an admin.

    Raises:
      Problem: 401 for somebody who has to sign in first, 403 for somebody who is no admin.
    """
    user = await current_user(context, req)
    if user is None:
        raise _sign_in_first()
    if not user.is_admin:
        raise Problem(403, "admins_only", "This is for admins (gifster admins add ADDRESS).")
    return user


def _sign_in_first() -> Problem:
    return Problem(
        401,
        "sign_in_first",
        "Sign in first, or send an API token (Authorization: Bearer …).",
        headers={"WWW-Authenticate": "Bearer"},
    )


async def start_session(context: Context, req: Any, resp: Any, user: User) -> None:
    """Give the browser a session cookie."""
    web, days = context.settings.web, context.settings.auth.session_days
    secret = await context.run(accounts.issue_token, user, days)
    resp.set_cookie(
        COOKIE,
        secret,
        max_age=days * 86_400,
        path="/",
        http_only=True,
        same_site="Lax",
        secure="https" in (scheme(req, web), web.public_url.partition(":")[0]),
    )


async def end_session(context: Context, req: Any, resp: Any) -> None:
    """Make the browser's session cookie worthless, and take it back."""
    for secret in req.get_cookie_values(COOKIE) or []:
        await context.run(accounts.revoke_token, secret)
    resp.unset_cookie(COOKIE, path="/", same_site="Lax")
