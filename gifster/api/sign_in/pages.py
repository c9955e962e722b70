"""What the pages of signing in share: who may open them, and how a session begins."""

import hashlib
from urllib.parse import quote

import falcon
from falcon.asgi import Request, Response

from gifster.api.auth import current_token, start_session
from gifster.api.context import Context
from gifster.api.pages.page import Page, see
from gifster.api.sign_in.sealed import Sealed
from gifster.api.way_back import with_back
from gifster.app import addresses
from gifster.app.models import Token, User
from gifster.app.sign_in import second_factor, steps
from gifster.app.tokens import Kind, is_fresh
from gifster.uploads.config import config

METHODS = "/account/sign-in"
SECOND_FACTOR = "/login/second-factor"


def waiting_cookie(context: Context) -> Sealed:
    """The cookie of a log-in that waits for the second factor."""
    return Sealed(config.secret, context.settings.web, "gifster_step", "/login")


def once_more(back: str) -> str:
    """The log-in, for somebody who is logged in and has to show that it is they.

    Parameters:
      back: where they go on.
    """
    return f"/login?again=1&next={quote(back, safe='/')}"


async def fresh_session(context: Context, req: Request, back: str) -> Token:
    """The session of somebody who has just logged in (`tokens.FRESH`). An API token does not do.

    Parameters:
      back: where somebody goes on who has to log in first.

    Raises:
      HTTPSeeOther: to the log-in, for everybody else.
    """
    token = await current_token(context, req)
    if token is None or token.kind != Kind.SESSION:
        raise falcon.HTTPSeeOther(with_back("/login", back))
    if not is_fresh(token):
        raise falcon.HTTPSeeOther(once_more(back))
    return token


async def after_password(
    context: Context, req: Request, resp: Response, user: User, back: str = "/"
) -> None:
    """Go on after somebody's password was right: to the second factor if they have one, else begin
    their session.

    Parameters:
      back: where they go in the end.
    """
    if await context.run(second_factor.is_needed, user):
        secret = await context.run(steps.begin, user)
        kept = {"secret": secret, "password": _mark_of_password(user)}
        waiting_cookie(context).put(req, resp, kept)
        see(resp, with_back(SECOND_FACTOR, back))
        return
    await logged_in(context, req, resp, user)
    see(resp, back)


async def waiting(context: Context, req: Request) -> tuple[str, User] | None:
    """The secret of the log-in that waits for a second factor in this browser, and its user. None
    if there is none, or if the password was changed meanwhile: maybe since somebody else knew
    it."""
    kept = waiting_cookie(context).get(req) or {}
    secret = kept.get("secret")
    user = await context.run(steps.waiting, secret) if isinstance(secret, str) else None
    if not isinstance(secret, str) or user is None:
        return None
    return (secret, user) if kept.get("password") == _mark_of_password(user) else None


def _mark_of_password(user: User) -> str:
    """Differs for each password that is chosen, and tells nothing of it: its hash has a salt."""
    return hashlib.sha256(f"step {user.password_hash}".encode()).hexdigest()[:16]


async def logged_in(context: Context, req: Request, resp: Response, user: User) -> None:
    """Begin the session of somebody whose password, and second factor if they have one, were
    right."""
    account = addresses.account_of(user.email)
    device = context.devices.known(req, account)
    await start_session(context, req, resp, user)
    await context.run_unconnected(context.limits.logged_in, req, account, device)
    context.devices.remember(req, resp, account)


def whose(token: Token) -> str:
    """What names a session in a signed cookie: that of a proxy, which is in no table, by its
    user."""
    return token.digest or token.user.id


class MethodsPage(Page):
    """The base of the pages on which somebody changes how they log in."""

    #: Where somebody goes on who had to log in once more.
    back = METHODS

    async def fresh(self, req: Request) -> Token:
        """As `fresh_session()`."""
        return await fresh_session(self.context, req, self.back)
