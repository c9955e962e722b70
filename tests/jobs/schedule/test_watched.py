"""A clock that is set, or that nobody watched, makes nothing old."""

from datetime import UTC, datetime, timedelta

from gifster import jobs
from tests.clocks import SetClock
from tests.jobs.conftest import Outbox

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def before(age: timedelta) -> datetime:
    return datetime.fromtimestamp(round(jobs.moment_before(age.total_seconds())), UTC)


def watch(set_clock: SetClock, begin: datetime, minutes: int) -> None:
    """Look at the clock every minute, as a scheduler does."""
    for minute in range(minutes + 1):
        set_clock.stop(begin + timedelta(minutes=minute))
        jobs.moment_before(0)


def test_what_was_there_before_the_first_look_is_as_old_as_it_seems(
    outbox: Outbox, set_clock: SetClock
):
    set_clock.stop(NOON)

    assert before(30 * DAY) == NOON - 30 * DAY


def test_a_clock_that_is_set_years_forward_makes_nothing_older(outbox: Outbox, set_clock: SetClock):
    # Given a clock that was watched until noon
    watch(set_clock, NOON - timedelta(minutes=10), 10)

    # When it is three years ahead, for ten minutes
    watch(set_clock, NOON + 3 * 365 * DAY, 10)

    # I expect only those minutes to count
    assert before(30 * DAY) == NOON - 30 * DAY + timedelta(minutes=10)
    assert before(timedelta(minutes=4)) == NOON + 3 * 365 * DAY + timedelta(minutes=6)

    # And when it is set right, I expect nothing to be left of it
    watch(set_clock, NOON + timedelta(minutes=10), 2)
    assert before(30 * DAY) == NOON - 30 * DAY + timedelta(minutes=2)


def test_a_restart_counts_as_watched_and_a_night_does_not(outbox: Outbox, set_clock: SetClock):
    watch(set_clock, NOON - timedelta(minutes=10), 10)
    watch(set_clock, NOON + timedelta(minutes=4), 6)
    assert before(timedelta(hours=1)) == NOON + timedelta(minutes=10) - timedelta(hours=1)

    watch(set_clock, NOON + timedelta(hours=8), 10)
    assert before(timedelta(hours=1)) == NOON - timedelta(minutes=40)


def test_a_clock_that_was_set_back_while_no_relay_ran_makes_no_job_wait(
    outbox: Outbox, set_clock: SetClock
):
    # Given a job that was enqueued while the clock was two hours ahead, and a scheduler then
    set_clock.ahead(7200)
    jobs.enqueue_recurring({})
    jobs.enqueue("send_welcome_email", "ann")

    # When the clock is right, and a relay looks for the first time
    set_clock.ahead(0)

    assert jobs.relay() == 1
