"""The scheduler: it goes on when the clock is set, others write, or the database is away; and the
recurring jobs of the settings."""

import re
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import peewee
import pytest
import redis

from gifster import jobs, scheduler
from gifster.app import database
from gifster.app.database import db
from gifster.app.settings import Settings
from gifster.jobs import Job, RecurringJob
from gifster.scheduler import recurring_jobs
from tests import databases
from tests.machine import eventually
from tests.stack import Stack

ROOT = Path(__file__).parents[3]


def test_the_settings_add_recurring_jobs_and_cannot_lose_ours():
    settings = Settings(
        recurring={"digest": {"cron": "0 7 * * 1", "timezone": "Europe/Berlin", "arguments": [7]}}
    )

    found = recurring_jobs(settings)

    assert set(found) == {"clean_up", "tend_search", "digest"} | set(scheduler.ALWAYS)
    assert found["digest"].rule == "0 7 * * 1 (Europe/Berlin)"
    assert (found["digest"].actor, found["digest"].arguments) == ("digest", [7])
    moved = recurring_jobs(Settings(recurring={"clean_up": "0 3 * * *"}))
    assert moved["clean_up"].rule == "0 3 * * *"


def test_the_shipped_settings_show_each_recurring_job_of_ours_in_a_comment():
    section = (ROOT / "settings.toml").read_text().partition("\n[recurring]")[2].partition("\n[")[0]
    written = tomllib.loads("".join(re.findall(r"^# (\w+ = .*\n)", section, re.MULTILINE)))
    shown = Settings(recurring=written).recurring

    for name, job in scheduler.ALWAYS.items():
        assert shown.get(name) == job, (
            f"{name}: write it below [recurring] in settings.toml, behind a #, as ALWAYS in "
            "gifster/scheduler.py has it"
        )


def test_the_scheduler_logs_one_line_while_the_database_is_away(
    booted: Settings, caplog: pytest.LogCaptureFixture
):
    # Given a database without its tables, which fails like one that is locked or away
    db.drop_tables([Job, RecurringJob])

    scheduler.relay_outbox(10)
    scheduler.look_at_the_clock({})

    lines = [record for record in caplog.records if record.name == "gifster.scheduler"]
    assert [line.getMessage().split(":")[0] for line in lines] == ["relay", "recurring jobs"]
    assert all(line.exc_info is None and "\n" not in line.getMessage() for line in lines)


def test_the_scheduler_logs_one_line_while_no_connection_can_be_made(
    booted: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    # Given a database that refuses connections, as one behind a cut cable does
    def refused() -> None:
        raise peewee.OperationalError("the database did not answer a moment ago")

    monkeypatch.setattr(db.obj, "_connect", refused)

    with ThreadPoolExecutor(1) as another_thread:  # this one has a connection
        another_thread.submit(scheduler.relay_outbox, 10).result()
        another_thread.submit(scheduler.look_at_the_clock, {}).result()

    lines = [record for record in caplog.records if record.name == "gifster.scheduler"]
    assert [line.getMessage().split(":")[0] for line in lines] == ["relay", "recurring jobs"]
    assert all(line.exc_info is None for line in lines)


def test_a_backlog_is_sent_while_others_write_into_gifsters_database(
    tmp_path: Path, broker_url: str
):
    # Given 300 jobs that are due, in a database that two processes write into all the time
    path = tmp_path / "app.db"
    own = database.connect(f"sqlite:///{path}")
    own.bind(jobs.TABLES)
    own.create_tables(jobs.TABLES)
    jobs.connect(broker_url)
    now = time.time()
    with jobs.transaction(own):
        for _ in range(300):
            Job.create(actor="work", queue="default", arguments=[], send_at=now)
    with databases.writers(path):
        assert jobs.relay() == 300
    assert redis.Redis.from_url(broker_url).llen("dramatiq:default") == 300
    own.close()


WAIT_FOR_THE_RELAY = """
from gifster import jobs
from gifster.app import boot, settings
from gifster.app.database import db
boot.boot(settings.load())
with db.connection_context():
    jobs.enqueue("nobody_knows_it", queue="carrierwave")
    jobs.Job.update(send_at=1).execute()
"""


@pytest.mark.parametrize("seconds", [-86_400, 10 * 365 * 86_400], ids=["back", "years on"])
def test_the_scheduler_goes_on_when_the_clock_is_set(
    new_stack: Callable[..., Stack], tmp_path: Path, seconds: int
):
    # Given a running scheduler
    offset = tmp_path / "offset"
    offset.write_text("0")
    stack = new_stack(CHAOS_CLOCK=str(offset))
    assert stack.run("python", "-c", WAIT_FOR_THE_RELAY).returncode == 0
    stack.environment["PYTHONPATH"] = str(ROOT / "chaos" / "clock")
    stack.start("gifster", "scheduler")
    eventually(lambda: "relayed jobs=1" in stack.log("gifster-scheduler"))

    # When the clock is set, and a job waits to be sent
    offset.write_text(str(seconds))
    said = len(stack.log("gifster-scheduler"))
    assert stack.run("python", "-c", WAIT_FOR_THE_RELAY).returncode == 0

    # I expect it to be sent
    eventually(lambda: "relayed jobs=" in stack.log("gifster-scheduler")[said:])
