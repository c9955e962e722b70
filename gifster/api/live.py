"""Live pages: a page sends the GIFs that it shows, and their states; `POST /cards` answers with the
GIFs whose state has changed. `GET /events?gif=…&gif=…` is an event stream (SSE) for programs.

One query each half second serves all waiting requests of this process; while no request waits there
is no query. The number of waiting requests is limited (`places`).
"""

import asyncio
import logging
import re
import signal
import time
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeGuard

import peewee
from falcon.asgi import Request, Response, SSEvent

from gifster.api.adapter import GONE, Message
from gifster.api.auth import viewer_of
from gifster.api.bodies import json_object, wrong_field
from gifster.api.context import Context
from gifster.api.gifs import cards_json
from gifster.api.places import NoPlace, Place, Places
from gifster.api.problems import Problem
from gifster.app import lists
from gifster.app.access import Viewer, may_edit, may_see
from gifster.app.lists import Standing
from gifster.jobs.database_errors import is_database_error
from gifster.jobs.mounted import LATER
from gifster.jobs.wording import shown as quoted
from gifster.jobs.wording import wrong

logger = logging.getLogger("gifster.api")

INTERVAL_S = 0.5
PING_S = 15
#: How long a stream lasts. A browser that still waits opens a new one by itself.
LIFETIME_S = 300
#: How many GIFs a request may name, and how long a request for cards may wait for a change.
MAX_GIFS = 100
MAX_HOLD_S = 20
#: Databases limit the parameters of a query (PostgreSQL 65,535; SQLite 32,766, if not told more).
AT_ONCE = 500
#: When a stream or a page that found no place may try again (seconds).
STREAM_AGAIN_S, PAGE_AGAIN_S = 30, 5
ID = re.compile(r"[\w-]{1,40}", re.ASCII)

#: The state and the SHA-256 of the stored image; None for a GIF that is gone, or has no image yet.
Known = tuple[str | None, str | None]
#: What the database has of each GIF that was asked for; None for a GIF that is gone.
Standings = dict[str, Standing | None]


def read(gif_ids: Sequence[str]) -> Standings:
    """How far any number of GIFs are. Each may be gone, or have an impossible id."""
    found: Standings = dict.fromkeys(gif_ids)
    # PostgreSQL refuses a query with a NUL, which must not spoil the answers to other requests.
    possible = [gif_id for gif_id in found if ID.fullmatch(gif_id)]
    for some in peewee.chunked(possible, AT_ONCE):
        found |= lists.standings(list(some))
    return found


def known(standing: Standing | None, viewer: Viewer) -> Known:
    """What a viewer may know of a GIF. One in the trash is gone, and so is one that they may not
    see."""
    if standing is None or standing.in_trash:
        return None, None
    seen = may_see(standing.user_id, standing.visibility, False, standing.is_hidden, viewer)
    if not seen:
        return None, None
    original = may_edit(standing.user_id, viewer)
    return standing.state, standing.image if original else standing.shown


