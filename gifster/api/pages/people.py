"""`/people`: admins look for accounts; and `/people/{id}`, where they give a role, disable and
enable an account, and help somebody who cannot log in.

Each change has a reason, which the log of moderation keeps, and needs a log-in of the last minutes:
whoever finds an admin's browser open, or their cookie, makes nobody an admin.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from falcon.asgi import Request, Response

from gifster.api.auth import current_token, require_admin
from gifster.api.bodies import url_form
from gifster.api.limits import RateLimited
from gifster.api.moderation import log_json
from gifster.api.pages.page import PAGE_SIZE, Page, see
from gifster.api.problems import problem_for
from gifster.api.sign_in.pages import fresh_session, once_more
from gifster.app import accounts
from gifster.app.accounts import password_changes, people, standing
from gifster.app.errors import Invalid, LibraryError
from gifster.app.models import User
from gifster.app.moderation import log
from gifster.app.moderation.roles import Role, role_of
from gifster.app.sign_in import second_factor
from gifster.app.tokens import is_fresh
from gifster.jobs.wording import not_one_of

Form = dict[str, str]
#: The forms of the page of a person, each a `POST` to `/people/{id}/` and its name.
FORMS = ("role", "disable", "enable", "log-out", "second-factor", "reset")
#: Those that say why.
WITH_REASON = ("role", "disable", "enable", "log-out", "second-factor")
#: How many entries of the log the page of a person has.
SHOWN = 20


class PeoplePage(Page):
    """`/people`: the accounts, the newest first."""

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        asked = {name: req.get_param(name) or "" for name in ("q", "kind", "cursor")}

        def work() -> dict[str, object]:
            text, kind, cursor = asked.values()
            found, following = people.find(text=text, kind=kind, cursor=cursor, limit=PAGE_SIZE)
            more = {**asked, "cursor": following}
            return {
                "people": found,
                "next_query": following and urlencode({k: v for k, v in more.items() if v}),
            }

        await self.render(
            req,
            resp,
            "people.html",
            text=asked["q"],
            kind=asked["kind"],
            role_of=role_of,
            **await self.context.run(work),
        )


class PersonPage(Page):
    """`/people/{id}`."""

    async def on_get(self, req: Request, resp: Response, user_id: str) -> None:
        await require_admin(self.context, req)
        await self._show(req, resp, user_id, done=req.get_param("done") or "")

    async def on_post_role(self, req: Request, resp: Response, user_id: str) -> None:
        await self._take(req, resp, user_id, "role", self._give_role)

    async def on_post_disable(self, req: Request, resp: Response, user_id: str) -> None:
        await self._take(req, resp, user_id, "disable", _disable)

    async def on_post_enable(self, req: Request, resp: Response, user_id: str) -> None:
        await self._take(req, resp, user_id, "enable", _enable)

    async def on_post_log_out(self, req: Request, resp: Response, user_id: str) -> None:
        await self._take(req, resp, user_id, "log-out", _log_out)

    async def on_post_second_factor(self, req: Request, resp: Response, user_id: str) -> None:
        await self._take(req, resp, user_id, "second-factor", _without_second_factor)

    async def on_post_reset(self, req: Request, resp: Response, user_id: str) -> None:
        def ask(user: User, by: User, form: Form) -> None:
            self.context.limits.mail(req, user.email)
            password_changes.ask_for_reset(user.email)

        await self._take(req, resp, user_id, "reset", ask)

    async def _take(
        self,
        req: Request,
        resp: Response,
        user_id: str,
        name: str,
        work: Callable[[User, User, Form], object],
    ) -> None:
        """Do what a form says, and show the page anew; or show it with what is wrong.

        Parameters:
          work: gets the account, the admin, and the form.
        """
        admin = await require_admin(self.context, req)
        await fresh_session(self.context, req, f"/people/{user_id}")
        form = await url_form(self.context, req)

        def act() -> None:
            user = people.get(user_id).user
            if name in WITH_REASON and not form.get("reason", "").strip():
                raise log.reason_missing()
            work(user, admin, form)

        try:
            await self.context.run(act)
        except (LibraryError, RateLimited) as error:
            problem = problem_for(error)
            resp.status = problem.status
            resp.set_headers(problem.headers or {})
            await self._show(req, resp, user_id, error=error, at=name, values=form)
            return
        see(resp, f"/people/{user_id}?done={name}")

    def _give_role(self, user: User, by: User, form: Form) -> None:
        role = form.get("role", "")
        if role not in set(Role):
            raise Invalid("role_invalid", not_one_of("role", role, Role))
        standing.give_role(user, Role(role), by, form["reason"])

    async def _show(self, req: Request, resp: Response, user_id: str, **values: Any) -> None:
        session = await current_token(self.context, req)

        def work() -> dict[str, Any]:
            person = people.get(user_id)
            entries, _ = log.entries(user_id=user_id, limit=SHOWN)
            return {
                "person": person,
                "account": person.user,
                "role": role_of(person.user),
                "has_password": accounts.has_password(person.user),
                "has_factor": second_factor.is_needed(person.user),
                "entries": log_json(entries),
            }

        shown = {"done": "", "error": None, "at": "", "values": {}} | values
        shown |= await self.context.run(work)
        await self.render(
            req,
            resp,
            "person.html",
            roles=list(Role),
            is_fresh=session is not None and is_fresh(session),
            once_more=once_more(f"/people/{user_id}"),
            is_own=session is not None and session.user.id == user_id,
            with_mail=self.context.settings.auth.passwords,
            **shown,
        )


def _disable(user: User, by: User, form: Form) -> None:
    standing.disable(user, by, form["reason"])


def _enable(user: User, by: User, form: Form) -> None:
    standing.enable(user, by, form["reason"])


def _log_out(user: User, by: User, form: Form) -> None:
    standing.log_out(user, by, form["reason"])


def _without_second_factor(user: User, by: User, form: Form) -> None:
    second_factor.remove_all(user, noted=True, by=by, reason=form["reason"])
