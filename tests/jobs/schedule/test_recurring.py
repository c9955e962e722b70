"""Scheduled jobs and recurring jobs."""

import math
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import dramatiq
import pytest

from gifster import jobs
from gifster.jobs import Job, Recurring, RecurringJob, State, recurring, scheduler
from gifster.jobs.per_outbox import PerOutbox
from tests.clocks import SetClock
from tests.combinations import on_postgresql
from tests.jobs.conftest import Outbox


@pytest.mark.parametrize(
    "when",
    [
        lambda: {"in_s": 3600},
        lambda: {"in_s": timedelta(hours=1)},
        lambda: {"at": time.time() + 3600},
        lambda: {"at": datetime.now(UTC) + timedelta(hours=1)},
    ],
    ids=["in so many seconds", "in an hour", "at so many seconds", "at a moment"],
)
def test_a_job_for_later_is_sent_at_its_moment(outbox: Outbox, when: Callable[[], dict]):
    jobs.relay()
    job = jobs.enqueue("send_welcome_email", "ann", **when())

    # I expect it to wait in the outbox
    assert outbox.queued() == 0
    assert jobs.relay() == 0
    [waiting] = jobs.find(State.SCHEDULED)
    assert waiting.due_at == pytest.approx(time.time() + 3600, abs=60)

    # And to be sent once when its moment has come
    Job.update(send_at=time.time() - 1, due_at=time.time() - 1).execute()
    assert jobs.find(State.WAITING) == [job]
    assert jobs.relay() == 1
    assert jobs.relay() == 0
    assert outbox.queued() == 1


def test_a_moment_that_has_passed_is_now(outbox: Outbox):
    jobs.enqueue("send_welcome_email", "ann", in_s=-5)
    jobs.enqueue("send_welcome_email", "ann", in_s=0)

    assert outbox.queued() == 2


@pytest.mark.parametrize(
    "when",
    [{"at": time.time() * 1000}, {"in_s": math.inf}, {"in_s": math.nan}, {"in_s": 1e12}],
    ids=["milliseconds", "never", "not a number", "in 30,000 years"],
)
def test_a_moment_that_nobody_can_mean_is_refused(outbox: Outbox, when: dict[str, float]):
    with pytest.raises(ValueError, match="no moment before the year 9999: write seconds, not ms"):
        jobs.enqueue("send_welcome_email", "ann", **when)

    assert Job.select().count() == 0


def test_a_broker_that_lost_everything_does_not_make_a_scheduled_job_earlier(outbox: Outbox):
    jobs.relay()
    jobs.enqueue("send_welcome_email", "ann", in_s=3600)
    outbox.client.flushdb()

    assert jobs.relay() == 0
    assert len(jobs.find(State.SCHEDULED)) == 1


@pytest.mark.parametrize("when", [{"at": 1.0, "in_s": 1}, {"at": datetime(2030, 1, 1)}])
def test_an_ambiguous_moment_is_an_error(outbox: Outbox, when: dict):
    with pytest.raises(ValueError, match=r"one of them|time zone"):
        jobs.enqueue("send_welcome_email", "ann", **when)


def test_a_scheduled_job_can_be_run_now(outbox: Outbox):
    job = jobs.enqueue("send_welcome_email", "ann", in_s=3600)

    jobs.retry(job.id)

    assert outbox.queued() == 1
    with pytest.raises(jobs.NoSuchJob):
        jobs.retry(job.id)


def hourly() -> dict[str, Recurring]:
    return {"digest": Recurring("hourly", lambda now: now + 3600, "send_digest", [7])}


def test_each_moment_enqueues_one_job_however_many_schedulers_look(outbox: Outbox):
    # Given a recurring job that nobody has looked at yet
    every_hour = hourly()
    assert jobs.enqueue_recurring(every_hour) == []
    [row] = jobs.recurring_jobs()
    assert row.next_at == pytest.approx(time.time() + 3600, abs=60)

    # When its moment has come, and four look at once
    jobs.RecurringJob.update(next_at=time.time() - 1).execute()

    def look(_: int) -> list[str]:
        with outbox.database.connection_context():
            return jobs.enqueue_recurring(every_hour)

    with ThreadPoolExecutor(4) as schedulers:
        enqueued = list(schedulers.map(look, range(4)))

    assert sorted(enqueued) == [[], [], [], ["digest"]]
    [job] = Job.select()
    assert (job.actor, job.arguments, job.id) == ("send_digest", [7], "digest")
    [row] = jobs.recurring_jobs()
    assert row.last_at
    assert row.next_at > time.time() + 3000


