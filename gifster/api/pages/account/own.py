"""`/account`: a user's name, address, password, sessions, tokens and GIFs, each with its form.

The forms work without JavaScript. One that is refused comes back with the page, and says why beside
the form. What cannot be undone asks for the password, whose attempts count as attempts to log in.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from falcon.asgi import Request, Response

from gifster.api.auth import forget_session, require_token
from gifster.api.bodies import url_form
from gifster.api.context import Context
from gifster.api.files import Files
from gifster.api.limits import RateLimited
from gifster.api.pages.account.browsers import browser_name
from gifster.api.pages.account.mailed import require_passwords
from gifster.api.pages.page import Page, see
from gifster.api.problems import problem_for
from gifster.api.sign_in.pages import MethodsPage, once_more
from gifster.app import accounts, addresses, library, tokens
from gifster.app.accounts import confirming, exports, leaving, password_changes, profile
from gifster.app.errors import Denied, Invalid, LibraryError
from gifster.app.models import Token, User
from gifster.app.sign_in import claiming
from gifster.app.tokens import Kind, Scope, is_fresh
from gifster.uploads.config import storage

Form = dict[str, str]
#: The forms of the page, each a `POST` to `/account/` and its name.
FORMS = ("name", "email", "confirm", "password", "session", "sessions", "token", "revoke", "export")
#: For how many days a token may be valid, as the form offers it; 0 for until it is revoked.
DAYS = (30, 90, 365, 0)


@dataclass
class Sent:
    """A form, and who sent it.

    Parameters:
      token: the session, or a program's token, that came with it.
    """

    req: Request
    form: Form
    token: Token

    @property
    def user(self) -> User:
        """The user whose account it is."""
        user: User = self.token.user
        return user


class AccountPage(Page):
    """`/account`."""

    async def on_get(self, req: Request, resp: Response) -> None:
        mine = await require_token(self.context, req, Scope.ADMIN)
        await self._show(req, resp, mine, done=req.get_param("done") or "")

    async def on_get_form(self, req: Request, resp: Response) -> None:
        """Lead to the page: a refused form leaves its own address in the browser."""
        see(resp, "/account")

    on_get_name = on_get_email = on_get_confirm = on_get_password = on_get_form
    on_get_session = on_get_sessions = on_get_token = on_get_revoke = on_get_export = on_get_form

    async def on_post_name(self, req: Request, resp: Response) -> None:
        await self._take(req, resp, "name", self._rename)

    async def on_post_email(self, req: Request, resp: Response) -> None:
        require_passwords(self)  # else the address is that of the sign-in service
        await self._take(req, resp, "email", self._change_email)

    async def on_post_confirm(self, req: Request, resp: Response) -> None:
        await self._take(req, resp, "confirm", self._send_confirmation)

    async def on_post_password(self, req: Request, resp: Response) -> None:
        require_passwords(self)
        await self._take(req, resp, "password", self._change_password)

    async def on_post_session(self, req: Request, resp: Response) -> None:
        await self._take(req, resp, "session", self._revoke)

    async def on_post_sessions(self, req: Request, resp: Response) -> None:
        await self._take(req, resp, "sessions", self._end_sessions)

    async def on_post_token(self, req: Request, resp: Response) -> None:
        await self._take(req, resp, "token", self._make_token)

    async def on_post_revoke(self, req: Request, resp: Response) -> None:
        await self._take(req, resp, "revoke", self._revoke)

    async def on_post_export(self, req: Request, resp: Response) -> None:
        await self._take(req, resp, "export", lambda sent: _nothing(exports.ask(sent.user)))

    # What the forms do, in a thread. What they return is for the page alone: the secret of a token.

    def _rename(self, sent: Sent) -> str:
        profile.rename(sent.user, sent.form.get("name", ""))
        return ""

    def _change_email(self, sent: Sent) -> str:
        in_house = self.context.settings.auth.in_house_emails
        address = addresses.canonical(sent.form.get("email", ""), in_house=in_house)
        if address != sent.user.email:
            self._require_password(sent)
            self.context.limits.mail(sent.req, address)
        confirming.wish_email(sent.user, address, in_house=in_house)
        return ""

    def _send_confirmation(self, sent: Sent) -> str:
        address = sent.user.new_email or sent.user.email
        self.context.limits.mail(sent.req, address)
        confirming.send_again(sent.user)
        return ""

    def _change_password(self, sent: Sent) -> str:
        self._count_attempt(sent)
        if sent.user.confirmed_at is None:
            # Each change sends a mail, maybe to somebody who has never been here.
            self.context.limits.mail(sent.req, sent.user.email)
        password_changes.change_password(
            sent.user,
            sent.form.get("present", ""),
            sent.form.get("password", ""),
            keep=sent.token,
            revoke="revoke" in sent.form,
        )
        self.context.limits.logged_in(sent.req, sent.user.email)
        return ""

    def _end_sessions(self, sent: Sent) -> str:
        tokens.end_sessions(sent.user, keep=sent.token)
        return ""

    def _revoke(self, sent: Sent) -> str:
        tokens.revoke(sent.form.get("id", ""), sent.user)
        return ""

    def _make_token(self, sent: Sent) -> str:
        days = sent.form.get("days", "")
        if days not in set(map(str, DAYS)):
            raise Invalid(
                "expires_in_days_invalid", f"A token cannot be valid for {days[:20]!r} days."
            )
        _, secret = tokens.create_token(
            sent.user,
            sent.form.get("name", ""),
            sent.form.get("scope", ""),
            int(days) or None,
            by=sent.token,
            once=sent.form.get("once", ""),
        )
        return secret

    def _require_password(self, sent: Sent) -> None:
        self._count_attempt(sent)
        password_changes.require_password(sent.user, sent.form.get("present", ""))
        self.context.limits.logged_in(sent.req, sent.user.email)

    def _count_attempt(self, sent: Sent) -> None:
        self.context.limits.log_in(sent.req, sent.user.email)

    # Around them.

    async def _take(
        self, req: Request, resp: Response, name: str, work: Callable[[Sent], str]
    ) -> None:
        """Do what a form says, and show the page anew; or show it with what is wrong."""
        mine = await require_token(self.context, req, Scope.ADMIN)
        sent = Sent(req, await url_form(self.context, req), mine)
        try:
            made = await self.context.run(work, sent)
        except (LibraryError, RateLimited) as error:
            problem = problem_for(error)
            resp.status = problem.status
            resp.set_headers(problem.headers or {})
            await self._show(req, resp, mine, error=error, at=name, values=sent.form)
            return
        if made:
            await self._show(req, resp, mine, secret=made)
        else:
            see(resp, f"/account?done={name}#{name}")

    async def _show(self, req: Request, resp: Response, mine: Token, **values: Any) -> None:
        def work() -> dict[str, Any]:
            user = User.get_by_id(mine.user.id)
            found = tokens.tokens_of(user)
            return {
                "account": user,
                "has_password": accounts.has_password(user),
                "sessions": [one for one in found if one.kind == Kind.SESSION],
                "tokens": [one for one in found if one.kind == Kind.TOKEN],
                "used": library.used(user),
                "export": exports.of(user),
            }

        shown = {"done": "", "secret": "", "error": None, "at": "", "values": {}} | values
        await self.render(
            req,
            resp,
            "account/own.html",
            mine=mine,
            quota=self.context.quota,
            days=DAYS,
            once=secrets.token_urlsafe(12),
            is_fresh=is_fresh(mine),
            once_more=once_more("/account"),
            token_days=self.context.settings.auth.token_days,
            browser_name=browser_name,
            passwords=self.context.settings.auth.passwords,
            **shown,
            **await self.context.run(work),
        )


def _nothing(_: object) -> str:
    return ""


class ExportFile(Page):
    """`/account/exports/{id}`: the zip, for its user."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._files = Files("", storage("cache"), context.read)

    async def on_get(self, req: Request, resp: Response, export_id: str) -> None:
        mine = await require_token(self.context, req, Scope.ADMIN)
        found = await self.context.run(exports.find, export_id, mine.user)
        await self._files.answer(req, resp, exports.key_of(found), found.bytes)
        name = f"gifster-{found.created_at:%Y-%m-%d}.zip"
        resp.set_header("Content-Disposition", f'attachment; filename="{name}"')


