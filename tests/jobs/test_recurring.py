"""Jobs for later, and jobs that come again and again."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gifster import jobs
from gifster.app.cron import next_after
from gifster.app.database import db
from gifster.app.settings import Settings
from gifster.jobs import Job, Recurring, State
from gifster.scheduler import recurring_jobs
from tests.jobs.test_jobs import queued
from tests.machine import eventually
from tests.stack import Stack

ROOT = Path(__file__).parent.parent.parent


def moments(rule: str, count: int, timezone: str = "UTC") -> list[str]:
    """The first moments of a rule after Friday, 30 October 2026, 12:00 UTC, by its own clock."""
    after, moment = next_after(rule, timezone), datetime(2026, 10, 30, 12, tzinfo=UTC).timestamp()
    found = []
    for _ in range(count):
        moment = after(moment)
        found.append(datetime.fromtimestamp(moment, ZoneInfo(timezone)).strftime("%a %d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        ("*/20 * * * *", ["Fri 30 12:20", "Fri 30 12:40", "Fri 30 13:00"]),
        ("@daily", ["Sat 31 00:00", "Sun 01 00:00", "Mon 02 00:00"]),
        ("30 4 * * 1", ["Mon 02 04:30", "Mon 09 04:30", "Mon 16 04:30"]),
        ("0 0 * * 0", ["Sun 01 00:00", "Sun 08 00:00", "Sun 15 00:00"]),
        ("0 0 * * 7", ["Sun 01 00:00", "Sun 08 00:00", "Sun 15 00:00"]),
        ("0 9 * * 1-5", ["Mon 02 09:00", "Tue 03 09:00", "Wed 04 09:00"]),
        ("0 9 * * sat-sun", None),
        ("0 9 * * 5-7", ["Sat 31 09:00", "Sun 01 09:00", "Fri 06 09:00"]),
        ("0 9 * * 0-6/3", ["Sat 31 09:00", "Sun 01 09:00", "Wed 04 09:00"]),
        # Either of both, as cron has it
        ("0 0 1 * 1", ["Sun 01 00:00", "Mon 02 00:00", "Mon 09 00:00"]),
    ],
)
def test_rules_mean_what_they_mean_in_a_crontab(rule: str, first: list[str] | None):
    if first is None:
        with pytest.raises(ValueError, match="run backwards"):
            moments(rule, 1)
    else:
        assert moments(rule, 3) == first


def test_a_rule_goes_by_the_clock_of_its_time_zone():
    # By the clock of Berlin, which changed on 25 October
    assert moments("0 7 * * *", 2, "Europe/Berlin") == ["Sat 31 07:00", "Sun 01 07:00"]
    after = next_after("0 7 * * *", "Europe/Berlin")
    first = after(datetime(2026, 10, 24, tzinfo=UTC).timestamp())
    assert [datetime.fromtimestamp(at, UTC).hour for at in (first, after(first))] == [5, 6]


@pytest.mark.parametrize(
    ("rule", "timezone", "message"),
    [
        ("every day", "UTC", "5 fields"),
        ("60 * * * *", "UTC", "60"),
        ("* * * * 8", "UTC", "'8' is no day of the week"),
        ("* * * * moon", "UTC", "'moon' is no day of the week"),
        ("0 0 30 2 *", "UTC", "never comes true"),
        ("* * * * *", "Mars/Olympus", "no time zone 'Mars/Olympus'"),
    ],
)
def test_what_is_no_rule_is_said_so(rule: str, timezone: str, message: str):
    with pytest.raises(ValueError, match=message):
        next_after(rule, timezone)


@pytest.mark.parametrize(
    "when",
    [
        lambda: {"in_s": 3600},
        lambda: {"at": time.time() + 3600},
        lambda: {"at": datetime.now(UTC) + timedelta(hours=1)},
    ],
    ids=["in so many seconds", "at so many seconds", "at a moment"],
)
def test_a_job_for_later_is_sent_at_its_moment(booted: Settings, when: Callable[[], dict]):
    jobs.relay()
    job = jobs.enqueue("send_welcome_email", "ann", **when())

    # I expect it to wait in the outbox
    assert queued(booted) == 0
    assert jobs.relay() == 0
    [waiting] = jobs.find(State.SCHEDULED)
    assert waiting.due_at == pytest.approx(time.time() + 3600, abs=60)

    # And to be sent once when its moment has come
    Job.update(send_at=time.time() - 1, due_at=time.time() - 1).execute()
    assert jobs.find(State.WAITING) == [job]
    assert jobs.relay() == 1
    assert jobs.relay() == 0
    assert queued(booted) == 1


def test_a_moment_that_has_passed_is_now(booted: Settings):
    jobs.enqueue("send_welcome_email", "ann", in_s=-5)

    assert queued(booted) == 1


def test_a_broker_that_lost_everything_does_not_make_it_sooner(booted: Settings):
    jobs.relay()
    jobs.enqueue("send_welcome_email", "ann", in_s=3600)
    dramatiq_broker_is_emptied(booted)

    assert jobs.relay() == 0
    assert len(jobs.find(State.SCHEDULED)) == 1


def dramatiq_broker_is_emptied(settings: Settings) -> None:
    import redis

    redis.Redis.from_url(settings.broker.url).flushdb()


@pytest.mark.parametrize("when", [{"at": 1.0, "in_s": 1}, {"at": datetime(2030, 1, 1)}])
def test_a_moment_must_be_one(booted: Settings, when: dict):
    with pytest.raises(ValueError, match=r"one of them|time zone"):
        jobs.enqueue("send_welcome_email", "ann", **when)


def test_what_waits_for_later_can_be_done_now(booted: Settings):
    job = jobs.enqueue("send_welcome_email", "ann", in_s=3600)

    jobs.retry(job.id)

    assert queued(booted) == 1
    with pytest.raises(jobs.NoSuchJob):
        jobs.retry(job.id)


def hourly() -> dict[str, Recurring]:
    return {"digest": Recurring("hourly", lambda now: now + 3600, "send_digest", [7])}


def test_each_moment_enqueues_one_job_however_many_schedulers_look(booted: Settings):
    # Given a recurring job that nobody has looked at yet
    recurring = hourly()
    assert jobs.enqueue_recurring(recurring) == []
    [row] = jobs.recurring_jobs()
    assert row.next_at == pytest.approx(time.time() + 3600, abs=60)

    # When its moment has come, and four look at once
    jobs.RecurringJob.update(next_at=time.time() - 1).execute()

    def look(_: int) -> list[str]:
        with db.connection_context():
            return jobs.enqueue_recurring(recurring)

    with ThreadPoolExecutor(4) as schedulers:
        enqueued = list(schedulers.map(look, range(4)))

    assert sorted(enqueued) == [[], [], [], ["digest"]]
    [job] = Job.select()
    assert (job.actor, job.arguments, job.id) == ("send_digest", [7], "digest")
    [row] = jobs.recurring_jobs()
    assert row.last_at
    assert row.next_at > time.time() + 3000


def test_it_is_not_enqueued_again_while_the_last_one_is_not_done(booted: Settings):
    recurring = hourly()
    jobs.enqueue_recurring(recurring)
    for _ in range(2):
        jobs.RecurringJob.update(next_at=1).execute()
        jobs.enqueue_recurring(recurring)

    assert Job.select().count() == 1


def test_a_changed_rule_counts_from_now_and_a_removed_one_is_forgotten(booted: Settings):
    jobs.enqueue_recurring(hourly() | {"old": Recurring("x", lambda now: now + 9, "old")})
    jobs.RecurringJob.update(next_at=1).execute()

    changed = {"digest": Recurring("daily", lambda now: now + 86_400, "send_digest")}
    jobs.forget_others(changed)

    assert jobs.enqueue_recurring(changed) == []
    [row] = jobs.recurring_jobs()
    assert (row.rule, row.name) == ("daily", "digest")
    assert row.next_at > time.time() + 80_000


def test_the_settings_add_recurring_jobs_and_cannot_lose_ours():
    settings = Settings(
        recurring={"digest": {"cron": "0 7 * * 1", "timezone": "Europe/Berlin", "arguments": [7]}}
    )

    found = recurring_jobs(settings)

    assert set(found) == {"clean_up", "digest"}
    assert found["digest"].rule == "0 7 * * 1 (Europe/Berlin)"
    assert (found["digest"].actor, found["digest"].arguments) == ("digest", [7])
    moved = recurring_jobs(Settings(recurring={"clean_up": "0 3 * * *"}))
    assert moved["clean_up"].rule == "0 3 * * *"


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the clock of this process: it stands still at a moment."""
    return lambda moment: monkeypatch.setattr(time, "time", moment.timestamp)


