"""The lists of the jobs in each state, and how many there are."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from gifster import jobs
from gifster.jobs import Job, State, admin, dropping, states
from gifster.jobs.states import matching


def add(**columns: Any) -> str:
    row = {"actor": "work", "queue": "default", "arguments": [], "send_at": time.time()}
    return str(Job.create(**row | columns).id)


def walk(state: State, limit: int, **options: Any) -> Iterator[list[str]]:
    cursor: str | None = ""
    while cursor is not None:
        found, cursor = admin.page_of(state, cursor, limit, **options)
        yield [job.id for job in found]


def mixed() -> None:
    """Jobs in all states and two queues, of which many have the same moment."""
    now = time.time()
    for number in range(12):
        queue = "Mail" if number % 2 else "default"
        its = {"queue": queue, "created_at": now - number % 3}
        add(id=f"{'B' if number % 4 else 'a'}{number}", **its)
        add(held=True, group="ann", **its)
        for attempts in (0, 2):
            add(due_at=now - 60 - number % 3, attempts=attempts, **its)
            add(due_at=now + 600 + number % 3, attempts=attempts, **its)
        add(leased_by="w:1:x", started_at=now - number % 3, **its)
        add(failed_at=now - number % 3, **its)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("queue", ["", "Mail"])
def test_the_pages_of_a_list_have_each_job_once_in_order(database: Any, state: State, queue: str):
    with database.atomic():
        mixed()
    whole = [job.id for job in matching(state, queue=queue)]

    paged = [job_id for page in walk(state, 5, queue=queue) for job_id in page]

    assert paged == whole
    assert [job.id for job in jobs.find(state, 7, 3, queue=queue)] == whole[3:10]
    found = next(each for each in jobs.stats() if each.queue == "Mail")
    mail = [job for job in Job.select().where(Job.queue == "Mail") if jobs.state_of(job) is state]
    assert getattr(found, state.value) == len(mail)


def test_a_page_misses_no_job_while_others_are_done(database: Any):
    # Given ten waiting jobs, of which somebody has seen the first page
    now = time.time()
    ids = [add(created_at=now + number) for number in range(10)]
    seen, cursor = admin.page_of("waiting", "", 4)

    # When those are done, I expect the second page to go on after them
    Job.delete().where(Job.id.in_([job.id for job in seen])).execute()
    following, _ = admin.page_of("waiting", cursor or "", 4)
    assert [job.id for job in following] == ids[4:8]


def test_a_page_is_filled_up_while_workers_take_what_it_has_found(
    database: Any, monkeypatch: pytest.MonkeyPatch
):
    # Given workers that take the first three jobs just when a page has found them
    now = time.time()
    ids = [add(created_at=now + number) for number in range(10)]
    places = states._places

    def taken(*arguments: Any) -> list[str]:
        found = places(*arguments)
        Job.delete().where(Job.id.in_(ids[:3])).execute()
        return found

    monkeypatch.setattr(states, "_places", taken)

    # I expect the page to have others, and one after it
    first, cursor = admin.page_of("waiting", "", 4)
    assert [job.id for job in first] == ids[3:7]
    following, _ = admin.page_of("waiting", cursor or "", 4)
    assert [job.id for job in following] == ids[7:]


def test_a_page_may_end_with_any_key(database: Any):
    ids = [
        add(id=key, created_at=1.0 + n) for n, key in enumerate(["a\u00a0b", "c\nd", "e,f", "g"])
    ]

    assert list(walk(State.WAITING, 1)) == [[job_id] for job_id in ids]


def test_a_long_list_is_read_at_once(database: Any):
    with database.atomic():
        ids = [add(created_at=1.0 + number) for number in range(20)]

    assert [job.id for job in jobs.find(State.WAITING, 50_000, 15)] == ids[15:]


@pytest.mark.parametrize("cursor", ["50", "nan,a", "1.0", "1.0,", "1.0,a\0", f"1.0,{'a' * 33}"])
def test_a_cursor_that_no_page_has_is_refused(database: Any, cursor: str):
    with pytest.raises(admin.BadQuery, match="cursor"):
        admin.page_of("waiting", cursor, 5)


def test_a_count_may_have_an_end(database: Any):
    with database.atomic():
        for _ in range(20):
            add()
            add(held=True, group="ann")
    # An earlier test of this process may have declared other queues
    (whole,) = [each for each in admin.queues() if each.name == "default"]
    (some,) = [each for each in admin.queues(at_most=5) if each.name == "default"]

    assert (whole.stats.waiting, whole.throttled) == (40, 20)
    assert 5 <= some.stats.waiting <= 10
    assert some.throttled == 5
    assert some.stats.oldest_s == pytest.approx(whole.stats.oldest_s, abs=5)


def test_clear_ends_though_others_enqueue(database: Any, monkeypatch: pytest.MonkeyPatch):
    # Given somebody who enqueues a job whenever some are dropped
    monkeypatch.setattr(dropping, "BATCH", 2)
    with database.atomic():
        for _ in range(5):
            add(created_at=time.time() - 60)
    later: list[str] = []
    after = dropping.after

    def and_one_more(*arguments: Any, **options: Any) -> list[Job]:
        later.append(add(created_at=time.time() + 60))
        assert len(later) < 20
        return after(*arguments, **options)

    monkeypatch.setattr(dropping, "after", and_one_more)

    assert jobs.clear(State.WAITING) == 5
    assert {job.id for job in Job.select()} == set(later)


def test_clear_drops_a_job_that_changes_its_place(database: Any, monkeypatch: pytest.MonkeyPatch):
    # Given a job that is due at last, and comes first when the relay has looked at it
    monkeypatch.setattr(dropping, "BATCH", 2)
    now = time.time()
    for number in range(5):
        add(created_at=now - 50 + number)
    moved = add(created_at=now - 60, due_at=now - 1, group="ann")
    after = dropping.after

    def and_moved(*arguments: Any, **options: Any) -> list[Job]:
        found = after(*arguments, **options)
        Job.update(due_at=None, held=True).where(Job.id == moved).execute()
        return found

    monkeypatch.setattr(dropping, "after", and_moved)

    assert jobs.clear(State.WAITING) == 6


def test_all_jobs_of_a_state_are_dropped(database: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gifster.jobs.dropping.BATCH", 5)
    with database.atomic():
        mixed()

    assert jobs.clear(State.WAITING, queue="Mail") == 24
    assert jobs.clear(State.DEAD) == 12

    assert {job.queue for job in jobs.find(State.WAITING)} == {"default"}
    assert Job.select().count() == 12 * 8 - 36
