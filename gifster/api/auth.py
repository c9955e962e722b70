"""Who sends a request, by session cookie or API token, and what they may do (see
`app/tokens.py`)."""

from dataclasses import dataclass
from datetime import timedelta

from falcon.asgi import Request, Response

from gifster.api.bodies import SMALL_BYTES
from gifster.api.context import Context
from gifster.api.form_tokens import SESSION
from gifster.api.forwarded import client_address, is_https
from gifster.api.problems import Problem
from gifster.api.sign_in.proxy import Told, told
from gifster.app import library, tokens
from gifster.app.access import Reach, Viewer
from gifster.app.models import ImageUploader, Token, User
from gifster.app.moderation.roles import Role, role_of
from gifster.app.sign_in import proxy
from gifster.app.tokens import NOW, Kind, Scope


@dataclass(frozen=True)
class Editor:
    """Somebody who may write (None for people who are not logged in), and which GIFs they may
    change.

    Parameters:
      reason: why they change one, from the query (`?reason=`): moderators say so.
    """

    user: User | None
    reach: Reach
    reason: str = ""

    @property
    def viewer(self) -> Viewer:
        return Viewer(None if self.user is None else self.user.id, self.reach)


async def current_token(context: Context, req: Request) -> Token | None:
    """The token or session of the request, with its user. A token goes before a session.

    Raises:
      Problem: 401 for a token that is wrong, expired or revoked.
    """
    if hasattr(req.context, "token"):
        token: Token | None = req.context.token
        return token
    sent = _credentials(context, req)
    token = await context.run(_found, context, sent) if sent else None
    if token is None and isinstance(sent, tuple) and sent[1] is Kind.TOKEN:
        raise Problem(
            401,
            "token_invalid",
            "The token is wrong, expired or revoked.",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    req.context.token = token
    return token


def bearer(req: Request) -> str | None:
    """The token in a request's header (RFC 6750, 2.1); None if it has none."""
    scheme, _, secret = (req.get_header("Authorization") or "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def _credentials(context: Context, req: Request) -> tuple[str, Kind] | Told | None:
    """The secret that a request came with, or what the trusted proxy tells. A token goes before
    the proxy, and the proxy before a session, which may be that of somebody else who used this
    browser."""
    if (secret := bearer(req)) is not None:
        return secret, Kind.TOKEN
    if (said := told(req, context.settings.auth)) is not None:
        return said
    cookies = req.get_cookie_values(SESSION)
    return (cookies[0], Kind.SESSION) if cookies else None


def _found(context: Context, sent: tuple[str, Kind] | Told) -> Token | None:
    """The token or session of what a request came with (in a thread)."""
    if isinstance(sent, Told):
        return proxy.session(sent.email, sent.groups, context.settings.auth)
    return tokens.find_token(*sent)


async def current_user(context: Context, req: Request) -> User | None:
    """The user that the request's token or session stands for.

    Raises:
      Problem: 401, as `current_token()`.
    """
    token = await current_token(context, req)
    return None if token is None else token.user


async def has_session(context: Context, req: Request) -> bool:
    """Whether somebody has logged in with the browser that sends a request: whether it has the
    cookie of a session, not a token or a proxy's word.

    Raises:
      Problem: 401, as `current_token()`.
    """
    sent = _credentials(context, req)
    by_cookie = isinstance(sent, tuple) and sent[1] is Kind.SESSION
    return by_cookie and await current_token(context, req) is not None


async def require_token(context: Context, req: Request, needed: Scope) -> Token:
    """The token or session of somebody who is logged in.

    Raises:
      Problem: 401 for somebody who is not; 403 for a token whose scope is too narrow.
    """
    token = await current_token(context, req)
    if token is None:
        raise _log_in_first()
    require_scope(token, needed)
    return token


async def require_reader(context: Context, req: Request) -> None:
    """Pass for somebody who is logged in, and for a program with a token of any scope.

    Raises:
      Problem: 401 for everybody else.
    """
    if await current_token(context, req) is None:
        raise _log_in_first("This library is for people who have an account. Log in to see it.")


def require_scope(token: Token, needed: Scope) -> None:
    """Raise `Problem` (403) for a token whose scope is too narrow (RFC 6750, 3.1)."""
    if not tokens.allows(token, needed):
        raise Problem(
            403,
            "scope_insufficient",
            f"The token has the scope {token.scope!r}; this request needs {needed.value!r}.",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'},
        )


async def require_writer(context: Context, req: Request) -> User | None:
    """The user, who may write; None where anonymous people may.

    Raises:
      Problem: 401 for somebody who has to log in first; 403 for a token that only reads.
    """
    token = await current_token(context, req)
    if token is None and context.anonymous_uploads:
        return None
    return (await require_token(context, req, Scope.WRITE)).user


async def require_editor(context: Context, req: Request) -> Editor:
    """The sender of the request, who may write, and which GIFs they may change.

    Raises:
      Problem: as `require_writer()`.
    """
    user = await require_writer(context, req)
    return Editor(user, await reach_of(context, req), req.get_param("reason") or "")


async def reach_of(context: Context, req: Request) -> Reach:
    """Which GIFs the sender of a request may change, if they may write at all. Only moderators and
    admins may change the GIFs of others, and only with a session or a token of the scope
    `admin`."""
    return _viewer(context, await current_token(context, req)).reach


async def viewer_of(context: Context, req: Request) -> Viewer:
    """Who looks at GIFs, by the request's token or session.

    Raises:
      Problem: 401, as `current_token()`.
    """
    return _viewer(context, await current_token(context, req))


def viewer_here(context: Context, req: Request) -> Viewer:
    """The same in a thread with a database connection. Somebody with a wrong token is a
    stranger."""
    sent = _credentials(context, req)
    return _viewer(context, _found(context, sent) if sent else None)


def _viewer(context: Context, token: Token | None) -> Viewer:
    changes = context.anonymous_changes
    if token is None:
        return Viewer(None, Reach.OWNERLESS if changes else Reach.NONE)
    role = role_of(token.user) if tokens.allows(token, Scope.ADMIN) else Role.MEMBER
    if role is Role.MEMBER:
        return Viewer(token.user.id, Reach.OWNERLESS if changes else Reach.OWN)
    return Viewer(token.user.id, Reach.ALL if role is Role.ADMIN else Reach.MODERATED)


async def require_uploader(context: Context, req: Request) -> User | None:
    """The user, who may add a GIF now. To be called before the body is read.

    Raises:
      Problem: as `require_writer()`.
      RateLimited: too many uploads recently.
      TooLarge: the body is larger than any upload may be.
      Denied: the quota is used up.
    """
    user = await require_writer(context, req)
    about = max(0, (req.content_length or 0) - SMALL_BYTES)

    def check() -> None:
        context.limits.upload(req, user)
        ImageUploader.check_bytes(about)
        library.check_quota(user, context.quota, gifs=1, bytes=about)

    if context.settings.limits.enabled:
        await context.run(check)
    else:
        ImageUploader.check_bytes(about)
    return user


async def require_admin(context: Context, req: Request) -> User:
    """The user, who is an admin.

    Raises:
      Problem: 401 for somebody who has to log in first; 403 for a token without the scope `admin`,
        and for somebody who is not an admin.
    """
    return await _require_role(context, req, Role.ADMIN)


async def require_moderator(context: Context, req: Request) -> User:
    """The user, who is a moderator or an admin.

    Raises:
      Problem: as `require_admin()`, for somebody who is neither.
    """
    return await _require_role(context, req, Role.MODERATOR)


async def _require_role(context: Context, req: Request, needed: Role) -> User:
    user: User = (await require_token(context, req, Scope.ADMIN)).user
    if role_of(user).covers(needed):
        return user
    if needed is Role.ADMIN:
        raise Problem(
            403,
            "admins_only",
            "This is for admins (gifster admins add ADDRESS).",
            for_people="This page is for admins. Ask an admin to give you that role.",
        )
    raise Problem(
        403,
        "moderators_only",
        "This is for moderators (gifster moderation add ADDRESS).",
        for_people="This page is for moderators. Ask an admin to give you that role.",
    )


def _log_in_first(for_people: str = "Log in first.") -> Problem:
    return Problem(
        401,
        "sign_in_first",
        "Log in first, or send an API token (Authorization: Bearer …).",
        headers={"WWW-Authenticate": "Bearer"},
        for_people=for_people,
    )


async def start_session(
    context: Context, req: Request, resp: Response, user: User, age: timedelta = NOW
) -> None:
    """Give the browser a new session cookie, and end the session that it may have had.

    Parameters:
      age: as of `tokens.start_session()`.
    """
    days = context.settings.auth.session_days
    before = req.get_cookie_values(SESSION) or []
    where = {
        "address": client_address(req, context.settings.web),
        "browser": req.get_header("User-Agent", default=""),
    }

    def work() -> str:
        for secret in before:
            tokens.revoke_token(secret)
        return tokens.start_session(user, days, age=age, **where)

    resp.set_cookie(
        SESSION,
        await context.run(work),
        max_age=days * 86_400,
        path="/",
        http_only=True,
        same_site="Lax",
        secure=is_https(req, context.settings.web),
    )


async def end_session(context: Context, req: Request, resp: Response) -> None:
    """End the browser's session, and delete its cookie."""
    for secret in req.get_cookie_values(SESSION) or []:
        await context.run(tokens.revoke_token, secret)
    forget_session(resp)


def forget_session(resp: Response) -> None:
    """Delete the browser's session cookie."""
    resp.unset_cookie(SESSION, path="/", same_site="Lax")
