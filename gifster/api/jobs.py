"""The jobs as JSON, for admins: `/api/jobs`, `/api/queues`, `/api/workers`, `/api/stats`."""

from typing import Any

import falcon

from gifster import jobs
from gifster.api.auth import require_admin
from gifster.api.context import Context
from gifster.api.gifs import asked_limit
from gifster.api.problems import Problem
from gifster.api.receive import json_object
from gifster.app import jobs_admin
from gifster.app.library import NotFound


class AdminResource:
    """What these resources share."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def flag(self, req: Any, name: str) -> bool:
        """The one field of a JSON body: true or false.

        Raises:
          Problem: 422, it is not there, or another is.
        """
        body = await json_object(self.context, req)
        if set(body) != {name} or not isinstance(body[name], bool):
            raise Problem(422, "field_invalid", f'Send {{"{name}": true}} or false.')
        return bool(body[name])


class Jobs(AdminResource):
    """`GET` the jobs in a state."""

    async def on_get(self, req: Any, resp: Any) -> None:
        await require_admin(self.context, req)
        state, cursor = req.get_param("state") or "", req.get_param("cursor") or ""
        limit = asked_limit(req)

        def work() -> dict[str, Any]:
            found, following = jobs_admin.page_of(state, cursor, limit)
            return {"items": [jobs_admin.job_json(job) for job in found], "next": following}

        resp.media = await self.context.run(work)


class OneJob(AdminResource):
    """`GET` a job; `DELETE` a dead one; `POST …/retry` one that is dead or waits for later."""

    async def on_get(self, req: Any, resp: Any, job_id: str) -> None:
        await require_admin(self.context, req)
        resp.media = jobs_admin.job_json(await self.context.run(jobs_admin.get_job, job_id))

    async def on_delete(self, req: Any, resp: Any, job_id: str) -> None:
        await require_admin(self.context, req)
        await self.context.run(jobs_admin.drop, job_id)
        resp.status = falcon.HTTP_204

    async def on_post_retry(self, req: Any, resp: Any, job_id: str) -> None:
        await require_admin(self.context, req)
        resp.media = jobs_admin.job_json(await self.context.run(jobs_admin.retry, job_id))


class Queues(AdminResource):
    """`GET` all queues."""

    async def on_get(self, req: Any, resp: Any) -> None:
        await require_admin(self.context, req)
        found = await self.context.run(jobs_admin.queues, self.context.settings)
        resp.media = {"items": [jobs_admin.queue_json(queue) for queue in found], "next": None}


class OneQueue(AdminResource):
    """`PATCH` a queue: `paused`."""

    async def on_patch(self, req: Any, resp: Any, queue: str) -> None:
        await require_admin(self.context, req)
        paused = await self.flag(req, "paused")
        settings = self.context.settings
        resp.media = jobs_admin.queue_json(
            await self.context.run(jobs_admin.set_paused, settings, queue, paused)
        )


class Workers(AdminResource):
    """`GET` all worker processes."""

    async def on_get(self, req: Any, resp: Any) -> None:
        await require_admin(self.context, req)
        items = await self.context.run(_workers)
        resp.media = {"items": items, "next": None}


class OneWorker(AdminResource):
    """`PATCH` a worker process: `quiet`."""

    async def on_patch(self, req: Any, resp: Any, worker_id: str) -> None:
        await require_admin(self.context, req)
        quiet = await self.flag(req, "quiet")

        def work() -> dict[str, Any]:
            jobs_admin.set_quiet(worker_id, quiet)
            worker = jobs.Worker.get_or_none(jobs.Worker.id == worker_id)
            if worker is None:  # it has ended in between
                raise NotFound("worker_not_found", f"There is no worker {worker_id}.")
            return jobs_admin.worker_json(worker, jobs_admin.busy()[worker_id])

        resp.media = await self.context.run(work)


class Stats(AdminResource):
    """`GET` what was done, by `span`, and what recurs."""

    async def on_get(self, req: Any, resp: Any) -> None:
        await require_admin(self.context, req)
        span = req.get_param("span") or "hour"
        resp.media = await self.context.run(jobs_admin.stats_json, span)


def _workers() -> list[dict[str, Any]]:
    busy = jobs_admin.busy()
    return [jobs_admin.worker_json(worker, busy[worker.id]) for worker in jobs.workers()]