def test_a_recurring_job_is_not_enqueued_while_its_last_run_is_not_done(outbox: Outbox):
    every_hour = hourly()
    jobs.enqueue_recurring(every_hour)
    for _ in range(2):
        jobs.RecurringJob.update(next_at=1).execute()
        jobs.enqueue_recurring(every_hour)

    assert Job.select().count() == 1


def test_a_recurring_job_that_has_failed_waits_no_longer_than_until_its_next_moment(
    outbox: Outbox, marked: Outbox
):
    # Given one that was down for long, so that its next retry is days away
    every_hour, now = hourly(), time.time()
    jobs.enqueue_recurring(every_hour)
    RecurringJob.update(next_at=1).execute()
    jobs.enqueue_recurring(every_hour)
    outbox.client.delete("dramatiq:default")
    later = {"attempts": 12, "due_at": now + 200_000, "send_at": now + 200_000}
    Job.update(**later).execute()

    # When its next moment comes while it runs, I expect it to be left alone
    Job.update(leased_by="worker").execute()
    RecurringJob.update(next_at=1).execute()
    assert jobs.enqueue_recurring(every_hour) == []
    assert Job.get().due_at == later["due_at"]

    # And when it comes while it waits, to be tried again at once, as the same job
    Job.update(leased_by=None).execute()
    RecurringJob.update(next_at=1).execute()
    assert jobs.enqueue_recurring(every_hour) == []
    assert jobs.relay() == 1
    assert outbox.queued() == 1
    assert (Job.get().id, Job.get().attempts, Job.get().due_at) == ("digest", 12, None)

    # A job of somebody else that has the key, and is scheduled, keeps its moment
    Job.update(attempts=0, due_at=now + 200_000, send_at=now + 200_000).execute()
    RecurringJob.update(next_at=1).execute()
    assert jobs.enqueue_recurring(every_hour) == []
    assert jobs.relay() == 0


@on_postgresql
def test_a_recurring_job_that_the_database_refuses_stops_no_other(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
):
    # Given a rule that its column cannot hold
    minutes, hours = (",".join(map(str, range(count))) for count in (60, 24))
    both = {"often": jobs.cron(f"{minutes} {hours} 1,2,3,4,5,6,7,8,9,10,11,12 * *", "a", queue="q")}
    both |= hourly()
    jobs.enqueue_recurring(both)

    RecurringJob.update(next_at=1).execute()
    assert jobs.enqueue_recurring(both) == ["digest"]
    assert caplog.text.count("not enqueued name=often") == 1


def test_a_changed_rule_counts_from_now_and_a_removed_one_is_forgotten(outbox: Outbox):
    jobs.enqueue_recurring(hourly() | {"old": Recurring("x", lambda now: now + 9, "old")})
    jobs.RecurringJob.update(next_at=1).execute()

    changed = {"digest": Recurring("daily", lambda now: now + 86_400, "send_digest")}
    jobs.forget_others(changed)

    assert jobs.enqueue_recurring(changed) == []
    [row] = jobs.recurring_jobs()
    assert (row.rule, row.name) == ("daily", "digest")
    assert row.next_at > time.time() + 80_000


