"""The lock that forms no convoys. That it forms none, `make bench ARGS=queues` shows."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gifster.jobs.adaptive_lock import AdaptiveLock

THREADS, TIMES = 6, 1_000


@pytest.fixture
def others() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


@pytest.fixture
def _threads_take_turns() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_threads_take_turns")
def test_only_one_thread_has_it(others: ThreadPoolExecutor) -> None:
    # Given a counter that a thread reads, and writes after another thread may have run
    lock, counter = AdaptiveLock(), [0]

    def count() -> None:
        for _ in range(TIMES):
            with lock:
                before = counter[0]
                if before % 50 == 0:
                    time.sleep(0)
                counter[0] = before + 1

    # When many threads count
    for counting in [others.submit(count) for _ in range(THREADS)]:
        counting.result()

    # I expect that no count was lost
    assert counter == [THREADS * TIMES]


def test_a_thread_may_take_it_again(others: ThreadPoolExecutor) -> None:
    # Given a thread that has taken it twice
    lock = AdaptiveLock()
    with lock:
        with lock:
            assert others.submit(lock.acquire, False).result() is False
        # I expect that it is free only when the thread has given it back as often
        assert others.submit(lock.acquire, timeout=0.01).result() is False
    assert others.submit(lock.acquire, False).result() is True


def test_it_is_taken_when_it_becomes_free(others: ThreadPoolExecutor) -> None:
    # Given a lock that this thread holds, and others that want it
    lock, order = AdaptiveLock(), []

    def take(number: int) -> None:
        with lock:
            order.append(number)

    with lock:
        waiting = [others.submit(take, number) for number in range(THREADS)]
        order.append(-1)

    # I expect that each of them gets it
    for each in waiting:
        each.result(60)
    assert order[0] == -1
    assert sorted(order) == [-1, *range(THREADS)]


def test_a_condition_of_it_wakes_a_thread_that_waits(others: ThreadPoolExecutor) -> None:
    # Given a thread that holds the lock twice, and waits for a condition
    lock, waits, ready = AdaptiveLock(), threading.Event(), threading.Event()
    condition = lock.condition()

    def wait() -> bool:
        with lock, condition:
            waits.set()
            condition.wait_for(ready.is_set)
            return others.submit(lock.acquire, False).result()

    waiting = others.submit(wait)
    assert waits.wait(60)

    # When this thread takes the lock meanwhile, and tells it
    with condition:
        ready.set()
        condition.notify_all()

    # I expect that it had the lock again, and gave it back as often
    assert waiting.result(60) is False
    assert others.submit(lock.acquire, False).result() is True


def test_the_handlers_of_a_forked_process_can_log() -> None:
    # Given a handler whose lock another thread holds while this process is forked
    handler = logging.StreamHandler()
    handler.lock = AdaptiveLock()  # type: ignore[assignment]
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with handler.lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(0 if handler.lock.acquire(False) else 1)
    done.set()
    thread.join()

    # I expect that it is free in the new process
    assert os.waitpid(child, 0)[1] == 0
