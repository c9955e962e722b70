"""What cannot be sent: the broker is away or refuses a job, or a row is bad. Others are sent."""

import itertools
import sys
import time

import dramatiq
import pytest
import redis

from gifster import jobs
from gifster.jobs import Job, State, losses
from tests.jobs.conftest import Outbox
from tests.jobs.relay.backlog import backlog, sent
from tests.machine import eventually


def test_a_broker_that_is_away_leaves_the_rows_unchanged(
    marked: Outbox, caplog: pytest.LogCaptureFixture
):
    good = dramatiq.get_broker()
    backlog(3)
    before = list(Job.select().order_by(Job.send_at).dicts())
    jobs.connect("redis://127.0.0.1:1/0")

    assert [jobs.relay() for _ in range(3)] == [0, 0, 0]

    # I expect no change, one line in the log, and another line when the broker is back
    assert list(Job.select().order_by(Job.send_at).dicts()) == before
    assert caplog.text.count("the relay waits for the broker") == 1
    dramatiq.set_broker(good)
    assert jobs.relay() == 3
    assert jobs.relay() == 0
    assert caplog.text.count("the broker answers the relay again") == 1


def test_a_broker_that_restarts_during_a_round_of_the_relay_is_noticed_by_the_next(
    marked: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    jobs.enqueue("greet", "ann")
    before = losses._run_of(dramatiq.get_broker())
    runs = itertools.chain([before], itertools.repeat("the next run"))
    monkeypatch.setattr(losses, "_run_of", lambda _: next(runs))

    assert jobs.relay() == 0

    assert jobs.relay() == 1
    assert "the broker was restarted or replaced: jobs=1" in caplog.text
    assert jobs.relay() == 0


def test_a_batch_that_breaks_off_is_sent_when_the_broker_is_back(
    marked: Outbox, monkeypatch: pytest.MonkeyPatch
):
    # Given a job over which a worker died, one that was sent three times, and one that is new,
    # and a broker whose connection breaks as they are sent
    ids = backlog(3)
    Job.update(leased_by="killed").where(Job.id == ids[0]).execute()
    Job.update(sendings=3).where(Job.id == ids[1]).execute()

    def breaks(*arguments: object, **options: object) -> None:
        raise redis.ConnectionError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(redis.connection.AbstractConnection, "send_packed_command", breaks)
        assert jobs.relay() == 0

    # I expect them to be due as before; a death is counted once
    assert [Job.get_by_id(i).sendings for i in ids] == [0, 3, 0]
    assert jobs.relay() == 3
    assert sent(marked) == [0, 1, 2]
    assert [Job.get_by_id(i).deaths for i in ids] == [1, 0, 0]
    # and the pause before the next sending to grow with those that were made
    now = time.time()
    pauses = [Job.get_by_id(i).send_at - now for i in ids]
    assert pauses == [pytest.approx(s, abs=30) for s in (60, 480, 60)]


def test_a_queue_that_the_broker_refuses_stops_no_other(
    marked: Outbox, caplog: pytest.LogCaptureFixture
):
    # Given a key in the broker that is not a queue, for which the oldest jobs are
    marked.client.set("dramatiq:broken", "no list")
    bad, good = backlog(2, "broken"), backlog(3)

    assert jobs.relay() == 3

    assert sent(marked) == [0, 1, 2]
    assert jobs.relay() == 0
    row = Job.get_by_id(bad[0])
    assert "WRONGTYPE" in row.error
    assert time.time() + 50 < row.send_at < time.time() + 70
    assert row.sendings == 0
    assert f"deferred job={bad[0]}" in caplog.text
    assert Job.get_by_id(good[0]).error is None


def test_a_row_that_cannot_be_read_stops_no_other(marked: Outbox, caplog: pytest.LogCaptureFixture):
    bad, good = backlog(2)
    marked.database.execute_sql(f"UPDATE outbox SET arguments = '[1,' WHERE id = '{bad}'")

    assert jobs.relay() == 1

    # I expect that job to be given up, with the reason, and to stop no other
    assert sent(marked) == [1]
    (dead,) = jobs.find(State.DEAD)
    assert dead.id == bad
    assert "cannot be read" in dead.error
    assert dead.arguments == ["[1,"]
    jobs.retry(bad)
    assert "cannot be read" in caplog.text
    assert jobs.relay() == 0
    assert [job.id for job in jobs.find(State.WAITING)] == [good]
    jobs.drop(bad)


def test_a_message_that_a_hook_refuses_stops_no_other(marked: Outbox):
    class Refuses(dramatiq.Middleware):
        def before_enqueue(self, broker: object, message: dramatiq.Message, delay: object) -> None:
            if message.args == (1,):
                raise dramatiq.middleware.MiddlewareError("not this one")

    dramatiq.get_broker().add_middleware(Refuses())
    ids = backlog(3)

    assert jobs.relay() == 2

    assert sent(marked) == [0, 2]
    assert "not this one" in Job.get_by_id(ids[1]).error


def test_a_recurring_job_whose_rule_fails_stops_no_other(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
):
    def fails(after: float) -> float:
        raise OverflowError("no such moment")

    every = {
        "bad": jobs.Recurring("never", fails, "work"),
        "good": jobs.Recurring("always", lambda after: after, "work"),
    }

    assert jobs.enqueue_recurring(every) == []
    assert jobs.enqueue_recurring(every) == ["good"]
    assert caplog.text.count("not enqueued name=bad") == 1


def test_a_worker_keeps_the_row_that_it_cannot_read(marked: Outbox):
    # Given a row that was damaged after its message was sent, and a sound one
    done: list[str] = []
    dramatiq.actor(done.append, actor_name="note", queue_name="default")
    bad, _ = (jobs.enqueue("note", name).id for name in ("ann", "bob"))
    marked.database.execute_sql(f"UPDATE outbox SET arguments = '[1,' WHERE id = '{bad}'")

    worker = dramatiq.Worker(dramatiq.get_broker(), worker_threads=1, worker_timeout=100)
    worker.start()
    eventually(lambda: done == ["bob"] and jobs.find(State.DEAD))
    worker.stop()

    # I expect the job to be given up, with the reason
    (dead,) = jobs.find(State.DEAD)
    assert dead.id == bad
    assert "cannot be read" in dead.error
    assert dead.leased_by is None


def test_a_relay_that_began_before_the_broker_went_away_does_not_say_that_it_is_back(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    # Given a relay that has sent all jobs, when another one finds the broker gone
    broker = dramatiq.get_broker()

    def another() -> int:
        gone = jobs.connect("redis://127.0.0.1:1")
        assert jobs.relay() == 0
        gone.close()
        dramatiq.set_broker(broker)
        return 0

    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["gifster.jobs.relay"], "release_all", another)
        assert jobs.relay() == 0

    # I expect the log to say so until a relay that began later has an answer
    assert caplog.text.count("the relay waits for the broker") == 1
    assert "the broker answers the relay again" not in caplog.text
    assert jobs.relay() == 0
    assert caplog.text.count("the broker answers the relay again") == 1