def next_midnight(after: float) -> float:
    return (after // 86_400 + 1) * 86_400


def daily() -> dict[str, Recurring]:
    return {"digest": Recurring("daily", next_midnight, "send_digest")}


def due() -> datetime:
    [row] = jobs.recurring_jobs()
    return datetime.fromtimestamp(row.next_at, UTC)


def test_a_job_that_ran_is_not_run_again_when_the_clock_is_set_back_a_little(
    outbox: Outbox, set_clock: SetClock
):
    set_clock.stop(datetime(2026, 5, 1, 23, 59, tzinfo=UTC))
    jobs.enqueue_recurring(daily())
    set_clock.stop(datetime(2026, 5, 2, 0, 5, tzinfo=UTC))
    assert jobs.enqueue_recurring(daily()) == ["digest"]

    set_clock.stop(datetime(2026, 5, 1, 22, tzinfo=UTC))
    assert jobs.enqueue_recurring(daily()) == []
    set_clock.stop(datetime(2026, 5, 2, 0, 1, tzinfo=UTC))
    assert jobs.enqueue_recurring(daily()) == []
    assert due() == datetime(2026, 5, 3, tzinfo=UTC)


def test_a_recurring_job_follows_a_clock_that_was_years_ahead_and_is_set_right(
    outbox: Outbox, set_clock: SetClock
):
    # Given a machine that starts with a wrong clock, and a job that was first seen then
    set_clock.stop(datetime(2036, 1, 1, 12, tzinfo=UTC))
    jobs.enqueue_recurring(daily())
    assert due() == datetime(2036, 1, 2, tzinfo=UTC)

    # When the clock is set right, I expect its next moment by that
    set_clock.stop(datetime(2026, 5, 1, 12, tzinfo=UTC))
    assert jobs.enqueue_recurring(daily()) == []
    assert due() == datetime(2026, 5, 2, tzinfo=UTC)

    # And the same if the job ran under the wrong clock
    set_clock.stop(datetime(2036, 1, 2, 0, 1, tzinfo=UTC))
    assert jobs.enqueue_recurring(daily()) == ["digest"]
    set_clock.stop(datetime(2026, 5, 1, 13, tzinfo=UTC))
    jobs.enqueue_recurring(daily())
    assert due() == datetime(2026, 5, 2, tzinfo=UTC)


def test_one_job_makes_up_for_the_moments_that_the_clock_skipped(
    outbox: Outbox, set_clock: SetClock
):
    set_clock.stop(datetime(2026, 5, 1, 12, tzinfo=UTC))
    jobs.enqueue_recurring(daily())

    set_clock.stop(datetime(2026, 5, 9, 12, tzinfo=UTC))

    assert jobs.enqueue_recurring(daily()) == ["digest"]
    assert jobs.enqueue_recurring(daily()) == []
    assert due() == datetime(2026, 5, 10, tzinfo=UTC)


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> dict[str, Recurring]:
    """The recurring jobs that this test declares."""
    made: dict[str, Recurring] = {}
    monkeypatch.setattr(recurring, "_declared", made)
    return made


def at(*moment: int) -> float:
    return datetime(*moment, tzinfo=UTC).timestamp()


def test_jobs_recur_by_a_cron_rule_or_at_an_interval():
    weekly = jobs.cron("0 7 * * mon", "send_digest", [7], timezone="Europe/Berlin")
    assert weekly.rule == "0 7 * * mon (Europe/Berlin)"
    # 7 o'clock in Berlin is 6 o'clock UTC in winter, and 5 o'clock in summer
    assert weekly.next_after(at(2026, 3, 20)) == at(2026, 3, 23, 6)
    assert weekly.next_after(at(2026, 3, 24)) == at(2026, 3, 30, 5)

    assert jobs.cron("@hourly", "ping").next_after(at(2026, 3, 20, 5, 30)) == at(2026, 3, 20, 6)

    often = jobs.every(90, "ping")
    assert often.rule == "every 90 s"
    assert often.next_after(at(1970, 1, 1, 0, 1)) == 90
    assert often.next_after(90) == 180


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: jobs.cron("0 25 * * *", "ping"), "'25' is not a valid hour"),
        (lambda: jobs.cron("0 0 * * *", "ping", timezone="Mars"), "there is no time zone 'Mars'"),
        (lambda: jobs.every(0, "ping"), "every 0 s: use 1 or more"),
        (lambda: jobs.declare_recurring({"x" * 33: jobs.every(9, "a")}), "1 to 32 characters"),
        (
            lambda: [jobs.declare_recurring({"x": jobs.every(9, name)}) for name in ("a", "b")],
            "'x' is declared for a and for b: rename one of them",
        ),
    ],
)
def test_a_wrong_rule_is_told_at_once(declared: dict, make: Callable[[], object], said: str):
    with pytest.raises(ValueError, match=said):
        make()


