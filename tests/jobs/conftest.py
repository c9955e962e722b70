"""What the tests of the jobs share: a process with an outbox, and nothing of the application."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import redis

from gifster import jobs
from gifster.jobs import Job
from gifster.jobs.lease import Leases
from tests import databases
from tests.clocks import SetClock


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    return SetClock(monkeypatch)


@pytest.fixture
def _own_handlers() -> Iterator[None]:
    """What a test does with the handlers of signals ends with it."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def database(database_url: str) -> Iterator[Any]:
    """A migrated database, on each server, with the tables bound to it; no broker."""
    made = databases.connect(database_url)
    made.bind(jobs.TABLES)
    with made.connection_context():
        jobs.migrate(made)
        yield made
    made.close_all()


@dataclass(frozen=True)
class Outbox:
    """This process's outbox, and the broker to which its jobs are sent."""

    broker_url: str
    database_url: str
    database: Any

    @property
    def client(self) -> redis.Redis:
        """A client of the broker, if that is Redis."""
        return redis.Redis.from_url(self.broker_url)

    def queued(self, queue: str = "default") -> int:
        """How many messages wait in a queue."""
        return self.client.llen(f"dramatiq:{queue}")


class Running(dramatiq.Middleware):
    """Knows the workers that run, so a test that fails leaves none to write to a database that has
    been closed, which crashes the process."""

    def __init__(self) -> None:
        self._workers: list[dramatiq.Worker] = []

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._workers.append(worker)

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._workers.remove(worker)

    def stop(self) -> None:
        for worker in list(self._workers):
            worker.stop()


@contextmanager
def opened(broker_url: str, database_url: str) -> Iterator[Outbox]:
    """An outbox in an empty database, with a connection open, until the block ends."""
    database = databases.connect(database_url)
    database.bind(jobs.TABLES)
    broker = jobs.connect(broker_url)
    broker.add_middleware(running := Running())
    with database.connection_context():
        jobs.migrate(database)
        try:
            yield Outbox(broker_url, database_url, database)
        finally:
            running.stop()
    database.close_all()
    broker.close()


@pytest.fixture
def outbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker_url: str, database_url: str
) -> Iterator[Outbox]:
    """This process with an outbox in a database of each kind, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    with opened(broker_url, database_url) as made:
        yield made


@pytest.fixture
def client(broker_url: str) -> redis.Redis:
    """A client of the broker, an empty one."""
    return redis.Redis.from_url(broker_url)


@pytest.fixture
def marked(outbox: Outbox) -> Outbox:
    """A broker with the mark of this outbox, so it does not look as if it had lost its data."""
    jobs.relay()
    return outbox


@pytest.fixture
def worker() -> Iterator[Callable[..., Leases]]:
    """Makes the leases of a worker process."""
    made: list[Leases] = []

    def make(**options: float) -> Leases:
        made.append(Leases(**options))
        return made[-1]

    yield make
    for leases in made:
        for job_id in list(leases._held):
            leases.forget(job_id)


@pytest.fixture
def job(outbox: Outbox) -> Job:
    return jobs.enqueue("send_welcome_email", "ann")
