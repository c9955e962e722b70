"""The forms that begin and end a session."""

import falcon
from falcon.asgi import Request, Response

from gifster.api.auth import (
    current_token,
    current_user,
    end_session,
    require_scope,
)
from gifster.api.bodies import url_form
from gifster.api.limits import RateLimited
from gifster.api.pages.page import Page, see
from gifster.api.problems import problem_for
from gifster.api.sign_in.pages import after_password
from gifster.api.way_back import local_path
from gifster.app import (
    accounts,
    addresses,
    tokens,
)
from gifster.app.accounts.invitations import check_may_sign_up, is_for
from gifster.app.library import LibraryError
from gifster.app.models import User
from gifster.app.sign_in import check_passwords, passkeys
from gifster.app.tokens import Scope


class AccountForm(Page):
    """A form that begins a session, or comes back with an error."""

    open_to_strangers = True
    template: str

    def submit(self, req: Request, values: dict[str, str]) -> User:
        """The user whose session begins (in a thread).

        Raises:
          LibraryError, RateLimited: the form is refused.
        """
        raise NotImplementedError

    async def on_get(self, req: Request, resp: Response) -> None:
        values = {"next": local_path(req.get_param("next") or "/")}
        await self.show(req, resp, values=values, error=None)

    async def show(self, req: Request, resp: Response, **values: object) -> None:
        """Answer with the form."""
        await self.render(req, resp, self.template, **values)

    async def on_post(self, req: Request, resp: Response) -> None:
        values = await url_form(self.context, req)
        values["next"] = local_path(values.get("next", "/"))
        try:
            check_passwords(self.context.settings.auth)
            user = await self.context.run(self.submit, req, values)
        except (LibraryError, RateLimited) as error:
            problem = problem_for(error)
            resp.status = problem.status
            resp.set_headers(problem.headers or {})
            await self.show(req, resp, values=values, error=error)
            return
        if self.context.settings.auth.confirm_emails and user.confirmed_at is None:
            see(resp, "/confirm?sent=1")  # the welcome mail has the link
            return
        await after_password(self.context, req, resp, user, values["next"])


class SignUp(AccountForm):
    """`/signup`."""

    template = "signup.html"

    def submit(self, req: Request, values: dict[str, str]) -> User:
        auth = self.context.settings.auth
        self.context.limits.sign_up(req)
        email = values.get("email", "")
        invitation = check_may_sign_up(auth.sign_up, values.get("invitation", ""))
        sign_up = accounts.sign_up
        if auth.confirm_emails and not is_for(invitation, email):
            self.context.limits.mail(req, addresses.account_of(email))
            sign_up = accounts.sign_up_to_confirm
        return sign_up(
            email,
            values.get("password", ""),
            values.get("name", ""),
            in_house=auth.in_house_emails,
            invitation=invitation,
        )

    async def show(self, req: Request, resp: Response, **values: object) -> None:
        may, typed = self.context.settings.auth.sign_up == "open", values["values"]
        may = may or (isinstance(typed, dict) and "invitation" in typed)
        await super().show(req, resp, may=may, **values)


class LogIn(AccountForm):
    """`/login`."""

    template = "login.html"

    async def show(self, req: Request, resp: Response, **values: object) -> None:
        values["no_passkeys"] = passkeys.why_none(self.context.origin(req))
        values |= {"done": req.get_param("done") or "", "again": req.get_param("again") == "1"}
        await super().show(req, resp, **values)

    def submit(self, req: Request, values: dict[str, str]) -> User:
        email = values.get("email", "")
        # Attempts are counted for the account, however the address is spelt.
        account = addresses.account_of(email)
        device = self.context.devices.known(req, account)
        self.context.limits.log_in(req, account, device)
        confirmed_only = self.context.settings.auth.confirm_emails
        return accounts.log_in(email, values.get("password", ""), confirmed_only=confirmed_only)


class LogOut(Page):
    """`/logout`, and `/logout/everywhere`, which ends all sessions and tokens of the user."""

    open_to_strangers = True

    async def on_get(self, req: Request, resp: Response) -> None:
        if await current_user(self.context, req) is None:
            raise falcon.HTTPSeeOther("/login")
        await self.render(req, resp, "logout.html")

    async def on_post(self, req: Request, resp: Response) -> None:
        await end_session(self.context, req, resp)
        see(resp, "/")

    async def on_post_everywhere(self, req: Request, resp: Response) -> None:
        token = await current_token(self.context, req)
        if token is not None:
            require_scope(token, Scope.ADMIN)
            await self.context.run(tokens.log_out_everywhere, token.user)
        await self.on_post(req, resp)
