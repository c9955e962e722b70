"""Rate limits, by address and by user or account.

Addresses, users, accounts and browsers have separate keys, so that an account named like an address
is not counted as one. The counters are in Redis, where all web processes share them. Without Redis
each process counts for itself, so that no upload waits for a broker.
"""

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import redis
from falcon.asgi import Request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from gifster.api.devices import account_key
from gifster.api.forwarded import client_address, client_network
from gifster.app.models import User
from gifster.app.numbers import counted
from gifster.app.settings import NAMESPACE, Settings
from gifster.jobs.brokers.refusals import explained, leave_a_replica, refusal
from gifster.jobs.problem import Problem

logger = logging.getLogger("gifster.limits")

#: How soon Redis must answer, and how long it is left alone when it did not (seconds).
ANSWER_S = 0.5
AWAY_S = 10.0

Limiter = SlidingWindowCounterRateLimiter
R = TypeVar("R")
#: A limit, and the parts of the key that it counts.
Count = tuple[RateLimitItem, *tuple[str, ...]]


class RateLimited(Exception):
    """Too many requests. `wait_s`: when to try again (seconds)."""

    def __init__(self, what: str, wait_s: int) -> None:
        minutes = math.ceil(wait_s / 60)
        wait = counted(wait_s, "second") if wait_s < 120 else counted(minutes, "minute")
        super().__init__(f"Too many {what} for now. Try again in {wait}.")
        self.wait_s = wait_s


