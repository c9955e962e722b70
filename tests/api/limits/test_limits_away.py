"""Where rates are counted, and who waits for a Redis that says nothing."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from gifster.api import limits as limits_module
from gifster.api.limits import RateLimited, RateLimits
from gifster.app.settings import Limits, Settings
from tests.machine import free_port


def test_all_nodes_count_together_beside_rabbitmq(broker_url: str):
    # Given two web processes whose broker is RabbitMQ, and a Redis for their counters
    settings = Settings(limits=Limits(sign_up="3/hour", url=broker_url))
    processes = [RateLimits(settings, "amqp://127.0.0.1:1") for _ in range(2)]
    request: Any = SimpleNamespace(scope={"client": ("192.0.2.1", 5555), "headers": []})

    # When somebody signs up in both
    for number in range(3):
        processes[number % 2].sign_up(request)

    # I expect both to count it
    for process in processes:
        with pytest.raises(RateLimited):
            process.sign_up(request)


@pytest.mark.parametrize("url", ["amqp://host", "http://host", "sqlite:///file"])
def test_rates_are_counted_in_a_redis_only(url: str):
    with pytest.raises(ValueError, match="redis://"):
        Limits(url=url)


def test_one_request_finds_out_whether_redis_is_back(monkeypatch: pytest.MonkeyPatch):
    # Given a Redis that is away
    now = [1000.0]
    monkeypatch.setattr(limits_module.time, "monotonic", lambda: now[0])
    limits = RateLimits(Settings(), f"redis://127.0.0.1:{free_port()}/0")
    asked: list[str] = []

    def question(meanwhile: Callable[[], object] = lambda: None) -> Callable[[Any], bool]:
        def ask(limiter: Any) -> bool:
            shared = limiter is limits._shared
            asked.append("Redis" if shared else "here")
            if shared:
                meanwhile()
                raise redis.ConnectionError("timed out")
            return True

        return ask

    limits._ask(question())
    limits._ask(question())
    assert asked == ["Redis", "here", "here"]

    # When it is time to look again, I expect one request to do so, and others not to wait for it
    now[0] += limits_module.AWAY_S
    asked.clear()
    limits._ask(question(meanwhile=lambda: limits._ask(question())))
    assert asked == ["Redis", "here", "here"]

    # When it is back, I expect all to be counted there again
    now[0] += limits_module.AWAY_S
    assert limits._ask(lambda limiter: limiter is limits._shared)
    assert limits._ask(lambda limiter: limiter is limits._shared)
