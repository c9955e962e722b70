"""`/healthz`: this process answers. `/readyz`: it can do its work."""

from typing import Any

import dramatiq
import falcon

from gifster import database, jobs
from gifster.api.context import Context
from gifster.database import db


class Health:
    """For whoever restarts a process that hangs."""

    async def on_get(self, req: Any, resp: Any) -> None:
        resp.media = {"status": "ok"}


class Readiness:
    """For whoever sends traffic. A broker that is away does not make us unready: uploads are still
    accepted, and their jobs wait in the outbox."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Any, resp: Any) -> None:
        checks = await self.context.run_unconnected(_checks)
        ready = checks["database"] == "ok"
        resp.status = falcon.HTTP_200 if ready else falcon.HTTP_503
        resp.media = {"status": "ok" if ready else "unavailable", "checks": checks}


def _checks() -> dict[str, str]:
    try:
        with db.connection_context():
            pending = database.pending_migrations()
        state = f"pending migrations: {', '.join(pending)}" if pending else "ok"
    except Exception as error:  # noqa: BLE001 whatever it is, it is the answer
        state = str(error) or type(error).__name__
    try:
        jobs.ping(dramatiq.get_broker())
        broker = "ok"
    except jobs.BrokerUnavailable as error:
        broker = str(error)
    return {"database": state, "broker": broker}
