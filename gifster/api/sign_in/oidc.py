"""To the sign-in service and back: `/login/oidc`, and `/login/oidc/callback`, where it sends the
browser.

What a log-in keeps is in a cookie that is named by its state, so an answer counts only in the
browser that asked, and several tabs do not disturb each other. Nobody's account is linked by an
answer alone: the browser of somebody who is logged in might have been led here by another site, so
they are asked first.
"""

from dataclasses import asdict
from datetime import timedelta

from falcon.asgi import Request, Response

from gifster.api.auth import current_token, start_session
from gifster.api.bodies import url_form
from gifster.api.context import Context
from gifster.api.limits import RateLimited
from gifster.api.links import asked_at
from gifster.api.pages.page import see
from gifster.api.problems import Problem, problem_for
from gifster.api.sign_in.pages import METHODS, MethodsPage, whose
from gifster.api.sign_in.sealed import Sealed
from gifster.api.way_back import local_path
from gifster.app.errors import Denied, LibraryError
from gifster.app.sign_in import identities, passkeys, steps
from gifster.app.sign_in.identities import Person
from gifster.app.sign_in.oidc import Attempt, Provider
from gifster.uploads.config import config

CALLBACK = "/login/oidc/callback"
#: The parameter of a browser that was sent to the public address.
HERE = "here"
#: The cookies of a browser in which so many log-ins were begun are forgotten with the next one.
MANY = 6


class OidcPage(MethodsPage):
    """What the pages here share.

    Parameters:
      provider: the service; None if the settings name none.
    """

    open_to_strangers = True

    def __init__(self, context: Context, provider: Provider | None) -> None:
        super().__init__(context)
        web = context.settings.web
        self._provider = provider
        self._attempts = Sealed(config.secret, web, "gifster_oidc", "/login/oidc")
        self._found = Sealed(config.secret, web, "gifster_link", METHODS)

    @property
    def provider(self) -> Provider:
        if self._provider is None:
            raise Problem(404, "not_found", "This library has no sign-in service.")
        return self._provider

    async def refuse(self, req: Request, resp: Response, error: Exception) -> None:
        """Answer with the page of the log-in, which says what is wrong."""
        problem = problem_for(error)
        resp.status = problem.status
        resp.set_headers(problem.headers or {})
        values: dict[str, object] = {"values": {"next": "/"}, "done": "", "again": False}
        values["no_passkeys"] = passkeys.why_none(self.context.origin(req))
        await self.render(req, resp, "login.html", error=error, **values)


class OidcBegin(OidcPage):
    """`/login/oidc` sends a browser to the service, to log in. `?link=1`: to link an account of the
    service to the user's, who is logged in."""

    async def on_get(self, req: Request, resp: Response) -> None:
        again, link = req.get_param("again") == "1", req.get_param("link") == "1"
        provider = self.provider
        if self._is_elsewhere(req):
            more = "&" if req.query_string else ""
            see(resp, f"{self.context.home(req)}{req.path}?{req.query_string}{more}{HERE}=1")
            return
        session = await self.fresh(req) if link else None
        redirect_uri = self.context.home(req) + CALLBACK
        try:
            url, attempt = await self.context.sign_in(
                req, provider.begin, redirect_uri, again=again
            )
        except (LibraryError, RateLimited) as error:
            await self.refuse(req, resp, error)
            return
        self._attempts.keep_few(req, resp, MANY)
        kept = {
            "attempt": asdict(attempt),
            "back": local_path(req.get_param("next") or "/"),
            "session": whose(session) if session else None,
            "again": again,
        }
        self._attempts.put(req, resp, kept, attempt.state)
        see(resp, url)

    def _is_elsewhere(self, req: Request) -> bool:
        """Whether the browser is not at the public address, to which the service sends it back:
        there it would not have what it keeps. A proxy that tells neither the host nor the scheme
        makes each look so, thus a browser is sent there once."""
        web = self.context.settings.web
        known = not web.public_url or req.get_param(HERE) is not None
        return not known and asked_at(req, web) != web.public_url


class OidcCallback(OidcPage):
    """`/login/oidc/callback` takes the service's answer."""

    async def on_get(self, req: Request, resp: Response) -> None:
        state = req.get_param("state") or ""
        kept = self._attempts.get(req, state) if state else None
        self._attempts.drop(resp, state)
        try:
            await self.context.run_unconnected(self.context.limits.check_sign_in, req)
            if kept is None:
                raise Denied(
                    "oidc_expired",
                    "The log-in was begun in another browser, or took too long. Try again.",
                )
            person, age = await self._person(req, kept)
            if kept["session"] is None:
                await self._log_in(req, resp, person, kept["back"], age)
            else:
                await self._ask_to_link(req, resp, person, kept["session"])
        except (LibraryError, RateLimited) as error:
            if isinstance(error, Denied):  # a service that is away is nobody's wrong answer
                await self.context.run_unconnected(self.context.limits.sign_in_failed, req)
            await self.refuse(req, resp, error)

    async def _person(self, req: Request, kept: dict[str, object]) -> tuple[Person, timedelta]:
        attempt = Attempt(**kept["attempt"])  # type: ignore[arg-type]
        answer = {
            name: value
            for name in ("code", "error", "iss")
            if (value := req.get_param(name)) is not None
        }
        again = kept.get("again") is True  # one of the release before does not say
        found = await self.context.sign_in(req, self.provider.finish, attempt, answer, again=again)
        if not await self.context.run(steps.use_once, attempt.state):
            raise Denied("oidc_used", "This log-in has been used already. Try again.")
        return found

    async def _log_in(
        self, req: Request, resp: Response, person: Person, back: str, age: timedelta
    ) -> None:
        user = await self.context.run(identities.log_in, person, self.context.settings)
        await start_session(self.context, req, resp, user, age)
        see(resp, local_path(back))

    async def _ask_to_link(
        self, req: Request, resp: Response, person: Person, session: str
    ) -> None:
        """Show what would be linked. The session must be the one that asked for it."""
        token = await current_token(self.context, req)
        if token is None or whose(token) != session:
            raise Denied("oidc_expired", "You have logged out meanwhile. Log in, and try again.")
        # Somebody may be in hundreds of groups, and browsers keep no cookie of more than 4 kB.
        asked_for = person.groups & set(self.context.settings.auth.allowed_groups)
        kept = {**asdict(person), "groups": sorted(asked_for), "session": session}
        self._found.put(req, resp, kept)
        await self.render(req, resp, "link.html", person=person)


class OidcLink(OidcPage):
    """`POST /account/sign-in/link` links the account of the service that the page before showed."""

    open_to_strangers = False

    async def on_post(self, req: Request, resp: Response) -> None:
        token = await self.fresh(req)
        await url_form(self.context, req)
        kept = self._found.get(req)
        self._found.drop(resp)
        if kept is None or kept.pop("session") != whose(token):
            raise Problem(403, "oidc_expired", "That took too long. Begin once more.")
        person = Person(**{**kept, "groups": frozenset(kept["groups"])})
        await self.context.run(identities.link, token.user, person, self.context.settings, token)
        see(resp, METHODS)


class OidcUnlink(MethodsPage):
    """`POST /account/sign-in/links/{identity_id}/remove`."""

    async def on_post(self, req: Request, resp: Response, identity_id: str) -> None:
        token = await self.fresh(req)
        await url_form(self.context, req)
        settings = self.context.settings
        await self.context.run(identities.unlink, token.user, identity_id, settings)
        see(resp, METHODS)
