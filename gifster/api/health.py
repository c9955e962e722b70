"""`/healthz`: this process answers. `/readyz`: it can do its work."""

import dramatiq
import falcon
from falcon.asgi import Request, Response

from gifster import jobs
from gifster.api.context import Context


class Health:
    """For supervisors, which restart a process that hangs."""

    open_to_strangers = True

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = {"status": "ok"}


class Readiness:
    """For load balancers: 503 if the database does not answer, is not migrated, or takes no write.
    A process without a broker is ready: it still accepts uploads, and their jobs wait in the
    outbox."""

    open_to_strangers = True

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        database, broker = await self.context.run_unconnected(self._checks)
        resp.status = falcon.HTTP_503 if database else falcon.HTTP_200
        resp.media = {
            "status": "unavailable" if database else "ok",
            "checks": {"database": database or "ok", "broker": broker},
        }

    def _checks(self) -> tuple[str, str]:
        database = self.context.readiness.answer()
        try:
            jobs.ping(dramatiq.get_broker())
        except jobs.BrokerUnavailable as error:
            return database, str(error)
        return database, "ok"
