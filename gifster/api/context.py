"""The context that every resource gets: settings, templates, and threads for blocking work."""

import asyncio
import ctypes
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import dramatiq
from falcon.asgi import Request

from gifster import jobs
from gifster.api.body_places import Bodies
from gifster.api.devices import Devices
from gifster.api.fair_queue import FairQueue, TooBusy
from gifster.api.form_tokens import FormTokens
from gifster.api.group_commit import GroupCommit
from gifster.api.limits import RateLimits
from gifster.api.links import home, origin
from gifster.api.signed import Signatures
from gifster.api.templating import templates
from gifster.app.boot import broker_url
from gifster.app.database import db
from gifster.app.library import Quota
from gifster.app.readiness import Readiness
from gifster.app.settings import Settings
from gifster.app.tracing import carried
from gifster.imaging.probe import EXAMINED_AT_ONCE
from gifster.uploads.config import config
from gifster.uploads.to_the_end import to_the_end

__all__ = ["Context", "TooBusy"]

#: How many requests fetch at once, and how many there may be, with those that wait. One client has
#: at most half of the threads.
FETCHES, MAX_FETCHES = 4, 32
#: The same for checks of files in processes of their own, which take a tenth of a second each.
CHECKS, MAX_CHECKS = EXAMINED_AT_ONCE, 256
#: The same for the sign-in service. A whole team may come from one address.
SIGN_INS, MAX_SIGN_INS = 4, 256
#: How long they wait at most (seconds), so that everybody has an answer within a minute.
WAIT_S = 30.0

#: After fewer simultaneous uploads it is not worth while to give memory back. It is given back
#: when an eighth of them is left, and an eighth of these.
MANY, FEW_OF = 16, 8

P = ParamSpec("P")
R = TypeVar("R")


