"""The jobs as JSON, for admins: `/api/jobs`, `/api/queues`, `/api/workers`, `/api/stats`."""

import falcon
from falcon.asgi import Request, Response

from gifster import jobs
from gifster.api.auth import require_admin
from gifster.api.context import Context
from gifster.api.requests import JobQuery, PauseQueue, QuietWorker, StatsQuery
from gifster.api.validation import json_body, query
from gifster.app.boot import queue_weights
from gifster.jobs import admin
from gifster.jobs.admin import NotFound


class AdminResource:
    """The base of these resources."""

    def __init__(self, context: Context) -> None:
        self.context = context


class Jobs(AdminResource):
    """`GET` the jobs in a state."""

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        asked = query(req, JobQuery)
        found, following = await self.context.run(
            admin.page_of, asked.state, asked.cursor, asked.limit, queue=asked.queue, text=asked.q
        )
        resp.media = {"items": [admin.job_json(job) for job in found], "next": following}


class OneJob(AdminResource):
    """`GET` a job; `DELETE` one that is not running; `POST …/retry` one that is dead or waits for
    a later time."""

    async def on_get(self, req: Request, resp: Response, job_id: str) -> None:
        await require_admin(self.context, req)
        resp.media = admin.job_json(await self.context.run(admin.get_job, job_id))

    async def on_delete(self, req: Request, resp: Response, job_id: str) -> None:
        await require_admin(self.context, req)
        await self.context.run(admin.drop, job_id)
        resp.status = falcon.HTTP_204

    async def on_post_retry(self, req: Request, resp: Response, job_id: str) -> None:
        await require_admin(self.context, req)
        resp.media = admin.job_json(await self.context.run(admin.retry, job_id))


class Queues(AdminResource):
    """`GET` all queues."""

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        found = await self.context.run(admin.queues, queue_weights(self.context.settings))
        resp.media = {"items": [admin.queue_json(queue) for queue in found], "next": None}


class OneQueue(AdminResource):
    """`PATCH` a queue: `paused`."""

    async def on_patch(self, req: Request, resp: Response, queue: str) -> None:
        await require_admin(self.context, req)
        wish = await json_body(self.context, req, PauseQueue)
        changed = await self.context.run(
            admin.set_paused, queue, wish.paused, queue_weights(self.context.settings)
        )
        resp.media = admin.queue_json(changed)


class Workers(AdminResource):
    """`GET` all worker processes."""

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        workers = await self.context.run(_workers)
        resp.media = {"items": list(workers.values()), "next": None}


class OneWorker(AdminResource):
    """`PATCH` a worker process: `quiet`."""

    async def on_patch(self, req: Request, resp: Response, worker_id: str) -> None:
        await require_admin(self.context, req)
        wish = await json_body(self.context, req, QuietWorker)

        def work() -> object:
            admin.set_quiet(worker_id, wish.quiet)
            worker = _workers().get(worker_id)
            if worker is None:  # it has ended in between
                raise NotFound("worker_not_found", f"There is no worker {worker_id}.")
            return worker

        resp.media = await self.context.run(work)


class Stats(AdminResource):
    """`GET` the stats, with a history of `span`, and the recurring jobs."""

    async def on_get(self, req: Request, resp: Response) -> None:
        await require_admin(self.context, req)
        span = query(req, StatsQuery).span or "hour"
        resp.media = await self.context.run(admin.stats_json, span)


def _workers() -> dict[str, object]:
    """All worker processes as JSON, by id."""
    busy = admin.busy()
    return {worker.id: admin.worker_json(worker, busy[worker.id]) for worker in jobs.workers()}
