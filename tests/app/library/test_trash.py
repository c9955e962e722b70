"""The trash: what has been there for too long is deleted, with its files, and nothing else is."""

from datetime import timedelta

import dramatiq
import pytest

from gifster import jobs
from gifster.app import library, one_by_one, trash
from gifster.app.database import db
from gifster.app.errors import Denied, NotFound
from gifster.app.library import Quota, Reach
from gifster.app.models import Gif, GifTag, User, now
from gifster.app.settings import Settings
from gifster.jobs.testing import run_jobs
from gifster.uploads import actors
from gifster.uploads.config import storage
from tests.app.gifs import added
from tests.app.people import person
from tests.clocks import SetClock

DAY = timedelta(days=1)


@pytest.fixture
def ann(booted: Settings) -> User:
    return person("Ann")


def age(gif: Gif, days: float) -> None:
    Gif.update(trashed_at=now() - days * DAY).where(Gif.id == gif.id).execute()


def test_a_clock_that_is_years_ahead_empties_no_trash(ann: User, monkeypatch: pytest.MonkeyPatch):
    # Given a GIF in the trash, while somebody watches the clock
    gif = added(user=ann)
    trash.throw_away(gif.id, ann)
    jobs.enqueue_recurring({})
    set_clock = SetClock(monkeypatch)

    # When the clock is three years ahead, for longer than a restart takes
    for minute in range(7):
        set_clock.ahead(3 * 365 * 86_400 + minute * 60)
        jobs.moment_before(0)
        assert trash.empty_old(30) == 0
    other = added(user=ann)
    trash.throw_away(other.id, ann)

    # I expect both GIFs to be there when it is right again, and to go when they are old enough
    set_clock.ahead(0)
    assert trash.empty_old(30) == 0
    assert Gif.get_by_id(other.id).trashed_at <= now() + DAY
    age(gif, 31)
    age(other, 31)
    assert trash.empty_old(30) == 2


def test_what_is_older_is_deleted_and_leaves_nothing_behind(ann: User):
    # Given stored GIFs in the trash for 29 and for 31 days and one that is not there, and one that
    # still waits for a worker
    for actor in (actors.store_asset, actors.complete_asset, actors.remove_files):
        dramatiq.get_broker().declare_actor(actor)
    young, old, kept = (added(user=ann, tags=["cats"]) for _ in range(3))
    run_jobs()
    waiting = added(user=ann)
    files = {gif.id: Gif.get_by_id(gif.id).image.stored.files for gif in (young, old, kept)}
    cached = Gif.get_by_id(waiting.id).image_tmp
    age(young, 29)
    age(old, 31)
    age(waiting, 31)

    # When the trash is emptied, and the workers have done their jobs
    assert trash.empty_old(30) == 2
    run_jobs()

    # I expect the old ones to be gone, with all their files
    assert {gif.id for gif in Gif.select()} == {young.id, kept.id}
    assert GifTag.select().count() == 2
    assert not any(storage(name).exists(key) for name, key in files[old.id])
    assert not storage("cache").exists(cached.key)
    for gif in (young, kept):
        assert all(storage(name).exists(key) for name, key in files[gif.id])
    assert jobs.Job.select().count() == 0
    assert trash.empty_old(30) == 0


def test_more_than_a_batch_is_deleted(ann: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(one_by_one, "AT_ONCE", 3)
    for _ in range(7):
        Gif.create(title="a", user=ann, trashed_at=now() - 40 * DAY)

    assert trash.empty_old(30) == 7
    assert Gif.select().count() == 0


def test_what_is_taken_back_meanwhile_stays(ann: User, monkeypatch: pytest.MonkeyPatch):
    # Given two old GIFs in the trash, and Ann, who takes back the second while the first is deleted
    first, second = (Gif.create(title="a", user=ann) for _ in range(2))
    for gif in (first, second):
        age(gif, 31)
    delete, deleted = library.delete, []

    def slow(gif: Gif) -> None:
        if not deleted:
            other = ({first.id, second.id} - {gif.id}).pop()
            Gif.update(trashed_at=None).where(Gif.id == other).execute()
        deleted.append(gif.id)
        delete(gif)

    monkeypatch.setattr(library, "delete", slow)

    assert trash.empty_old(30) == 1
    assert Gif.select().count() == 1


def test_the_trash_counts_for_the_quota(ann: User):
    quota = Quota(gifs=1, bytes=10_000)
    gif = added(user=ann, quota=quota)
    trash.throw_away(gif.id, ann)

    with pytest.raises(Denied):
        added(user=ann, quota=quota)
    assert trash.empty(ann) == 1
    added(user=ann, quota=quota)


def test_a_large_trash_is_emptied_by_jobs(ann: User, monkeypatch: pytest.MonkeyPatch):
    # Given five GIFs in the trash, where a request and a job delete two
    monkeypatch.setattr(trash, "A_REQUEST", 2)
    gifs = [added(user=ann) for _ in range(6)]
    for gif in gifs[:5]:
        trash.throw_away(gif.id, ann)

    # When Ann empties it, takes another GIF out of it, and throws one away
    assert trash.empty(ann) == 2
    back = Gif.get(Gif.trashed_at.is_null(False))
    for move in (trash.take_back, trash.throw_away):
        move(back.id, ann)
    trash.throw_away(gifs[5].id, ann)

    # I expect jobs to delete the others, and these two to stay
    deleted = []
    while job := jobs.Job.get_or_none(jobs.Job.actor == "empty_trash"):
        deleted.append(trash.empty_until(*job.arguments, 2))
        job.delete_instance()
    assert deleted == [2, 0]
    assert {gif.id for gif in Gif.select()} == {back.id, gifs[5].id}


def test_a_gif_without_an_owner_belongs_to_all_who_write_anonymously(ann: User):
    gif = added(user=None)

    for user in (None, ann):
        trash.throw_away(gif.id, user, Reach.OWNERLESS)
        assert trash.trash_of(ann) == ([], None)  # it is in nobody's list
        trash.take_back(gif.id, user, Reach.OWNERLESS)
    # Where only members write, only admins may
    with pytest.raises(Denied):
        trash.throw_away(gif.id, ann, Reach.OWN)
    trash.throw_away(gif.id, ann, Reach.ALL)
    with pytest.raises(NotFound):
        trash.take_back(gif.id, ann, Reach.OWN)


def test_an_emptied_trash_has_an_index(booted: Settings):
    Gif.insert_many([{"title": "a"}] * 500).execute()
    query = Gif.select(Gif.id).where(Gif.trashed_at < now()).limit(one_by_one.AT_ONCE)
    sql, values = query.sql()
    kind = "EXPLAIN" if db.obj.for_update else "EXPLAIN QUERY PLAN"
    if db.obj.for_update:
        db.execute_sql("ANALYZE gif")

    assert "gif_trashed" in str(db.execute_sql(f"{kind} {sql}", values).fetchall())