class Leave(MethodsPage):
    """`/account/leave`: the form that deletes an account. Where there are no passwords, it takes a
    log-in of the last minutes in their place."""

    back = "/account/leave"

    async def on_get(self, req: Request, resp: Response) -> None:
        mine = await require_token(self.context, req, Scope.ADMIN)
        await self._show(req, resp, mine, None)

    async def _show(self, req: Request, resp: Response, mine: Token, error: Any) -> None:
        gifs, _ = await self.context.run(library.used, mine.user)
        await self.render(
            req,
            resp,
            "account/leave.html",
            error=error,
            has_password=accounts.has_password(mine.user),
            passwords=self.context.settings.auth.passwords,
            gifs=gifs,
        )

    def _prove(self, req: Request, form: Form, user: User) -> None:
        """Raise unless it is the user who sent the form. Where there are no passwords, they type
        the address of the account, so that nobody leaves by mistake."""
        if self.context.settings.auth.passwords:
            self.context.limits.log_in(req, user.email)
            password_changes.require_password(user, form.get("present", ""))
        elif addresses.account_of(form.get("email", "")) != user.email:
            raise Denied("email_wrong", "That is not the address of your account.")

    async def on_post(self, req: Request, resp: Response) -> None:
        mine = await require_token(self.context, req, Scope.ADMIN)
        if not self.context.settings.auth.passwords:
            mine = await self.fresh(req)
        form = await url_form(self.context, req)

        def work() -> None:
            if form.get("gifs") not in ("keep", "delete"):
                raise Invalid("gifs_invalid", "Choose what becomes of your GIFs.")
            self._prove(req, form, mine.user)
            with_gifs = form["gifs"] == "delete"
            leaving.leave(mine.user, with_gifs=with_gifs, end_ways_in=claiming.end_ways_in)

        try:
            await self.context.run(work)
        except (LibraryError, RateLimited) as error:
            problem = problem_for(error)
            resp.status = problem.status
            resp.set_headers(problem.headers or {})
            await self._show(req, resp, mine, error)
            return
        forget_session(resp)
        see(resp, "/login?done=left")
