"""`/jobs`, for admins: the library's jobs page (`gifster.jobs.page`) within Gifster's layout."""

import falcon
from falcon.asgi import Request, Response

from gifster.api.assets import ADDRESS
from gifster.api.auth import require_admin
from gifster.api.bodies import url_fields
from gifster.api.context import Context
from gifster.api.pages.page import Page
from gifster.app.boot import queue_weights
from gifster.jobs.page import views
from gifster.jobs.page.messages import MAX_FIELDS


class JobsPage(Page):
    """`GET` the page, or with `?state=…` all jobs of a state; `POST` the action of a button."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._weights = queue_weights(context.settings)
        root = context.settings.web.root_path
        #: What the library's templates need to know.
        self._mount = {
            "layout": "base.html",
            "here": f"{root}/jobs",
            "assets": f"{root}{ADDRESS}/jobs/",
            "site": "Gifster",
            "may_change": True,
        }

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        parameters = {name: req.get_param(name) or "" for name in req.params}
        state = parameters.get("state")
        template, view = (
            ("jobs/list.html", views.jobs_in) if state else ("jobs.html", views.overview)
        )
        values = await self.context.run(view, parameters, self._weights)
        await self.render(req, resp, template, **self._mount, **values)

    async def on_post(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        form = await url_fields(self.context, req, MAX_FIELDS)
        question = await self.context.run(views.question, form)
        if question is not None:
            await self.render(req, resp, "jobs/confirm.html", **self._mount, **question)
            return
        query = await self.context.run(views.act, form, self._weights)
        raise falcon.HTTPSeeOther(f"/jobs?{query}")