class RateLimits:
    """The limits of one web process. All methods block; call them in a thread.

    Parameters:
      settings: the application's.
      broker_url: the broker. If it is Redis, the counters are kept there, unless the settings name
        another one.
    """

    def __init__(self, settings: Settings, broker_url: str) -> None:
        limits = settings.limits
        self._on, self._web = limits.enabled, settings.web
        self._sign_up = parse(limits.sign_up)
        self._log_in = parse(limits.log_in)
        self._log_in_account = parse(limits.log_in_account)
        self._log_in_everywhere = parse(limits.log_in_account_everywhere)
        self._mail, self._mail_account = parse(limits.mail), parse(limits.mail_account)
        self._upload, self._edit = parse(limits.upload), parse(limits.edit)
        self._search = parse(limits.search)
        self._use = parse(limits.use)
        self._report = parse(limits.report)
        self._own = Limiter(MemoryStorage())
        url = limits.url or broker_url
        in_redis = not url.startswith(("amqp", "stub"))
        namespace = settings.broker.namespace
        self._pool = _pool(url) if in_redis else None
        self._shared = self._own if self._pool is None else _in_redis(self._pool, namespace)
        self._away_until = 0.0
        self._problem = Problem(logger)

    def address(self, req: Request) -> str:
        """The key by which a request is counted: the IPv4 address of its client, or the /64 network
        of its IPv6 address. Does not block."""
        return client_network(client_address(req, self._web))

    def sign_up(self, req: Request) -> None:
        """Count a sign-up.

        Raises:
          RateLimited: too many from this address.
        """
        self._count("sign-ups", (self._sign_up, "sign_up", self._here(req)))

    def log_in(self, req: Request, email: str, device: str | None = None) -> None:
        """Count an attempt to log in, whether it will succeed or not.

        Parameters:
          device: the browser, if it has logged in to the account before (`devices`). It has
            attempts of its own, and shares everybody's once those are used up.

        Raises:
          RateLimited: too many from this address, for this account from this address, or for this
            account from everywhere.
        """
        if device is not None and self._hit(self._log_in, "log_in", f"device:{device}"):
            return
        here, account = self._here(req), f"account:{account_key(email)}"
        self._count(
            "attempts to log in",
            (self._log_in, "log_in", here),
            (self._log_in_account, "log_in", account, here),
            (self._log_in_everywhere, "log_in", account),
        )

    def check_sign_in(self, req: Request) -> None:
        """Check whether an address may try to log in without a password. Only attempts that failed
        count: a whole team may come from one address in the morning.

        Raises:
          RateLimited: too many have failed from this address.
        """
        key = ["sign_in", self._here(req)]
        if self._on and not self._ask(lambda limiter: limiter.test(self._log_in, *key)):
            resets_at = self._ask(partial(_resets_at, self._log_in, key))
            raise RateLimited("attempts to log in", max(1, math.ceil(resets_at - time.time())))

    def sign_in_failed(self, req: Request) -> None:
        """Count an attempt to log in without a password that has failed."""
        self._hit(self._log_in, "sign_in", self._here(req))

    def logged_in(self, req: Request, email: str, device: str | None = None) -> None:
        """Forget the attempts for an account by this browser or from this address, after one that
        succeeded. The attempts of others, and for other accounts, stay counted."""
        account = f"account:{account_key(email)}"
        self._clear(self._log_in_account, "log_in", account, self._here(req))
        if device is not None:
            self._clear(self._log_in, "log_in", f"device:{device}")

    def mail(self, req: Request, email: str) -> None:
        """Count a mail that somebody asks for, whether it will be sent or not.

        Parameters:
          email: the address that would get it, in the form of `addresses.account_of()`.

        Raises:
          RateLimited: too many from this address, or to that one.
        """
        account = f"account:{account_key(email)}"
        self._count(
            "mails", (self._mail, "mail", self._here(req)), (self._mail_account, "mail", account)
        )

    def upload(self, req: Request, user: User | None) -> None:
        """Count an upload.

        Raises:
          RateLimited: too many from this address, or by this user.
        """
        self._count("uploads", *self._of_both(self._upload, "upload", req, user))

    def edit(self, req: Request, user: User | None) -> None:
        """Count a change of a GIF, a favourite or a collection, or a decision of a moderator.

        Raises:
          RateLimited: too many from this address, or by this user.
        """
        self._count("changes", *self._of_both(self._edit, "edit", req, user))

    def search(self, req: Request, key: str = "") -> None:
        """Count a request of the drop-in API.

        Parameters:
          key: the name of the key that it came with, which must not be the key itself; empty if
            any key is taken.

        Raises:
          RateLimited: too many with this key, or from this address if there is none.
        """
        whose = f"key:{key}" if key else self._here(req)
        self._count("requests", (self._search, "search", whose))

    def use(self, req: Request) -> None:
        """Count a use of a GIF: a copy, a download.

        Raises:
          RateLimited: too many from this address.
        """
        self._count("uses", (self._use, "use", self._here(req)))

    def report(self, req: Request, user: User | None) -> None:
        """Count a report of a GIF.

        Raises:
          RateLimited: too many from this address, or by this user.
        """
        self._count("reports", *self._of_both(self._report, "report", req, user))

    def _here(self, req: Request) -> str:
        return f"address:{self.address(req)}"

    def _of_both(
        self, limit: RateLimitItem, what: str, req: Request, user: User | None
    ) -> list[Count]:
        by_user: list[Count] = [] if user is None else [(limit, what, f"user:{user.id}")]
        return [(limit, what, self._here(req)), *by_user]

    def _count(self, what: str, *counts: Count) -> None:
        for limit, *key in counts:
            if not self._hit(limit, *key):
                resets_at = self._ask(partial(_resets_at, limit, key))
                raise RateLimited(what, max(1, math.ceil(resets_at - time.time())))

    def _hit(self, limit: RateLimitItem, *key: str) -> bool:
        return not self._on or bool(self._ask(lambda limiter: limiter.hit(limit, *key)))

    def _clear(self, limit: RateLimitItem, *key: str) -> None:
        if self._on:
            self._ask(lambda limiter: limiter.clear(limit, *key))

    def _ask(self, question: Callable[[Limiter], R]) -> R:
        now = time.monotonic()
        if now >= self._away_until:
            if self._away_until:  # one request finds out whether it is back; the others go on
                self._away_until = now + 2 * ANSWER_S
            try:
                answer = question(self._shared)
            except (redis.RedisError, ArithmeticError, ValueError) as error:  # or no numbers there
                self._away_until = time.monotonic() + AWAY_S
                why = f"each web process counts rates by itself: {explained(error)}"
                self._problem.report(why, refusal(error))
                if self._pool is not None:
                    leave_a_replica(self._pool, error)
            else:
                self._away_until = 0.0
                self._problem.resolved("rates are counted in Redis again", tried_at=now)
                return answer
        return question(self._own)


def _resets_at(limit: RateLimitItem, key: list[str], limiter: Limiter) -> float:
    return limiter.get_window_stats(limit, *key).reset_time


def _pool(url: str) -> redis.ConnectionPool:
    return redis.ConnectionPool.from_url(
        url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S
    )


def _in_redis(pool: redis.ConnectionPool, namespace: str) -> Limiter:
    prefix = f"{'gifster' if namespace == NAMESPACE else namespace}:limits"
    return Limiter(RedisStorage("redis://", connection_pool=pool, key_prefix=prefix))
