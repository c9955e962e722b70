"""`stub://`: a broker in memory for the tests of applications, with all that jobs of ours need."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq
import peewee
import pytest

from gifster import jobs
from gifster.jobs import Job, QueueWeight, State
from gifster.jobs.testing import run_jobs
from tests.combinations import only_in_ci
from tests.machine import eventually


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Any]:
    """A broker with the options of an application, and an outbox of its own."""
    database = peewee.SqliteDatabase(
        tmp_path / "app.db", pragmas={"journal_mode": "wal", "synchronous": 0}, timeout=15
    )
    database.bind(jobs.TABLES)
    made = jobs.connect(
        "stub://", namespace="shop", weights={"a": QueueWeight(3)}, max_priority=5, max_per_group=2
    )
    with database.connection_context():
        jobs.migrate(database)
        yield made
    made.close()
    database.close()


def test_a_worker_in_the_tests_process_runs_jobs_as_a_real_one(broker: Any):
    ran: list[str] = []
    given_up: list[str] = []

    @dramatiq.actor(max_retries=1, min_backoff=1, on_dead=lambda error, name: given_up.append(name))
    def greet(name: str) -> None:
        ran.append(name)
        if name == "nobody":
            raise LookupError(name)

    for number in range(5):
        jobs.enqueue("greet", f"friend {number}", group="ann")
    jobs.enqueue("greet", "nobody")
    jobs.enqueue("unknown", queue="elsewhere")  # its actor is in another process
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=20)
    worker.start()
    try:
        eventually(lambda: Job.select().where(Job.actor == "greet").count() == 1 and given_up)
    finally:
        worker.stop()

    assert sorted(ran) == [*(f"friend {number}" for number in range(5)), "nobody", "nobody"]
    assert given_up == ["nobody"]
    [dead] = jobs.find(State.DEAD)
    assert dead.attempts == 1


def test_jobs_are_run_dropped_and_relayed(broker: Any):
    ran: list[str] = []
    dramatiq.actor(ran.append, actor_name="greet", outbox_only=True)

    dropped = jobs.enqueue("greet", "ann")
    jobs.enqueue("greet", "bob")
    jobs.drop(dropped.id)
    Job.update(send_at=0).execute()

    assert jobs.relay() == 1
    assert run_jobs() == 1
    assert ran == ["bob"]
    assert jobs.ping(broker) == "PONG"


def test_what_needs_a_real_broker_says_so(broker: Any):
    with pytest.raises(RuntimeError, match=r"stub:// has no client of Redis: .*StubBackend"):
        _ = broker.client


@only_in_ci("3 s: three commands start")
@pytest.mark.parametrize("command", ["run", "worker", "scheduler"])
def test_processes_of_their_own_refuse_it(command: str, tmp_path: Path):
    (tmp_path / "tasks.py").write_text(
        "import dramatiq, peewee\nfrom gifster import jobs\n"
        "db = peewee.SqliteDatabase('app.db')\ndb.bind(jobs.TABLES)\njobs.migrate(db)\n"
        "jobs.connect('stub://')\ndramatiq.actor(print)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parents[3]), str(tmp_path)])

    done = subprocess.run(
        [sys.executable, "-m", "gifster.jobs", command, "tasks"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        timeout=180, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert "the broker stub:// is for tests" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
