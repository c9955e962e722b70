"""The queues of a worker: weights, caps, priorities, and a start without waiting."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import dramatiq
import pytest
import redis

from gifster import jobs
from gifster.jobs import QueueWeight
from gifster.jobs.brokers import fair
from gifster.jobs.brokers.fair import FairScheduler
from tests.jobs.offers import offer
from tests.jobs.workers import workers
from tests.machine import eventually, reaches

WEIGHTS = {"default": QueueWeight(5), "carrierwave": QueueWeight(3)}


class Log:
    """The jobs that were started, in order, and how many ran at a time."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def job(self, name: str) -> Iterator[None]:
        with self._lock:
            self.started.append(name)
            self.running[name] += 1
            self.most[name] = max(self.most[name], self.running[name])
        yield
        with self._lock:
            self.running[name] -= 1


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def worker(broker_url: str) -> Iterator[Callable[..., dramatiq.Worker]]:
    """Starts a worker of so many threads for the queues with these weights."""
    with workers() as start:
        yield start


def actors(broker_url: str, log: Log, weights: dict[str, QueueWeight]) -> dict[str, dramatiq.Actor]:
    jobs.connect(broker_url, weights=weights)

    def declare(queue: str) -> dramatiq.Actor:
        @dramatiq.actor(queue_name=queue, actor_name=f"work_{queue}")
        def work() -> None:
            with log.job(queue):
                time.sleep(0.005)  # or a busy machine fetches more slowly than it works

        return work

    return {queue: declare(queue) for queue in weights}


def test_two_full_queues_share_a_worker_by_their_weights(broker_url: str, log: Log, worker):
    # Given a backlog of both queues
    for actor in actors(broker_url, log, WEIGHTS).values():
        for _ in range(1000):
            actor.send()

    worker(threads=4)
    eventually(lambda: len(log.started) >= 1000)

    # I expect 5 to 3 in any long run of starts
    for begin in (0, 200, 600):
        run = Counter(log.started[begin : begin + 400])
        assert run["default"] == pytest.approx(250, abs=13), begin


@pytest.mark.parametrize("paused", [False, True])
def test_an_idle_worker_stops_at_once(broker_url: str, log: Log, paused: bool):
    # Given a worker whose threads and consumers would each wait for ten minutes
    work = actors(broker_url, log, WEIGHTS)
    broker = dramatiq.get_broker()
    worker = dramatiq.Worker(broker, worker_threads=4, worker_timeout=600_000)
    worker.start()
    work["default"].send()
    eventually(lambda: log.started and not broker.scheduler.running and broker.wake_up.listening)
    if paused:
        broker.scheduler.pause(set(), everything=True)

    # When it is stopped, I expect none of them to be waited for
    stopping = threading.Thread(target=worker.stop, daemon=True)
    stopping.start()
    eventually(lambda: not stopping.is_alive())


def test_a_queue_gets_the_threads_that_an_idle_one_does_not_use(broker_url: str, log: Log, worker):
    work = actors(broker_url, log, WEIGHTS)
    for _ in range(50):
        work["carrierwave"].send()

    worker(threads=4)

    reaches(50, lambda: log.started.count("carrierwave"))
    assert log.most["carrierwave"] == 4


def test_a_queue_with_a_cap_never_takes_more_threads(broker_url: str, log: Log, worker):
    work = actors(
        broker_url, log, {"default": QueueWeight(5), "carrierwave": QueueWeight(3, max=1)}
    )
    for _ in range(100):
        work["carrierwave"].send()
    for _ in range(100):
        work["default"].send()

    worker(threads=4)

    reaches(200, lambda: len(log.started))
    assert log.most["carrierwave"] == 1
    assert log.most["default"] >= 3


def test_many_jobs_are_sent_in_few_round_trips(broker_url: str, log: Log, worker):
    work = actors(broker_url, log, WEIGHTS)
    client = redis.Redis.from_url(broker_url)

    sent = jobs.send_many(work[queue].message() for _ in range(600) for queue in WEIGHTS)

    assert sent == 1200
    assert {queue: client.llen(f"dramatiq:{queue}") for queue in WEIGHTS} == dict.fromkeys(
        WEIGHTS, 600
    )
    worker(threads=4)
    reaches(1200, lambda: len(log.started))


def test_sending_many_jobs_to_a_broker_that_is_away_is_an_error(log: Log):
    work = actors("redis://127.0.0.1:1/0", log, WEIGHTS)

    with pytest.raises(jobs.BrokerUnavailable):
        jobs.send_many([work["default"].message()])


def test_priorities_count_within_a_queue(broker_url: str, log: Log, worker):
    jobs.connect(broker_url, weights=WEIGHTS)
    gate, begun = threading.Event(), threading.Event()

    @dramatiq.actor(priority=10)
    def later() -> None:
        log.started.append("later")

    @dramatiq.actor(priority=0)
    def sooner() -> None:
        log.started.append("sooner")

    @dramatiq.actor
    def block() -> None:
        begun.set()
        gate.wait(60)

    worker(threads=2)
    block.send()
    block.send()
    assert begun.wait(60)
    later.send()
    sooner.send()
    eventually(lambda: not redis.Redis.from_url(broker_url).llen("dramatiq:default"))
    gate.set()

    eventually(lambda: len(log.started) == 2)
    assert log.started == ["sooner", "later"]


