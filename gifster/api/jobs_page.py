"""`/jobs`, for admins: queues, workers, jobs by state, recurring jobs and statistics. Plain forms
and plain HTML; with JavaScript the page updates itself."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

import falcon
from falcon.asgi import Request, Response

from gifster import jobs
from gifster.api.auth import require_admin
from gifster.api.pages import Page
from gifster.api.problems import Problem
from gifster.api.receive import url_form
from gifster.app import jobs_admin
from gifster.jobs import Span, State

#: How many jobs of a state `/jobs` shows, and the page of that state.
FEW, MANY = 10, 50
#: The graph's size, in pixels of its own.
WIDTH, HEIGHT = 720, 120
FORMATS = {"hour": "%H:%M", "day": "%H:00", "month": "%d %b"}

TITLES = {
    State.RUNNING: "Running",
    State.WAITING: "Waiting for a worker",
    State.RETRYING: "Retries",
    State.SCHEDULED: "Scheduled",
    State.DEAD: "Dead",
}


@dataclass(frozen=True)
class Bar:
    """A bar of the graph: its place, and the heights of its two parts (pixels of the graph)."""

    x: float
    width: float
    done: float
    failed: float
    label: str
    span: Span


class JobsPage(Page):
    """`GET` the page, or with `?state=…` all jobs of a state; `POST` the action of a button."""

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        if state := req.get_param("state"):
            await self._one_state(req, resp, state)
            return
        span = req.get_param("span") or "hour"

        def work() -> dict[str, object]:
            history = jobs_admin.history(span)
            return {
                "queues": jobs_admin.queues(self.context.settings),
                "workers": jobs.workers(),
                "busy": jobs_admin.busy(),
                "lists": {state: jobs_admin.page_of(state, "", FEW) for state in TITLES},
                "recurring": jobs.recurring_jobs(),
                "history": history,
                "bars": _bars(history, FORMATS[span]),
                "totals": list(jobs.totals()),
            }

        values = await self.context.run(work)
        await self._show(req, resp, "jobs.html", span=span, spans=list(FORMATS), **values)

    async def _one_state(self, req: Request, resp: Response, text: str) -> None:
        cursor = req.get_param("cursor") or ""
        found, following = await self.context.run(jobs_admin.page_of, text, cursor, MANY)
        more = urlencode({"state": text, "cursor": following}) if following else None
        await self._show(req, resp, "jobs_list.html", state=State(text), jobs=found, more=more)

    async def _show(self, req: Request, resp: Response, template: str, **values: object) -> None:
        done = req.get_param("done")
        await self.render(
            req,
            resp,
            template,
            titles=TITLES,
            width=WIDTH,
            height=HEIGHT,
            now=time.time(),
            moment=jobs_admin.moment,
            ago=ago,
            dumps=lambda value: json.dumps(value, ensure_ascii=False),
            notice=DONE.get(done, "") if done else "",
            **values,
        )

    async def on_post(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        form = await url_form(self.context, req)
        do, of = form.get("do", ""), form.get("of", "")
        settings = self.context.settings
        acts: dict[str, Callable[[], object]] = {
            "retry": lambda: jobs_admin.retry(of),
            "delete": lambda: jobs_admin.drop(of),
            "retry_all": lambda: jobs_admin.all_dead(jobs.retry),
            "delete_all": lambda: jobs_admin.all_dead(jobs.drop),
            "pause": lambda: jobs_admin.set_paused(settings, of, True),
            "resume": lambda: jobs_admin.set_paused(settings, of, False),
            "quiet": lambda: jobs_admin.set_quiet(of, True),
            "wake": lambda: jobs_admin.set_quiet(of, False),
        }
        if do not in acts:
            raise Problem(422, "field_invalid", f"do must be one of {', '.join(acts)}.")
        await self.context.run(acts[do])
        back = {"done": do}
        if form.get("state") in set(State):
            back["state"] = form["state"]
        raise falcon.HTTPSeeOther(f"/jobs?{urlencode(back)}")


DONE = {
    "retry": "The job was sent to the workers.",
    "delete": "The job was deleted.",
    "retry_all": "All dead jobs were sent to the workers.",
    "delete_all": "All dead jobs were deleted.",
    "pause": "The queue is paused: its jobs wait.",
    "resume": "The queue is running again.",
    "quiet": "The worker finishes its jobs, and takes no new ones.",
    "wake": "The worker takes jobs again.",
}


def ago(seconds: float) -> str:
    """A duration for people: `8 s`, `4 min`, `3 h`, `2 d`."""
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length * 2:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s" if seconds >= 10 or seconds <= 0 else f"{seconds:.1f} s"


def _bars(history: list[Span], form: str) -> list[Bar]:
    most = max([span.done + span.failed for span in history] + [1])
    width = WIDTH / len(history)
    return [
        Bar(
            x=round(number * width, 2),
            width=round(width * 0.8, 2),
            done=round(span.done / most * HEIGHT, 2),
            failed=round(span.failed / most * HEIGHT, 2),
            label=datetime.fromtimestamp(span.begin, UTC).strftime(form),
            span=span,
        )
        for number, span in enumerate(history)
    ]
