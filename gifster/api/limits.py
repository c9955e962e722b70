"""Rate limits, by address and by user or account.

The counters are in Redis, where all web processes share them. While it is away, or where the broker
is another, each process counts for itself: an upload does not wait for a broker.
"""

import math
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import redis
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from gifster.models import User
from gifster.settings import NAMESPACE, Network, Settings

#: What Redis has to answer, and how long it is left alone when it did not (seconds).
ANSWER_S = 0.5
AWAY_S = 10.0

Limiter = SlidingWindowCounterRateLimiter


class RateLimited(Exception):
    """That was too often. `wait_s`: when to come again (seconds)."""

    def __init__(self, what: str, wait_s: int) -> None:
        wait = f"{wait_s} seconds" if wait_s < 120 else f"{math.ceil(wait_s / 60)} minutes"
        super().__init__(f"Too many {what} for now. Try again in {wait}.")
        self.wait_s = wait_s


class RateLimits:
    """The limits of one web process. All methods block; call them in a thread.

    Parameters:
      settings: the application's.
      broker_url: the broker; if it is a Redis, the counters are kept there.
    """

    def __init__(self, settings: Settings, broker_url: str) -> None:
        self._on = settings.limits.enabled
        self._proxies = settings.web.trusted_proxies
        self._sign_up = parse(settings.limits.sign_up)
        self._log_in = parse(settings.limits.log_in)
        self._upload = parse(settings.limits.upload)
        self._own = Limiter(MemoryStorage())
        in_redis = not broker_url.startswith("amqp")
        namespace = settings.broker.namespace
        self._shared = _in_redis(broker_url, namespace) if in_redis else self._own
        self._away_until = 0.0

    def sign_up(self, req: Any) -> None:
        """Count a sign-up.

        Raises:
          RateLimited: too many from this address.
        """
        self._count(self._sign_up, "sign-ups", ("sign_up", self._address(req)))

    def log_in(self, req: Any, email: str) -> None:
        """Count an attempt to log in, whether it will succeed or not.

        Raises:
          RateLimited: too many from this address, or for this account.
        """
        here, account = ("log_in", self._address(req)), ("log_in", _account(email))
        self._count(self._log_in, "attempts to log in", here, account)

    def logged_in(self, email: str) -> None:
        """Forget the attempts for an account, as the last one was good."""
        if self._on:
            self._ask(lambda limiter: limiter.clear(self._log_in, "log_in", _account(email)))

    def upload(self, req: Any, user: User | None) -> None:
        """Count an upload.

        Raises:
          RateLimited: too many from this address, or by this user.
        """
        by = [] if user is None else [("upload", user.id)]
        self._count(self._upload, "uploads", ("upload", self._address(req)), *by)

    def _count(self, limit: RateLimitItem, what: str, *keys: tuple[str, str]) -> None:
        for key in keys if self._on else ():
            if not self._ask(lambda limiter, key=key: limiter.hit(limit, *key)):
                resets_at = self._ask(
                    lambda limiter, key=key: limiter.get_window_stats(limit, *key).reset_time
                )
                raise RateLimited(what, max(1, math.ceil(resets_at - time.time())))

    def _ask(self, question: Callable[..., Any]) -> Any:
        if time.monotonic() >= self._away_until:
            try:
                return question(self._shared)
            except redis.RedisError:
                self._away_until = time.monotonic() + AWAY_S
        return question(self._own)

    def _address(self, req: Any) -> str:
        return client_network(req.access_route, self._proxies)


def _in_redis(url: str, namespace: str) -> Limiter:
    pool = redis.ConnectionPool.from_url(
        url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S
    )
    prefix = f"{'gifster' if namespace == NAMESPACE else namespace}:limits"
    return Limiter(RedisStorage("redis://", connection_pool=pool, key_prefix=prefix))


def client_network(route: list[str], proxies: list[Network]) -> str:
    """Whose request it is: an IPv4 address, or the /64 network of an IPv6 one, which is what one
    person has.

    Parameters:
      route: the addresses that a request has come by, the nearest last. Only what proxies of ours
        have said is believed.
      proxies: where those are.
    """
    client = "unknown"
    for text in reversed(route):
        try:
            address: IPv4Address | IPv6Address = ip_address(text)
        except ValueError:
            break
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        v6 = isinstance(address, IPv6Address)
        client = str(IPv6Network((int(address), 64), strict=False)) if v6 else str(address)
        if not any(address in network for network in proxies):
            break
    return client


def _account(email: str) -> str:
    return email.strip().lower()[:254]