def daily() -> dict[str, Recurring]:
    return {"digest": Recurring("0 0 * * *", next_after("0 0 * * *"), "send_digest")}


def due() -> datetime:
    [row] = jobs.recurring_jobs()
    return datetime.fromtimestamp(row.next_at, UTC)


def test_a_job_that_ran_is_not_run_again_when_the_clock_is_set_back_a_little(
    booted: Settings, set_clock: Callable[[datetime], None]
):
    set_clock(datetime(2026, 5, 1, 23, 59, tzinfo=UTC))
    jobs.enqueue_recurring(daily())
    set_clock(datetime(2026, 5, 2, 0, 5, tzinfo=UTC))
    assert jobs.enqueue_recurring(daily()) == ["digest"]

    set_clock(datetime(2026, 5, 1, 22, tzinfo=UTC))
    assert jobs.enqueue_recurring(daily()) == []
    set_clock(datetime(2026, 5, 2, 0, 1, tzinfo=UTC))
    assert jobs.enqueue_recurring(daily()) == []
    assert due() == datetime(2026, 5, 3, tzinfo=UTC)


def test_what_a_clock_that_was_years_ahead_has_put_off_counts_from_now(
    booted: Settings, set_clock: Callable[[datetime], None]
):
    # Given a machine that starts with a wrong clock, and a job that is seen there
    set_clock(datetime(2036, 1, 1, 12, tzinfo=UTC))
    jobs.enqueue_recurring(daily())
    assert due() == datetime(2036, 1, 2, tzinfo=UTC)

    # When the clock is set right, I expect its next moment by that
    set_clock(datetime(2026, 5, 1, 12, tzinfo=UTC))
    assert jobs.enqueue_recurring(daily()) == []
    assert due() == datetime(2026, 5, 2, tzinfo=UTC)

    # And no less when it was run under the wrong clock
    set_clock(datetime(2036, 1, 2, 0, 1, tzinfo=UTC))
    assert jobs.enqueue_recurring(daily()) == ["digest"]
    set_clock(datetime(2026, 5, 1, 13, tzinfo=UTC))
    jobs.enqueue_recurring(daily())
    assert due() == datetime(2026, 5, 2, tzinfo=UTC)