def test_a_text_is_no_list_of_arguments():
    for make in (jobs.every, jobs.cron):
        with pytest.raises(TypeError, match=r"arguments='Ann': write a list, such as \['Ann'\]"):
            make(60 if make is jobs.every else "@daily", "greet", "Ann")


def test_a_recurring_job_goes_to_the_queue_of_its_actor(outbox: Outbox):
    @dramatiq.actor(queue_name="mails")
    def send_digest(days: int) -> None: ...

    every = {"digest": jobs.every(60, send_digest, [7]), "no": jobs.every(60, "mistyped")}
    jobs.enqueue_recurring(every)
    jobs.RecurringJob.update(next_at=1).execute()

    assert jobs.enqueue_recurring(every) == ["digest"]
    (job,) = Job.select()
    assert (job.queue, job.arguments) == ("mails", [7])


@pytest.mark.usefixtures("_own_handlers")
def test_the_scheduler_enqueues_what_was_declared_and_forgets_the_rest(
    outbox: Outbox,
    declared: dict,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    # Given a recurring job whose time has come, another that is no longer declared, and a bug
    @dramatiq.actor
    def ping() -> None: ...

    jobs.enqueue_recurring({"ping": jobs.every(60, "ping"), "old": jobs.every(60, "ping")})
    jobs.RecurringJob.update(next_at=1).execute()
    jobs.declare_recurring({"ping": jobs.every(60, "ping")})
    monkeypatch.setattr(scheduler, "relay", lambda lease_s: 1 / 0)
    monkeypatch.setattr(scheduler, "LOOK_EVERY_S", 0.05)

    # When the scheduler runs for some rounds, until SIGTERM
    look, rounds = scheduler.look_at_the_clock, []

    def looked(recurring: dict) -> None:
        look(recurring)
        rounds.append(len(recurring))
        if len(rounds) == 2:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(scheduler, "look_at_the_clock", looked)
    scheduler.run()

    # I expect one job, and the bug in the log
    assert rounds == [1, 1]
    with outbox.database.connection_context():
        assert [row.name for row in jobs.recurring_jobs()] == ["ping"]
        assert [job.id for job in Job.select()] == ["ping"]
    assert "a round of the scheduler has failed" in caplog.text


def test_schedulers_of_two_releases_keep_the_moments_of_both_rules(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
):
    # Given a scheduler of a former release beside one that has another rule
    both = [
        ({"tidy": jobs.every(seconds, "tidy", queue="default")}, PerOutbox(dict))
        for seconds in (60, 90)
    ]
    begin = 1_800_000_000.0
    ran: list[int] = []

    # When both look every few seconds
    for second in range(0, 400, 4):
        monkeypatch.setattr(recurring.clock, "now", lambda _, at=begin + second: at)
        for rule, own in both:
            monkeypatch.setattr(recurring, "_own", own)
            ran += [second - second % 30 for _ in jobs.enqueue_recurring(rule)]
            Job.delete().execute()

    # I expect the job once at each moment of either
    assert ran == [60, 90, 120, 180, 240, 270, 300, 360]


def test_a_scheduler_takes_the_row_back_from_one_that_is_gone(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
):
    moment = [1_800_000_000.0]
    monkeypatch.setattr(recurring.clock, "now", lambda _: moment[0])
    rule = {"tidy": jobs.every(86_400, "tidy", queue="default")}
    jobs.enqueue_recurring(rule)
    (row,) = jobs.recurring_jobs()

    # Given a scheduler of a former release, which has written another rule and ended
    RecurringJob.update(rule="every 3600", next_at=moment[0] + 3600).execute()

    # When ours looks at the clock for a minute, I expect its own rule and moment in the row again
    for _ in range(40):
        moment[0] += 2
        jobs.enqueue_recurring(rule)
    (again,) = jobs.recurring_jobs()
    assert (again.rule, again.next_at) == (row.rule, row.next_at)
