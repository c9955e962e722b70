"""`/invitations`: admins invite people, and see who was invited."""

import secrets
from typing import Any

from falcon.asgi import Request, Response

from gifster.api.auth import require_admin
from gifster.api.bodies import url_form
from gifster.api.limits import RateLimited
from gifster.api.pages.page import Page, see
from gifster.api.problems import problem_for
from gifster.app import addresses
from gifster.app.accounts import invitations
from gifster.app.errors import Invalid, LibraryError

#: What the form offers.
DAYS = (1, 7, 30, 90)


class InvitationsPage(Page):
    """`GET` lists them, `POST` makes one, and `POST` to `/invitations/revoke` ends one."""

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        await self._show(req, resp, done=req.get_param("done") or "")

    async def on_post(self, req: Request, resp: Response) -> None:
        admin = await require_admin(self.context, req)
        form = await url_form(self.context, req)
        settings = self.context.settings

        def work() -> str:
            days, email = form.get("days", ""), form.get("email", "").strip()
            if days not in set(map(str, DAYS)):
                raise Invalid(
                    "days_invalid", f"An invitation cannot be good for {days[:20]!r} days."
                )
            once = form.get("once", "")
            if not email:
                return invitations.invite(admin, settings.web, days=int(days), once=once)[1]
            in_house = settings.auth.in_house_emails
            self.context.limits.mail(req, addresses.canonical(email, in_house=in_house))
            invitations.invite_by_mail(admin, email, days=int(days), in_house=in_house, once=once)
            return ""

        try:
            link = await self.context.run(work)
        except (LibraryError, RateLimited) as error:
            problem = problem_for(error)
            resp.status = problem.status
            resp.set_headers(problem.headers or {})
            await self._show(req, resp, error=error, email=form.get("email", ""))
            return
        if link:
            await self._show(req, resp, link=link)
        else:
            see(resp, "/invitations?done=sent")

    async def on_post_revoke(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        form = await url_form(self.context, req)
        await self.context.run(invitations.revoke, form.get("id", ""))
        see(resp, "/invitations?done=revoked")

    async def _show(self, req: Request, resp: Response, **values: Any) -> None:
        shown = {"done": "", "link": "", "error": None, "email": ""} | values
        recent = await self.context.run(invitations.recent)
        await self.render(
            req,
            resp,
            "account/invitations.html",
            days=DAYS,
            once=secrets.token_urlsafe(12),
            invitations=recent,
            is_good=invitations.is_good,
            is_vouched_for=invitations.is_vouched_for,
            person=invitations.person,
            **shown,
        )
