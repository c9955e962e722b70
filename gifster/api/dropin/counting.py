"""What people choose, as clients tell it: Tenor's `registershare`, GIPHY's analytics addresses and
pingbacks. It makes GIFs popular; who it was is neither asked nor kept."""

import json
import re
from typing import Any

from falcon.asgi import Request, Response

from gifster.api.bodies import small_body
from gifster.api.context import Context
from gifster.api.dropin.asked import Asked
from gifster.api.dropin.envelopes import meta
from gifster.app import lists, search

#: What a client says when somebody takes a GIF. That it was seen says nothing: a whole page is.
USES = {"click", "onclick", "sent", "onsent", "favorite"}
#: How many events of one request count.
MOST_EVENTS = 50
_PAYLOAD = re.compile(r"gif=([0-9A-Za-z]{12})\b")


def count_use(gif_id: str, client: str, q: str = "") -> None:
    """Count that somebody took a GIF, if a stranger may see it.

    Parameters:
      client: the address of the client, which is not kept. Each counts once an hour.
      q: the search that had found it.
    """
    if lists.get_gifs([gif_id]):
        search.used(gif_id, q, client=client)


class Analytics:
    """GIPHY's analytics addresses, which each GIF has. They need no key: no client sends one."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        asked = Asked.of(req, self._context.limits.address(req))

        def work() -> None:
            self._context.limits.search(req)
            if asked.raw("action").lower() in USES:
                for gif_id in asked.ids("gif_id", 1):
                    count_use(gif_id, asked.client)

        await self._context.run(work)
        resp.media = {"data": [], "meta": meta()}


class Pingback:
    """GIPHY's pingbacks: events as JSON, in one of two shapes. What cannot be read is ignored, as
    no client could do anything about it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def on_post(self, req: Request, resp: Response) -> None:
        used = used_in(await small_body(self._context, req))
        client = self._context.limits.address(req)

        def work() -> None:
            self._context.limits.search(req)
            for gif_id in used:
                count_use(gif_id, client)

        await self._context.run(work)
        resp.media = {"data": [], "meta": meta()}


def used_in(body: bytes) -> list[str]:
    """The ids of the GIFs that somebody took, by the events in a body."""
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        return []
    events: Any = []
    if isinstance(sent, dict):
        events = sent.get("events") or sent.get("actions") or [sent]
    if not isinstance(events, list):
        return []
    found = [_used(event) for event in events[:MOST_EVENTS] if isinstance(event, dict)]
    return list(dict.fromkeys(filter(None, found)))


def _used(event: dict[str, Any]) -> str:
    if str(event.get("action_type", ""))[:20].lower() not in USES:
        return ""
    named = _PAYLOAD.match(f"gif={event.get('gif_id')}") or _PAYLOAD.match(
        str(event.get("analytics_response_payload", ""))
    )
    return named[1] if named else ""