class Watch:
    """The queries that all waiting requests of this process share."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.stopping = False
        limits = context.settings.limits
        self.places = Places(limits.waiting if limits.enabled else None)
        self._found: Standings = {}
        self._waiting: list[Sequence[str]] = []
        self._looked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def process_startup(
        self, scope: Mapping[str, object], event: Mapping[str, object]
    ) -> None:
        """End all waiting on SIGTERM, since the server waits for open requests.

        The server has set a handler of the event loop, which a Python handler leaves in place.
        """
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: object) -> None:
        self.stopping = True

    @contextmanager
    def over(self, gif_ids: Sequence[str]) -> Iterator[None]:
        """Include these GIFs in each query."""
        self._waiting.append(gif_ids)
        try:
            yield
        finally:
            self._waiting.remove(gif_ids)

    async def look(self) -> Standings:
        """The result of the next query; empty if it fails, or takes more than `PING_S` seconds."""
        if self._task is None:
            self._task = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(PING_S):
                await self._looked.wait()
        except TimeoutError:
            return {}
        return self._found

    async def _look(self) -> None:
        try:
            while self._waiting:
                gif_ids = sorted({gif_id for some in self._waiting for gif_id in some})
                try:
                    self._found = await self.context.run(read, gif_ids)
                except Exception as error:
                    if not is_database_error(error):
                        raise
                    self._found = {}
                    logger.warning("the states cannot be read: %s", error)
                looked, self._looked = self._looked, asyncio.Event()
                looked.set()
                await asyncio.sleep(INTERVAL_S)
        finally:
            self._task = None


class Cards:
    """`POST {"shown": {id: [state, image]}, "wait_s": …}` with the GIFs that a page shows. The
    answer has the cards of the GIFs that differ, `{"cards": {id: HTML}}`, null for GIFs that are
    gone.

    The image is its SHA-256. If no GIF differs, the answer waits up to `wait_s` seconds until one
    does. While too many requests wait already, it comes at once, and its `Retry-After` says when to
    ask again (seconds). A page that asks again and again misses nothing, even if an answer is lost.
    """

    def __init__(self, context: Context, watch: Watch) -> None:
        self.context = context
        self.watch = watch

    async def on_post(self, req: Request, resp: Response) -> None:
        viewer = await viewer_of(self.context, req)
        shown, wait_s = _shown(await json_object(self.context, req))
        place = None
        if wait_s:
            try:
                place = self.watch.places.take(self.context.limits.address(req), shown)
            except NoPlace:
                resp.set_header("Retry-After", str(PAGE_AGAIN_S))
        if place is None:
            changed = await self._changed_now(shown, viewer)
        else:
            try:
                changed = await self._changed(shown, wait_s, viewer)
            finally:
                place.leave()
        resp.media = {"cards": await self.context.run(self._cards, changed, viewer)}

    async def _changed_now(self, shown: dict[str, Known], viewer: Viewer) -> list[str]:
        """With a query of its own: requests that do not wait would enlarge the shared one."""
        try:
            found = await self.context.run(read, list(shown))
        except peewee.PeeweeException as error:
            logger.warning("the states cannot be read: %s", error)
            raise _unavailable() from None
        return _unlike(shown, found, viewer)

    async def _changed(self, shown: dict[str, Known], wait_s: float, viewer: Viewer) -> list[str]:
        until = time.monotonic() + wait_s
        with self.watch.over(list(shown)):
            while True:
                found = await self.watch.look()
                if not found:
                    raise _unavailable()
                if not found.keys() >= shown.keys():
                    continue  # that query had begun before
                changed = _unlike(shown, found, viewer)
                if changed or self.watch.stopping or time.monotonic() >= until:
                    return changed

    def _cards(self, gif_ids: list[str], viewer: Viewer) -> dict[str, str | None]:
        card = self.context.templates.get_template("card.html")
        gifs = cards_json(lists.get_gifs(gif_ids, viewer), viewer)
        return dict.fromkeys(gif_ids) | {gif["id"]: card.render(gif=gif) for gif in gifs}


def _unlike(shown: dict[str, Known], found: Standings, viewer: Viewer) -> list[str]:
    """The GIFs that differ from what a page shows of them."""
    return [gif_id for gif_id, state in shown.items() if known(found[gif_id], viewer) != state]


def _unavailable() -> Problem:
    return Problem(503, "states_unavailable", "The states cannot be read now.", headers=LATER)


def _shown(document: dict[str, object]) -> tuple[dict[str, Known], float]:
    """The GIFs that a page shows, with None for empty texts, and how long it would wait
    (seconds)."""
    shown, wait_s = document.get("shown"), document.get("wait_s", 0)
    if not isinstance(shown, dict) or not 1 <= len(shown) <= MAX_GIFS:
        raise wrong_field("shown", shown, f"an object of 1 to {MAX_GIFS} GIFs")
    if odd := [gif_id for gif_id, one in shown.items() if not _is_pair(one)]:
        use = "[state, image], each a text or null"
        raise wrong_field(f"shown[{quoted(odd[0])}]", shown[odd[0]], use)
    if not _is_number(wait_s) or not 0 <= wait_s <= MAX_HOLD_S:
        raise wrong_field("wait_s", wait_s, f"0 to {MAX_HOLD_S} seconds")
    pairs = {gif_id: (state or None, image or None) for gif_id, (state, image) in shown.items()}
    return pairs, float(wait_s)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_pair(value: object) -> bool:
    match value:
        case [None | str(), None | str()]:
            return True
    return False


class Events:
    """`GET` an event stream of `{"id": …, "state": …, "image": …}`: first the present states, then
    each change. The state is null for a GIF that is gone; the image is its SHA-256, null until it
    is stored. While too many requests wait already, the answer is 429, and `Retry-After` says when
    to try again (seconds)."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    async def on_get(self, req: Request, resp: Response) -> None:
        ids = req.get_param_as_list("gif") or []
        if not 1 <= len(ids) <= MAX_GIFS:
            use = f"1 to {MAX_GIFS}, as in /events?gif=ID&gif=ID"
            raise Problem(400, "gif_missing", wrong("the number of gif", len(ids), use))
        viewer = await viewer_of(self.watch.context, req)
        try:
            place = self.watch.places.take(self.watch.context.limits.address(req), ids)
        except NoPlace as error:
            wait = {"Retry-After": str(STREAM_AGAIN_S)}
            raise Problem(429, "too_many_streams", str(error), headers=wait) from None
        resp.content_type = "text/event-stream"  # for HEAD; Falcon sends it with the stream itself
        resp.set_header("X-Accel-Buffering", "no")
        resp.sse = stream = self._stream(ids, viewer, place, req.scope)
        weakref.finalize(stream, place.leave)  # a stream that never begins has no `finally`

    async def _stream(
        self, ids: list[str], viewer: Viewer, place: Place, scope: Message
    ) -> AsyncIterator[SSEvent | None]:
        try:
            seen: dict[str, Known] = {}
            quiet_since = started = time.monotonic()
            with self.watch.over(ids):
                while not self.watch.stopping and GONE not in scope:
                    if time.monotonic() - started >= LIFETIME_S:
                        return
                    found = await self.watch.look()
                    for gif_id in ids:
                        if gif_id not in found:
                            continue
                        now = state, image = known(found[gif_id], viewer)
                        if seen.get(gif_id) != now:
                            seen[gif_id], quiet_since = now, time.monotonic()
                            told = {"id": gif_id, "state": state, "image": image}
                            yield SSEvent(event="gif", json=told)
                    if time.monotonic() - quiet_since >= PING_S:
                        quiet_since = time.monotonic()
                        yield None
        finally:
            place.leave()