class Context:
    """The context of one web process.

    Parameters:
      settings: the application's.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        #: Whether only people who are logged in see the library.
        self.members_only = settings.auth.read == "members"
        #: Whether people without an account may upload; and change what was uploaded so.
        self.anonymous_uploads = settings.auth.anonymous_uploads and not self.members_only
        self.anonymous_changes = settings.auth.anonymous_changes and self.anonymous_uploads
        self.signatures = Signatures(settings.store.url_expires_s)
        self.form_tokens = FormTokens(settings.web)
        self.memory = Memory()
        self.bodies = Bodies()
        self.readiness = Readiness(lambda: jobs.ping(dramatiq.get_broker()))
        self.limits = RateLimits(settings, broker_url(settings))
        self.devices = Devices(config.secret, settings.web)
        limits = settings.limits
        #: How much a user may have.
        self.quota = Quota(limits.gifs_per_user, limits.bytes_per_user) if limits.enabled else None
        self.templates = templates(settings.web.root_path)
        self.templates.globals["public_url"] = settings.web.public_url
        self.templates.globals["members_only"] = self.members_only
        self.templates.globals["sign_up"] = settings.auth.sign_up
        self._threads = ThreadPoolExecutor(settings.web.threads, thread_name_prefix="blocking")
        self._commits = GroupCommit()
        # However many uploads come in, they occupy no thread that answers other requests.
        self._writing = ThreadPoolExecutor(settings.web.threads, thread_name_prefix="writing")
        # Nor do downloads, however slow the disk is.
        self._reading = ThreadPoolExecutor(settings.web.threads, thread_name_prefix="reading")
        # Nor do other people's servers and files, which may be slow.
        self._fetching = FairQueue(FETCHES, MAX_FETCHES, "fetching")
        # A check is soon over, so a client that is alone may have all threads.
        self._checking = FairQueue(CHECKS, MAX_CHECKS, "checking", each=CHECKS)
        self._signing_in = FairQueue(SIGN_INS, MAX_SIGN_INS, "signing-in", each=SIGN_INS)

    def for_strangers(self, path: str) -> str:
        """The path of a file as somebody needs it who does not log in: in a library for members,
        with a signature that ends."""
        return self.signatures.sign(path) if self.members_only else path

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run blocking work in a thread, with a database connection around it."""
        return await _in_thread(self._threads, functools.partial(_connected, work, *args, **kwargs))

    async def commit(self, work: Callable[[], R], committed: Callable[[], object]) -> R:
        """The result of work that writes an upload's rows, once they are committed. It shares the
        commit with other uploads that wait; see `GroupCommit.run()` for what the work may do.

        Parameters:
          work: writes, in one transaction. If it raises, nothing is written, not even what it wrote
            in a `transaction(db)` of its own.
          committed: is called on the thread right after the commit. It must not raise.
        """
        return await self._commits.run(carried(work), committed)

    async def run_unconnected(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The same without a database connection."""
        return await _in_thread(self._threads, functools.partial(work, *args, **kwargs))

    async def write(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The same for pieces of uploads."""
        return await _in_thread(self._writing, functools.partial(work, *args, **kwargs))

    async def read(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The same for pieces of files that are served."""
        return await _in_thread(self._reading, functools.partial(work, *args, **kwargs))

    async def fetch(
        self, req: Request, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The same for work that waits for other people's servers. Clients take turns.

        Parameters:
          req: the request; its client takes a turn.

        Raises:
          TooBusy: too many such requests wait already, or this one waited for too long.
        """
        refusal = "Too many URLs are being fetched now."
        task = functools.partial(work, *args, **kwargs)
        return await self._in_turn(self._fetching, refusal, req, task)

    async def check(
        self, req: Request, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The same for files that take long to check. Clients take turns.

        Parameters:
          req: the request; its client takes a turn.

        Raises:
          TooBusy: too many such files wait already, or this one waited for too long.
        """
        refusal = "Too many files of very many parts are being checked now."
        task = functools.partial(work, *args, **kwargs)
        return await self._in_turn(self._checking, refusal, req, task)

    async def sign_in(
        self, req: Request, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The same for work that waits for the sign-in service, however slow that is.

        Parameters:
          req: the request; its client takes a turn.

        Raises:
          TooBusy: too many such requests wait already, or this one waited for too long.
        """
        refusal = "Too many people are logging in now."
        task = functools.partial(work, *args, **kwargs)
        return await self._in_turn(self._signing_in, refusal, req, task)

    async def _in_turn(
        self, queue: FairQueue, refusal: str, req: Request, task: Callable[[], R]
    ) -> R:
        """The result of a task that runs when it is the turn of the request's client."""
        async with queue.place(refusal, self.client(req), WAIT_S) as threads:
            return await _in_thread(threads, task)

    def origin(self, req: Request) -> str:
        """What the storage's URLs in the answer begin with: see `links.origin()`."""
        return origin(req, self.settings.web)

    def home(self, req: Request) -> str:
        """What the library's own absolute addresses in the answer begin with: see
        `links.home()`."""
        return home(req, self.settings.web)

    def client(self, req: Request) -> str:
        """The client that takes turns: the user, or the address of somebody who is not logged
        in."""
        token = getattr(req.context, "token", None)
        return f"user {token.user_id}" if token else f"address {self.limits.address(req)}"


async def _in_thread(threads: ThreadPoolExecutor, work: Callable[[], R]) -> R:
    return await to_the_end(asyncio.get_running_loop().run_in_executor(threads, carried(work)))


def _connected(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    with db.connection_context():
        return work(*args, **kwargs)


class Memory:
    """Tells when the C library should give memory back. After many simultaneous uploads it keeps
    their memory, which lies scattered over the heap, for the next ones, which may be a week away.
    To be used on the event loop."""

    def __init__(self) -> None:
        self._now = self._most = 0

    def taken(self) -> None:
        """An upload has begun."""
        self._now += 1
        self._most = max(self._most, self._now)

    def given_back(self) -> bool:
        """An upload has ended: whether few are left of many. One that trickles in for hours must
        not keep the memory of a crowd."""
        self._now -= 1
        if self._most < MANY or self._now > self._most // FEW_OF:
            return False
        self._most = self._now
        return True


def trim() -> None:
    """Have the C library give memory back, where it can (glibc). Takes some milliseconds."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)
