"""`/healthz`: this process answers. `/readyz`: it can do its work."""

import falcon
from falcon.asgi import Request, Response

from gifster.api.context import Context


class Health:
    """For supervisors, which restart a process that hangs."""

    open_to_strangers = True

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = {"status": "ok"}


class Readiness:
    """For load balancers: 503 if the database does not answer, is not migrated, or takes no write.
    A process without a broker is ready: it still accepts uploads, and their jobs wait in the
    outbox. It answers in time, whatever does not. A process that is about to stop is not ready."""

    open_to_strangers = True

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        readiness = self.context.readiness
        database, broker = await self.context.run_unconnected(
            lambda: (readiness.answer(), readiness.broker())
        )
        status = "stopping" if readiness.draining else "unavailable" if database else "ok"
        resp.status = falcon.HTTP_200 if status == "ok" else falcon.HTTP_503
        resp.media = {
            "status": status,
            "checks": {"database": database or "ok", "broker": broker or "ok"},
        }
