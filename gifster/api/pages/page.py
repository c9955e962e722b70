"""What all pages share."""

import falcon
from falcon.asgi import Request, Response

from gifster.api.auth import current_user
from gifster.api.context import Context
from gifster.app.models import User
from gifster.app.moderation import reports
from gifster.app.moderation.roles import Role, role_of

#: How many GIFs a page of them has.
PAGE_SIZE = 30


async def header_of(context: Context, req: Request) -> dict[str, object]:
    """What the header of a page needs to know: the user, whether they may add GIFs, and for
    moderators the number of open reports.

    Raises:
      Problem: 401, as `current_token()`.
    """
    user = await current_user(context, req)
    moderates = user is not None and role_of(user).covers(Role.MODERATOR)
    waiting = await context.run(reports.count_open) if moderates else 0
    return {"user": user, "may_write": may_write(context, user), "open_reports": waiting}


def may_write(context: Context, user: User | None) -> bool:
    """Whether to show the upload form."""
    return user is not None or context.anonymous_uploads


class Page:
    """The base of all pages."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def render(self, req: Request, resp: Response, template: str, **values: object) -> None:
        """Answer with a template, which also gets what the header needs to know."""
        values |= await header_of(self.context, req)
        values["form_token"] = self.context.form_tokens.for_page(req, resp)
        if code := getattr(values.get("error"), "code", ""):
            req.context.problem_code = code  # for the access log
        resp.content_type = falcon.MEDIA_HTML
        resp.text = self.context.templates.get_template(template).render(values)

    def may_write(self, user: User | None) -> bool:
        """Whether to show the upload form."""
        return may_write(self.context, user)


def see(resp: Response, location: str) -> None:
    """Send the browser to another page."""
    # Raising HTTPSeeOther would drop the cookie that has been set.
    resp.status = falcon.HTTP_303
    resp.location = location
