"""What everybody may expect of a broker, as of Dramatiq's own: each test runs against Redis and
against RabbitMQ. docs/jobs.md tells what differs.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from threading import Event

import dramatiq
import pytest

from gifster import jobs
from tests.jobs.brokers.servers import OnRabbitmq, OnRedis, Server
from tests.jobs.workers import workers
from tests.machine import eventually

#: A web server that has loaded the application, and sent a message, before it forks its processes.
PREFORKING = """
import os, sys, dramatiq
from gifster import jobs

url, queue = sys.argv[1:]
jobs.connect(url)
work = dramatiq.actor(print, queue_name=queue, actor_name="work")
work.send("before")
children = []
for number in range(2):
    pid = os.fork()
    if not pid:
        for _ in range(20):
            work.send("child")
        os._exit(0)
    children.append(pid)
for _ in range(20):
    work.send("parent")
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
"""


@pytest.fixture(params=["redis", "rabbitmq"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "redis":
        url = request.getfixturevalue("broker_url")
        made: Server = OnRedis(jobs.connect(url), url)
    else:
        url = request.getfixturevalue("rabbitmq")
        made = OnRabbitmq(jobs.connect(url), url)
    yield made
    made.broker.close()


@pytest.fixture
def worker(server: Server) -> Iterator[Callable[..., dramatiq.Worker]]:
    with workers(server.broker, queues={server.queue}, worker_timeout=100) as start:
        yield start


def test_every_message_is_processed_once(server: Server, worker):
    done: list[int] = []
    work = server.actor(done.append)
    for number in range(100):
        work.send(number)
    worker(threads=8)

    eventually(lambda: len(done) >= 100)
    server.broker.join(server.queue)
    assert sorted(done) == list(range(100))


def test_a_failed_message_is_tried_again_after_its_pause_until_it_succeeds(server: Server, worker):
    attempts: list[float] = []

    def fail_three_times() -> None:
        attempts.append(time.monotonic())
        if len(attempts) < 4:
            raise RuntimeError(f"failure {len(attempts)}")

    server.actor(fail_three_times, min_backoff=100, max_backoff=100).send()
    worker()

    eventually(lambda: len(attempts) == 4)
    # Dramatiq's jitter may halve a pause
    assert all(later - sooner >= 0.05 for sooner, later in pairwise(attempts))
    eventually(lambda: (server.waiting(), server.delayed(), server.dead()) == (0, 0, 0))


def test_a_message_whose_retries_have_run_out_is_a_dead_letter(server: Server, worker):
    attempts: list[int] = []

    def fail() -> None:
        attempts.append(1)
        raise RuntimeError("no luck")

    server.actor(fail, max_retries=1, min_backoff=1, max_backoff=1).send()
    worker()

    eventually(lambda: server.dead() == 1)
    assert len(attempts) == 2


def test_a_message_of_an_unknown_actor_is_a_dead_letter(server: Server, worker):
    server.broker.declare_queue(server.queue)
    server.broker.enqueue(dramatiq.Message(server.queue, "nobody", (), {}, {}))
    worker()

    eventually(lambda: server.dead() == 1)
    assert server.waiting() == 0


def test_a_message_that_cannot_be_decoded_stops_no_other(server: Server, worker):
    done: list[int] = []
    work = server.actor(done.append)
    server.put(b"\xff no message")
    work.send(1)
    worker()

    eventually(lambda: done == [1])
    assert server.waiting() == 0


def test_a_delayed_message_is_not_processed_before_its_moment(server: Server, worker):
    ran: list[float] = []
    work = server.actor(lambda: ran.append(time.time()))
    worker()
    sent = time.time()
    work.send_with_options(delay=300)

    eventually(lambda: ran)
    assert ran[0] - sent >= 0.299  # the moment is in whole milliseconds


def test_delayed_messages_do_not_wait_for_one_another(server: Server, worker):
    done: list[str] = []
    work = server.actor(done.append)
    work.send_with_options(args=("later",), delay=600_000)
    work.send_with_options(args=("sooner",), delay=300)
    worker(threads=1)

    eventually(lambda: done)
    assert done == ["sooner"]


def test_a_worker_that_stops_gives_back_what_it_has_not_begun(
    server: Server, worker, monkeypatch: pytest.MonkeyPatch
):
    # Dramatiq's consumer is paused after this
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.01)
    begun, gate = Event(), Event()

    def block() -> None:
        begun.set()
        gate.wait(60)

    work = server.actor(block)
    for _ in range(2):
        work.send()
    work.send_with_options(delay=600_000)
    running = worker(threads=1)
    assert begun.wait(60)
    eventually(lambda: (server.waiting(), server.delayed()) == (0, 0))  # it has fetched all

    gate.set()
    running.pause()
    running.stop()

    eventually(lambda: server.delayed() == 1)
    assert server.waiting() <= 1


def test_join_waits_for_a_queue_and_gives_up_after_its_timeout(server: Server, worker):
    gate = Event()
    work = server.actor(lambda: gate.wait(60))
    work.send()

    with pytest.raises(dramatiq.QueueJoinTimeout):
        server.broker.join(server.queue, timeout=100)
    gate.set()
    worker()
    server.broker.join(server.queue, timeout=60_000)


def test_flush_all_empties_the_declared_queues(server: Server):
    work = server.actor(print)
    work.send()
    work.send_with_options(delay=600_000)

    server.broker.flush_all()

    assert (server.waiting(), server.delayed()) == (0, 0)


def test_messages_are_sent_after_the_server_has_closed_the_connection(server: Server):
    work = server.actor(print)
    work.send()
    eventually(lambda: server.waiting() == 1)

    server.cut_off()
    work.send()

    eventually(lambda: server.waiting() == 2)


def test_processes_that_were_forked_send_on_connections_of_their_own(server: Server):
    code = [sys.executable, "-c", PREFORKING, server.url, server.queue]
    subprocess.run(code, check=True, timeout=60)

    assert server.waiting() == 61


def test_an_attribute_that_a_broker_does_not_have_is_an_error(server: Server):
    with pytest.raises(AttributeError):
        server.broker.no_such_attribute  # noqa: B018


def test_a_queue_and_its_delayed_messages_are_declared_under_one_name(server: Server, worker):
    work = server.actor(lambda: None)
    work.send_with_options(delay=1)
    worker()
    server.broker.join(server.queue, timeout=60_000)

    assert server.broker.get_declared_queues() == {server.queue}