def test_an_idle_worker_is_woken_up_and_hardly_asks(broker_url: str, log: Log, worker):
    work = actors(broker_url, log, WEIGHTS)
    worker(threads=2)
    broker = dramatiq.get_broker()
    eventually(lambda: broker.wake_up.listening)
    client = redis.Redis.from_url(broker_url)

    for number in range(20):
        work["default"].send()
        eventually(lambda expected=number + 1: len(log.started) == expected)

    # Three commands for each job (enqueue, fetch, ack), and few while there is none
    before, since = client.info("commandstats")["cmdstat_evalsha"]["calls"], time.monotonic()
    threading.Event().wait(1)
    asked = client.info("commandstats")["cmdstat_evalsha"]["calls"] - before
    assert asked <= 5 * (time.monotonic() - since)


def test_without_the_wake_up_jobs_are_polled_for(broker_url: str, log: Log, worker):
    work = actors(broker_url, log, WEIGHTS)
    worker(threads=2)
    broker = dramatiq.get_broker()
    eventually(lambda: broker.wake_up.listening)

    broker.wake_up.stop()
    eventually(lambda: not broker.wake_up.listening)
    work["default"].send()

    eventually(lambda: log.started == ["default"])


def test_a_worker_that_is_stopped_gives_back_what_it_has_fetched(broker_url: str, log: Log, worker):
    jobs.connect(broker_url, weights=WEIGHTS)
    gate, begun = threading.Event(), threading.Event()

    @dramatiq.actor
    def block() -> None:
        begun.set()
        gate.wait(60)

    for _ in range(6):
        block.send()
    running = worker(threads=1)
    assert begun.wait(60)
    stopping = threading.Thread(target=running.stop)
    stopping.start()
    gate.set()
    stopping.join(60)

    client = redis.Redis.from_url(broker_url)
    waiting = client.llen("dramatiq:default")
    assert waiting >= 4
    assert client.hlen("dramatiq:default.msgs") == waiting


def test_what_a_dead_worker_had_fetched_comes_back_on_a_quiet_system(
    broker_url: str, log: Log, worker
):
    # Given messages that a worker fetched before it died
    work = actors(broker_url, log, WEIGHTS)
    for queue in WEIGHTS:
        work[queue].send()
    dead = dramatiq.get_broker()
    for queue in WEIGHTS:
        assert dead.do_fetch(queue, 8)
    client = redis.Redis.from_url(broker_url)
    client.zadd("dramatiq:__heartbeats__", {dead.broker_id: 1})

    # When another worker has nothing else to do
    living = jobs.connect(broker_url, weights=WEIGHTS)
    for actor in work.values():
        living.declare_actor(actor)
    worker(threads=2)

    eventually(lambda: sorted(log.started) == ["carrierwave", "default"])


def test_weights_with_which_no_job_could_start_are_refused():
    for wrong in ({"weight": 0}, {"max": 0}, {"group_max": -1}):
        with pytest.raises(ValueError, match="of a queue: use 1 or more"):
            QueueWeight(**wrong)
    with pytest.raises(TypeError, match=r"'default' has 5: write jobs\.QueueWeight\(5\)"):
        jobs.connect("stub://", weights={"default": 5})


def test_an_idle_queue_saves_nothing_up():
    scheduler = FairScheduler(1, {"a": QueueWeight(1), "b": QueueWeight(1)})
    offer(scheduler, "a", 100)
    for _ in range(50):
        assert scheduler.next(0).queue_name == "a"
        scheduler.done("a")

    offer(scheduler, "b", 100)
    took = []
    for _ in range(40):
        took.append(scheduler.next(0).queue_name)
        scheduler.done(took[-1])

    assert abs(took.count("a") - took.count("b")) <= 1


def test_a_free_thread_is_kept_for_the_queue_whose_turn_it_is(monkeypatch: pytest.MonkeyPatch):
    # Given a queue that uses all threads and has more, and another one that waits to fetch its own
    monkeypatch.setattr(fair, "KEEP_S", 60.0)
    scheduler = FairScheduler(1, {})
    offer(scheduler, "a", 100)
    assert scheduler.next(0)
    with ThreadPoolExecutor(2) as threads:
        told = threads.submit(scheduler.wait_for_thread, "b", 60, lambda: True)
        eventually(lambda: scheduler._want_thread)

        # When the thread becomes free, I expect it to wait for the other queue
        scheduler.done("a")
        told.result()
        assert scheduler.next(0) is None
        waits = threads.submit(scheduler.next, 60)
        assert scheduler.has_thread("b")
        assert not scheduler.has_thread("a")
        offer(scheduler, "b", 1)
        assert waits.result().queue_name == "b"


def test_a_thread_is_kept_until_the_queue_has_nothing_or_does_not_come(
    monkeypatch: pytest.MonkeyPatch,
):
    scheduler = FairScheduler(1, {})
    offer(scheduler, "a", 2)

    # When a queue that had the next turn finds nothing, I expect the others to go on
    monkeypatch.setattr(fair, "KEEP_S", 60.0)
    scheduler.wait_for_thread("b", 0, lambda: True)
    assert scheduler.next(0) is None
    scheduler.leave("b")
    assert scheduler.next(0).queue_name == "a"
    scheduler.done("a")

    # And the same when it does not come in time
    monkeypatch.setattr(fair, "KEEP_S", 0.01)
    scheduler.wait_for_thread("b", 0, lambda: True)
    assert scheduler.next(60).queue_name == "a"


def test_no_thread_is_kept_for_a_queue_that_has_nothing_to_fetch():
    scheduler = FairScheduler(1, {})
    offer(scheduler, "a", 2)

    scheduler.wait_for_thread("b", 0, lambda: False)

    assert scheduler.next(0).queue_name == "a"


def test_no_more_threads_are_taken_than_there_are():
    scheduler = FairScheduler(2, {})
    offer(scheduler, "a", 3)

    assert scheduler.next(0)
    assert scheduler.next(0)
    assert not scheduler.next(0.01)
    scheduler.done("a")
    assert scheduler.next(0)
