"""The thread that ends what waits for a standby, in a process that may have no more threads."""

import threading
from typing import Any

import pytest

from gifster.app import standby
from tests.machine import eventually
from tests.threads import no_more_threads


class Pool:
    """A pool of which nobody uses a connection, once the thread has looked."""

    is_pooled = False

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.committing: dict[Any, float] = {}
        self.looks = 0

    def in_use(self) -> list[Any]:
        self.looks += 1
        return []


def test_connections_are_watched_after_no_thread_could_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(standby, "EVERY_S", 0.01)
    pool = Pool()
    waits = standby.Waits(pool)
    with no_more_threads("standby"), pool.lock:
        waits.watch()
    assert pool.looks == 0

    # When there are threads again, I expect the next connection to start one, and so the next
    for looks in (1, 2):
        with pool.lock:
            waits.watch()
        eventually(lambda looks=looks: pool.looks == looks)
