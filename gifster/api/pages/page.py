"""What all pages share."""

import falcon
from falcon.asgi import Request, Response

from gifster.api.auth import (
    current_user,
)
from gifster.api.context import Context
from gifster.app.models import User
from gifster.app.moderation import reports
from gifster.app.moderation.roles import Role, role_of

#: How many GIFs a page of them has.
PAGE_SIZE = 30


class Page:
    """The base of all pages."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def render(self, req: Request, resp: Response, template: str, **values: object) -> None:
        """Answer with a template, which also gets the user, and for moderators the open reports."""
        user = await current_user(self.context, req)
        moderates = user is not None and role_of(user).covers(Role.MODERATOR)
        waiting = await self.context.run(reports.count_open) if moderates else 0
        values |= {"user": user, "may_write": self.may_write(user), "open_reports": waiting}
        values["form_token"] = self.context.form_tokens.for_page(req, resp)
        if code := getattr(values.get("error"), "code", ""):
            req.context.problem_code = code  # for the access log
        resp.content_type = falcon.MEDIA_HTML
        resp.text = self.context.templates.get_template(template).render(values)

    def may_write(self, user: User | None) -> bool:
        """Whether to show the upload form."""
        return user is not None or self.context.anonymous_uploads


def see(resp: Response, location: str) -> None:
    """Send the browser to another page."""
    # Raising HTTPSeeOther would drop the cookie that has been set.
    resp.status = falcon.HTTP_303
    resp.location = location