def test_moments_that_the_clock_was_set_over_are_made_up_for_once(
    booted: Settings, set_clock: Callable[[datetime], None]
):
    set_clock(datetime(2026, 5, 1, 12, tzinfo=UTC))
    jobs.enqueue_recurring(daily())

    set_clock(datetime(2026, 5, 9, 12, tzinfo=UTC))

    assert jobs.enqueue_recurring(daily()) == ["digest"]
    assert jobs.enqueue_recurring(daily()) == []
    assert due() == datetime(2026, 5, 10, tzinfo=UTC)


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
    # Given a scheduler at work
    offset = tmp_path / "offset"
    offset.write_text("0")
    stack = new_stack(PYTHONPATH=str(ROOT / "chaos" / "clock"), CHAOS_CLOCK=str(offset))
    stack.start("gifster", "scheduler")
    assert stack.run("python", "-c", WAIT_FOR_THE_RELAY).returncode == 0
    eventually(lambda: "relayed jobs=1" in stack.log("gifster-scheduler"))

    # When the clock is set, and something waits to be sent
    offset.write_text(str(seconds))
    said = len(stack.log("gifster-scheduler"))
    assert stack.run("python", "-c", WAIT_FOR_THE_RELAY).returncode == 0

    # I expect it to be sent
    eventually(lambda: "relayed jobs=" in stack.log("gifster-scheduler")[said:])
