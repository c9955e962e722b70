"""`/account/sign-in`: how somebody logs in, and their second factor. Everything that changes there
needs a log-in of the last minutes."""

import falcon
from falcon.asgi import Request, Response

from gifster.api.auth import current_token
from gifster.api.bodies import url_form
from gifster.api.limits import RateLimited
from gifster.api.pages.page import see
from gifster.api.problems import Problem, problem_for
from gifster.api.sign_in.pages import METHODS, MethodsPage
from gifster.api.way_back import with_back
from gifster.app import accounts, addresses
from gifster.app.errors import LibraryError
from gifster.app.models import Token, User
from gifster.app.sign_in import codes, extras, identities, passkeys, second_factor
from gifster.app.tokens import Kind

#: What an authenticator app shows as the name of the library.
LIBRARY = "Gifster"
APP = f"{METHODS}/app"


class Methods(MethodsPage):
    """The page."""

    async def on_get(self, req: Request, resp: Response) -> None:
        token = await current_token(self.context, req)
        if token is None or token.kind != Kind.SESSION:
            raise falcon.HTTPSeeOther(with_back("/login", METHODS))
        user = token.user

        def facts() -> dict[str, object]:
            return {
                "has_password": accounts.has_password(user),
                "has_app": codes.has_app(user),
                "passkeys": passkeys.of(user),
                "codes_left": codes.recovery_codes_left(user),
                "identities": identities.of(user),
            }

        found = await self.context.run(facts)
        found["no_passkeys"] = passkeys.why_none(self.context.origin(req))
        await self.render(req, resp, "sign_in.html", **found)


class SecondFactorPage(MethodsPage):
    """The base of the pages of authenticator apps and recovery codes."""

    async def fresh(self, req: Request) -> Token:
        if not (self.context.settings.auth.passwords and extras.installed("second-factor")):
            raise Problem(404, "not_found", "This library asks for no second factor.")
        return await super().fresh(req)

    async def show_codes(self, req: Request, resp: Response, made: list[str]) -> None:
        await self.render(req, resp, "recovery_codes.html", codes=made)


class AppSetUp(SecondFactorPage):
    """`POST /account/sign-in/app` begins to set an authenticator app up, `GET` shows what it has to
    scan, and `POST …/confirm` takes its first code."""

    async def on_post(self, req: Request, resp: Response) -> None:
        token = await self.fresh(req)
        await url_form(self.context, req)
        await self.context.run(codes.begin, token.user)
        see(resp, APP)

    async def on_get(self, req: Request, resp: Response) -> None:
        await self._show(req, resp, (await self.fresh(req)).user)

    async def on_post_confirm(self, req: Request, resp: Response) -> None:
        token = await self.fresh(req)
        values = await url_form(self.context, req)
        account = addresses.account_of(token.user.email)

        def work() -> list[str]:
            self.context.limits.log_in(req, account)
            made = codes.confirm(token.user, values.get("code", ""))
            second_factor.is_new(token.user, token)
            return made

        try:
            made = await self.context.run(work)
        except (LibraryError, RateLimited) as error:
            problem = problem_for(error)
            resp.status = problem.status
            resp.set_headers(problem.headers or {})
            await self._show(req, resp, token.user, error)
            return
        await self.show_codes(req, resp, made)

    async def _show(
        self, req: Request, resp: Response, user: User, error: Exception | None = None
    ) -> None:
        app = await self.context.run(codes.setting_up, user)
        if app is None:
            resp.status = falcon.HTTP_200
            see(resp, METHODS)
            return
        picture = await self.context.run_unconnected(
            codes.picture, codes.uri(app, user.email, LIBRARY)
        )
        grouped = " ".join(app.secret[at : at + 4] for at in range(0, len(app.secret), 4))
        await self.render(
            req, resp, "app_set_up.html", picture=picture, secret=grouped, error=error
        )


class AppRemove(SecondFactorPage):
    """`POST /account/sign-in/app/remove`."""

    async def on_post(self, req: Request, resp: Response) -> None:
        token = await self.fresh(req)
        await url_form(self.context, req)
        await self.context.run(second_factor.without_app, token.user)
        see(resp, METHODS)


class RecoveryCodes(SecondFactorPage):
    """`POST /account/sign-in/recovery-codes` makes new ones, and shows them this once."""

    async def on_post(self, req: Request, resp: Response) -> None:
        token = await self.fresh(req)
        await url_form(self.context, req)
        if not await self.context.run(second_factor.is_needed, token.user):
            raise Problem(409, "no_second_factor", "Set up an authenticator app or passkey first.")
        made = await self.context.run(codes.new_recovery_codes, token.user)
        await self.show_codes(req, resp, made)
