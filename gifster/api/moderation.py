"""Moderation by HTTP. Readers report GIFs (`/api/gifs/{id}/reports`); moderators hide and remove
them (`/api/gifs/{id}/moderation`), and close reports (`/api/reports`); admins read the log
(`/api/moderation/log`)."""

from collections.abc import Sequence
from typing import cast

import falcon
from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import (
    current_user,
    require_admin,
    require_moderator,
    viewer_of,
)
from gifster.api.context import Context
from gifster.api.gifs import gifs_json, whole_json
from gifster.api.requests import CloseReport, LogQuery, ModerateGif, Query, ReportGif
from gifster.api.validation import json_body, query
from gifster.app.access import Viewer, may_see_gif
from gifster.app.models import User, rfc3339
from gifster.app.moderation import hiding, log, reports
from gifster.app.moderation.log import ModerationEntry
from gifster.app.moderation.reports import Report


async def moderator(context: Context, req: Request) -> tuple[User, Viewer]:
    """The user, who is a moderator and acts now, also as a viewer.

    Raises:
      Problem: 401, 403, as `require_moderator()`.
      RateLimited
    """
    user = await require_moderator(context, req)
    await context.run_unconnected(context.limits.edit, req, user)
    return user, await viewer_of(context, req)


async def reporter(context: Context, req: Request) -> tuple[User | None, Viewer]:
    """Somebody who reports a GIF, with or without an account.

    Raises:
      Problem: 401, a token that is wrong.
      RateLimited
    """
    user = await current_user(context, req)
    await context.run_unconnected(context.limits.report, req, user)
    return user, await viewer_of(context, req)


def report_json(report: Report, viewer: Viewer) -> schemas.Report:
    """A report as JSON. Its GIF is null if the moderator may not see it (any more)."""
    named: schemas.ReportedGif = {"id": report.gif_id, "title": report.gif.title}
    return {
        "id": report.id,
        "gif": named if may_see_gif(report.gif, viewer) else None,
        "user_id": report.user_id,
        "reason": report.reason,
        "text": report.text,
        "created_at": rfc3339(report.created_at),
        "closed_at": report.closed_at and rfc3339(report.closed_at),
        "verdict": report.verdict,
    }


def log_json(entries: Sequence[ModerationEntry]) -> list[schemas.ModerationEntry]:
    """Entries of the log as JSON."""
    return [cast("schemas.ModerationEntry", log.entry_json(one)) for one in entries]


class GifReports:
    """`POST` a report."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_post(self, req: Request, resp: Response, gif_id: str) -> None:
        user, viewer = await reporter(self.context, req)
        wish = await json_body(self.context, req, ReportGif)
        await self.context.run(reports.report, gif_id, viewer, user, wish.reason, wish.text or "")
        resp.status = falcon.HTTP_204


class GifModeration:
    """`POST` an action of a moderator with its reason: `hide`, `unhide`, `remove`, `restore`."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_post(self, req: Request, resp: Response, gif_id: str) -> None:
        user, viewer = await moderator(self.context, req)
        wish = await json_body(self.context, req, ModerateGif)
        origin = self.context.origin(req)

        def work() -> schemas.WholeGif:
            gif = hiding.moderate(gif_id, wish.action, user, viewer.reach, wish.reason)
            return whole_json(gif, viewer, origin)

        resp.media = await self.context.run(work)


class Reports:
    """`GET` the open reports."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_moderator(self.context, req)
        asked, viewer = query(req, Query), await viewer_of(self.context, req)

        def work() -> schemas.ReportList:
            found, following = reports.open_reports(cursor=asked.cursor, limit=asked.limit)
            return {"items": [report_json(one, viewer) for one in found], "next": following}

        resp.media = await self.context.run(work)


class OneReport:
    """`PATCH` a report: its `verdict` closes it."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_patch(self, req: Request, resp: Response, report_id: str) -> None:
        user, viewer = await moderator(self.context, req)
        wish = await json_body(self.context, req, CloseReport)

        def work() -> schemas.Report:
            closed = reports.close(report_id, wish.verdict, user, wish.reason or "")
            return report_json(closed, viewer)

        resp.media = await self.context.run(work)


class HiddenGifs:
    """`GET` the GIFs that moderators have hidden or removed."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_moderator(self.context, req)
        asked, origin = query(req, Query), self.context.origin(req)
        viewer = await viewer_of(self.context, req)

        def work() -> schemas.GifList:
            gifs, following = hiding.hidden(cursor=asked.cursor, limit=asked.limit)
            return {"items": gifs_json(gifs, viewer, origin), "next": following}

        resp.media = await self.context.run(work)


class ModerationLog:
    """`GET` the log, for admins."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        asked = query(req, LogQuery)

        def work() -> schemas.ModerationLog:
            found, following = log.entries(gif_id=asked.gif, cursor=asked.cursor, limit=asked.limit)
            return {"items": log_json(found), "next": following}

        resp.media = await self.context.run(work)
