"""`/login/second-factor`: the code that comes after the password."""

from falcon.asgi import Request, Response

from gifster.api.bodies import url_form
from gifster.api.limits import RateLimited
from gifster.api.pages.page import Page, see
from gifster.api.problems import problem_for
from gifster.api.sign_in.pages import logged_in, waiting, waiting_cookie
from gifster.api.way_back import local_path
from gifster.app import addresses
from gifster.app.errors import Denied, LibraryError
from gifster.app.models import User
from gifster.app.sign_in import codes, passkeys, steps


class SecondFactor(Page):
    """`GET` shows the form; `POST` takes a code of the authenticator app, or a recovery code."""

    open_to_strangers = True

    async def on_get(self, req: Request, resp: Response) -> None:
        found = await waiting(self.context, req)
        if found is None:
            see(resp, "/login")
            return
        await self._show(req, resp, found[1], local_path(req.get_param("next") or "/"))

    async def on_post(self, req: Request, resp: Response) -> None:
        values = await url_form(self.context, req)
        back, found = local_path(values.get("next", "/")), await waiting(self.context, req)
        if found is None:
            see(resp, "/login")
            return
        secret, user = found
        try:
            await self.context.run(self._check, req, user, secret, values.get("code", ""))
        except (LibraryError, RateLimited) as error:
            problem = problem_for(error)
            resp.status = problem.status
            resp.set_headers(problem.headers or {})
            await self._show(req, resp, user, back, error)
            return
        waiting_cookie(self.context).drop(resp)
        await logged_in(self.context, req, resp, user)
        see(resp, back)

    def _check(self, req: Request, user: User, secret: str, code: str) -> None:
        account = addresses.account_of(user.email)
        self.context.limits.log_in(req, account, self.context.devices.known(req, account))
        try:
            codes.check(user, code)
        except Denied:
            steps.failed(secret)
            raise
        if not steps.end(secret):
            raise Denied("step_ended", "This log-in has ended. Log in again.")

    async def _show(
        self, req: Request, resp: Response, user: User, back: str, error: Exception | None = None
    ) -> None:
        def ways() -> tuple[bool, bool]:
            return codes.has_app(user), bool(passkeys.of(user))

        has_app, has_passkey = await self.context.run(ways)
        await self.render(
            req,
            resp,
            "second_factor.html",
            error=error,
            back=back,
            has_app=has_app,
            has_passkey=has_passkey,
            no_passkeys=passkeys.why_none(self.context.origin(req)),
        )
