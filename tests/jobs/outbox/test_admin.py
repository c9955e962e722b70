"""What the page and other ways in ask of the jobs, on both databases."""

import gc
import json
import math
import time

import dramatiq
import pytest

from gifster import jobs
from gifster.jobs import Job, State, Worker, admin, find
from tests.jobs.conftest import Outbox


def waiting(text: str, **options: str) -> list[str]:
    """The actors of the waiting jobs that have a text."""
    return [job.actor for job in find(State.WAITING, text=text, **options)]


def test_jobs_are_found_by_a_text_anywhere_in_them(outbox: Outbox):
    jobs.enqueue("charge", "Zoë", 10, queue="money", group="north")
    greet = jobs.enqueue("greet", "C:\\50%_off", {"to": "Ann"})
    Job.update(error="LookupError('none')").where(Job.id == greet.id).execute()

    assert waiting("Zoë") == ["charge"]
    assert waiting("CHARGE") == ["charge"]
    assert waiting("nort") == ["charge"]
    assert waiting("lookuperror") == ["greet"]
    assert waiting('"to":"Ann"') == ["greet"]
    assert waiting("C:\\50%_") == ["greet"]
    assert waiting("50_off") == []
    assert waiting(greet.id) == ["greet"]
    assert waiting("", queue="money") == ["charge"]
    assert waiting("greet", queue="money") == []
    # A job whose arguments cannot be read is found as well
    Job.update(arguments=Job.arguments.cast("TEXT").concat("damaged")).execute()
    assert waiting("damaged") == ["charge", "greet"]


def test_all_dead_jobs_are_retried_a_few_at_a_time(outbox: Outbox, monkeypatch: pytest.MonkeyPatch):
    # Given more dead jobs than are in memory at a time, some of one moment
    monkeypatch.setattr(admin, "MAX_LIMIT", 3)
    for number in range(10):
        jobs.enqueue("charge" if number else "greet", number)
    Job.update(failed_at=5).execute()
    Job.update(failed_at=7).where(Job.actor == "greet").execute()

    # When one that was retried dies again meanwhile
    seen: list[str] = []
    in_memory: list[int] = []

    def retry(job_id: str) -> None:
        seen.append(job_id)
        in_memory.append(
            sum(type(each) is Job and each.failed_at == 5 for each in gc.get_objects())
        )
        jobs.retry(job_id)
        Job.update(failed_at=9).where(Job.id == seen[0]).execute()

    admin.all_dead(retry, text="charge")

    # I expect each to be retried once, and the others to be left alone
    assert len(seen) == len(set(seen)) == 9
    assert {job.actor for job in find(State.DEAD)} == {"greet", "charge"}
    assert len(find(State.DEAD)) == 2
    assert max(in_memory) < 6


def test_a_row_whose_moment_is_after_the_year_9999_hides_no_other(outbox: Outbox):
    # Given a job whose row an earlier release wrote, for a moment in milliseconds
    jobs.enqueue("send_welcome_email", "ann", in_s=3600)
    far = jobs.enqueue("send_welcome_email", "bob", in_s=7200)
    Job.update(due_at=time.time() * 1000).where(Job.id == far.id).execute()

    found, _ = admin.page_of("scheduled", "", 10)

    assert [admin.job_json(job)["arguments"] for job in found] == [["ann"], ["bob"]]
    assert admin.job_json(found[1])["due_at"] == "9999-12-31T23:59:59.000Z"


def test_arguments_that_json_does_not_know_are_written_out(outbox: Outbox):
    odd = [math.nan, -math.inf, {"b\udcfc.gif": ["b\udcfc.gif", "Zoë", 1.5, None, True]}]
    job = jobs.enqueue("greet", *odd)

    shown = admin.job_json(admin.get_job(job.id))

    assert shown["arguments"] == [
        "nan", "-inf", {"b\\udcfc.gif": ["b\\udcfc.gif", "Zoë", 1.5, None, True]}
    ]  # fmt: skip
    json.dumps(shown, ensure_ascii=False, allow_nan=False).encode()


def test_the_queues_that_have_weights_come_first(outbox: Outbox):
    jobs.enqueue("greet", queue="mails", group="ann")
    Job.update(held=True).execute()

    found = admin.queues({"slow": jobs.QueueWeight(1, max=2), "fast": jobs.QueueWeight(5)})

    assert [(queue.name, queue.weight, queue.max) for queue in found] == [
        ("slow", 1, 2),
        ("fast", 5, None),
        ("mails", 1, None),
    ]
    assert found[2].throttled == 1


def test_by_default_the_weights_are_those_of_the_broker(outbox: Outbox):
    broker = jobs.connect(outbox.broker_url, weights={"fast": jobs.QueueWeight(5)})

    assert [(queue.name, queue.weight) for queue in admin.queues()] == [("fast", 5)]
    broker.close()


def test_an_idle_queue_can_be_paused(outbox: Outbox):
    # Given a queue of an actor, one of a living worker, and one of a worker that died
    dramatiq.actor(lambda: None, actor_name="shrink", queue_name="images")
    for queues, seen_at in (("default mails", time.time()), ("old", 0.0)):
        Worker.create(
            id=queues, host="h", pid=1, threads=1, queues=queues, started_at=0.0, seen_at=seen_at
        )

    assert [queue.name for queue in admin.queues()] == ["default", "images", "mails"]
    assert admin.set_paused("images", True).paused
    assert jobs.paused_queues() == {"images"}
