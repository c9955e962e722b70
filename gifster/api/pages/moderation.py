"""The pages of moderation: `/moderation` with the open reports, `/moderation/hidden`, and
`/moderation/log` for admins; and the forms on the page of a GIF."""

from urllib.parse import urlencode

import falcon
from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import require_admin, require_moderator, viewer_of
from gifster.api.bodies import url_form
from gifster.api.gifs import cards_json
from gifster.api.moderation import log_json, moderator, report_json, reporter
from gifster.api.pages.page import PAGE_SIZE, Page
from gifster.app import library
from gifster.app.access import Viewer, may_see_gif
from gifster.app.errors import Invalid
from gifster.app.models import Gif
from gifster.app.moderation import hiding, log, reports


class ReportForm(Page):
    """`/gifs/{id}/report`: `GET` the form, `POST` what it says. It works without an account."""

    async def on_get(self, req: Request, resp: Response, gif_id: str) -> None:
        await self._show(req, resp, gif_id)

    async def on_post(self, req: Request, resp: Response, gif_id: str) -> None:
        user, viewer = await reporter(self.context, req)
        sent = await url_form(self.context, req)
        reason, text = sent.get("reason", ""), sent.get("text", "")
        try:
            await self.context.run(reports.report, gif_id, viewer, user, reason, text)
        except Invalid as error:
            resp.status = falcon.HTTP_422
            await self._show(req, resp, gif_id, sent, error)
            return
        await self.render(req, resp, "reported.html", gif_id=gif_id)

    async def _show(
        self,
        req: Request,
        resp: Response,
        gif_id: str,
        typed: dict[str, str] | None = None,
        refusal: Invalid | None = None,
    ) -> None:
        viewer = await viewer_of(self.context, req)
        title = await self.context.run(lambda: library.get_gif(gif_id, viewer).title)
        await self.render(
            req, resp, "report.html", gif_id=gif_id, title=title, typed=typed or {}, refusal=refusal
        )


class ModerateForm(Page):
    """`POST` to `/gifs/{id}/moderate`: hide, unhide, remove or restore a GIF, with a reason."""

    async def on_post(self, req: Request, resp: Response, gif_id: str) -> None:
        user, viewer = await moderator(self.context, req)
        sent = await url_form(self.context, req)
        action, reason = sent.get("action", ""), sent.get("reason", "")
        await self.context.run(hiding.moderate, gif_id, action, user, viewer.reach, reason)
        raise falcon.HTTPSeeOther(f"/gifs/{gif_id}")


class ReportsPage(Page):
    """`/moderation`: `GET` the open reports by GIF, `POST` a verdict about all those of one."""

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_moderator(self.context, req)
        viewer = await viewer_of(self.context, req)

        def work() -> dict[str, object]:
            cursor = req.get_param("cursor") or ""
            found, following = reports.open_reports(cursor=cursor, limit=PAGE_SIZE)
            gifs = {one.gif_id: one.gif for one in found}
            return {
                "cases": _cases(gifs, found, viewer),
                "next_query": following and urlencode({"cursor": following}),
            }

        await self.render(req, resp, "moderation.html", **await self.context.run(work))

    async def on_post(self, req: Request, resp: Response) -> None:
        user, _ = await moderator(self.context, req)
        sent = await url_form(self.context, req)
        gif_id, verdict, reason = (sent.get(name, "") for name in ("gif", "verdict", "reason"))
        await self.context.run(reports.close_reports, gif_id, verdict, user, reason)
        raise falcon.HTTPSeeOther("/moderation")


def _cases(
    gifs: dict[str, Gif], found: list[reports.Report], viewer: Viewer
) -> list[dict[str, object]]:
    """The reports of a page, by their GIFs. A GIF that its owner has made private is left out."""
    seen = [gif for gif in gifs.values() if may_see_gif(gif, viewer)]
    facts = {gif["id"]: gif for gif in cards_json(seen, viewer)}
    return [
        {
            "gif_id": gif_id,
            "gif": facts.get(gif_id),
            "reports": [
                {**report_json(one, viewer), "by": one.user and one.user.name}
                for one in found
                if one.gif_id == gif_id
            ],
        }
        for gif_id in gifs
    ]


class HiddenPage(Page):
    """`/moderation/hidden`: the GIFs that moderators have hidden or removed."""

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_moderator(self.context, req)
        viewer = await viewer_of(self.context, req)

        def work() -> dict[str, object]:
            gifs, following = hiding.hidden(cursor=req.get_param("cursor") or "", limit=PAGE_SIZE)
            return {
                "gifs": cards_json(gifs, viewer),
                "hidings": log.hidings([gif.id for gif in gifs]),
                "next_query": following and urlencode({"cursor": following}),
            }

        await self.render(req, resp, "hidden.html", **await self.context.run(work))


class LogPage(Page):
    """`/moderation/log`, for admins: what moderators did."""

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        gif_id = req.get_param("gif") or ""

        def work() -> tuple[list[schemas.ModerationEntry], str | None]:
            found, following = log.entries(
                gif_id=gif_id, cursor=req.get_param("cursor") or "", limit=PAGE_SIZE
            )
            return log_json(found), following

        entries, following = await self.context.run(work)
        more = {"gif": gif_id, "cursor": following or ""}
        query = following and urlencode({name: text for name, text in more.items() if text})
        await self.render(
            req, resp, "moderation_log.html", entries=entries, gif_id=gif_id, next_query=query
        )
