"""Damaged counters in Redis: requests are counted all the same."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from gifster.api.limits import RateLimited, RateLimits
from gifster.app.settings import Settings


@pytest.mark.parametrize(
    "value", [b"", b"many", b"\xff", b"9" * 400, b"-5", b"1e999", b"nan", ["list"]]
)
def test_a_counter_that_is_not_a_number_does_no_harm(broker_url: str, value: Any):
    limits = RateLimits(Settings(), broker_url)
    client = redis.Redis.from_url(broker_url)
    request: Any = SimpleNamespace(scope={"client": ("192.0.2.1", 5555), "headers": []})
    limits.sign_up(request)
    keys = client.keys("*limits*")
    assert keys
    for key in keys:
        client.delete(key)
        if isinstance(value, list):
            client.rpush(key, *value)
        else:
            client.set(key, value)

    with suppress(RateLimited):  # of a very large number that is right
        limits.sign_up(request)
