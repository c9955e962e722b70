"""Simultaneous changes of the same thing, on each database. Each succeeds, or is refused with a
reason; there are no server errors."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Event
from typing import Any

import peewee
import pytest

from gifster import jobs
from gifster.api.problems import DATABASE
from gifster.app import accounts, library, lists, tokens
from gifster.app.access import Reach
from gifster.app.accounts import leaving
from gifster.app.database import db
from gifster.app.library import LibraryError
from gifster.app.models import Gif, GifTag, Tag, User
from gifster.app.moderation import hiding
from gifster.app.settings import Settings
from gifster.jobs import transaction
from gifster.jobs.database_errors import Fault, fault_of
from tests.app.gifs import added, cached
from tests.app.people import person
from tests.combinations import on_postgresql


def outcome(work: Callable[[], Any]) -> str:
    """The result for a client: `done`, or the code of an error that is not the server's."""
    try:
        with db.connection_context():
            work()
    except LibraryError as error:
        return error.code
    except peewee.DoesNotExist:
        return "not_found"
    except Exception as error:
        fault = fault_of(error)
        if fault is None:
            raise
        return DATABASE[fault][1]
    return "done"


def at_once(*works: Callable[[], Any]) -> list[str]:
    """Start all of them at the same moment."""
    start = Barrier(len(works))

    def run(work: Callable[[], Any]) -> str:
        start.wait()
        return outcome(work)

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(run, works))


ROUNDS = 10


def test_tags_that_are_changed_while_their_gif_is_deleted(booted: Settings):
    seen: Counter[str] = Counter()
    for _ in range(ROUNDS):
        gif = added(tags=["old"])
        edit = lambda tags: lambda: library.edit_gif(gif.id, None, tags=tags)  # noqa: B023, E731
        seen.update(
            at_once(
                edit(list("abcdefgh")),
                edit(list("hgfedcba")),
                lambda: library.delete_gif(gif.id, None),  # noqa: B023
                lambda: library.edit_gif(gif.id, None, title="new"),  # noqa: B023
            )
        )

    assert set(seen) <= {"done", "gif_not_found"}, seen
    assert GifTag.select().count() == Gif.select().count() == 0


def test_tags_that_are_changed_twice_are_those_of_one_change(booted: Settings):
    for _ in range(ROUNDS):
        gif = added()
        some, others = list("abcdef"), list("fedxyz")
        said = at_once(
            *(lambda t=tags: library.edit_gif(gif.id, None, tags=t) for tags in (some, others) * 2)  # noqa: B023
        )

        assert said == ["done"] * 4
        assert lists.tags_of([gif])[gif.id] in (some, sorted(others))


def test_a_tag_that_is_deleted_while_it_is_given(booted: Settings):
    gif = added()
    seen: Counter[str] = Counter()
    for _ in range(ROUNDS):
        seen.update(
            at_once(
                lambda: library.edit_gif(gif.id, None, tags=["cats", "dogs"]),
                lambda: Tag.delete().where(Tag.name == "cats").execute(),
                lambda: added(tags=["dogs", "cats"]),
            )
        )

    assert set(seen) <= {"done", "conflict", "database_busy"}, seen


def test_an_image_that_is_replaced_while_its_gif_is_deleted(booted: Settings):
    seen: Counter[str] = Counter()
    for _ in range(ROUNDS):
        gif = added()
        seen.update(
            at_once(
                lambda: library.replace_image(gif.id, None, cached()),  # noqa: B023
                lambda: library.replace_image(gif.id, None, cached()),  # noqa: B023
                lambda: library.delete_gif(gif.id, None),  # noqa: B023
                lambda: library.delete_gif(gif.id, None),  # noqa: B023
            )
        )

    assert set(seen) <= {"done", "gif_not_found"}, seen
    assert Gif.select().count() == 0


def test_one_address_that_signs_up_twice(booted: Settings):
    for number in range(3):
        said = at_once(*[lambda n=number: accounts.sign_up(f"a{n}@example.org", "12345678")] * 4)
        assert sorted(said) == ["done", "email_taken", "email_taken", "email_taken"]


@pytest.mark.parametrize("quota", [None, library.Quota(1000, 10**9)])
def test_a_user_who_is_deleted_while_uploading(booted: Settings, quota: library.Quota | None):
    seen: Counter[str] = Counter()
    for number in range(ROUNDS):
        user = User.create(email=f"b{number}@example.org", name="b", password_hash="x")
        seen.update(
            at_once(
                lambda: added(user=user, tags=["a"], quota=quota),  # noqa: B023
                lambda: User.delete_by_id(user.id),  # noqa: B023
                lambda: tokens.issue_token(user),  # noqa: B023
            )
        )

    assert set(seen) <= {"done", "account_gone", "conflict", "database_busy"}, seen
    assert User.select().where(User.email.startswith("b")).count() == 0


@on_postgresql
def test_a_deadlock_is_a_reason_to_try_again(booted: Settings):
    for name in "ab":
        Tag.create(name=name)
    both = Barrier(2)

    def rename(first: str, second: str) -> None:
        with jobs.transaction(db):
            Tag.update(name=Tag.name).where(Tag.name == first).execute()
            both.wait()
            Tag.update(name=Tag.name).where(Tag.name == second).execute()

    said = at_once(lambda: rename("a", "b"), lambda: rename("b", "a"))

    assert sorted(said) == ["database_busy", "done"]
    assert DATABASE[Fault.BUSY][0] == 503


def test_jobs_that_are_retried_dropped_and_done_at_once(booted: Settings):
    seen: Counter[str] = Counter()
    for number in range(ROUNDS):
        job = jobs.Job.create(
            id=f"dead{number}", actor="a", arguments=[], queue="q", send_at=0, failed_at=1.0
        )

        def tried(work: Callable[[str], Any], job_id: str = job.id) -> None:
            try:
                work(job_id)
            except jobs.NoSuchJob:
                raise library.NotFound("job_not_found", "") from None

        seen.update(
            at_once(
                lambda: tried(jobs.retry),
                lambda: tried(jobs.retry),
                lambda: tried(jobs.drop),
                lambda: jobs.Job.delete().where(jobs.Job.failed_at.is_null()).execute(),
            )
        )

    assert set(seen) <= {"done", "job_not_found"}, seen


def test_of_two_last_admins_who_leave_at_once_one_stays(booted: Settings):
    for number in range(5):
        User.update(is_admin=False).execute()
        two = [
            User.create(
                email=f"{name}{number}@example.org", name=name, password_hash="", is_admin=True
            )
            for name in ("ann", "bob")
        ]

        results = at_once(*(partial(leaving.leave, one, with_gifs=True) for one in two))

        assert sorted(results) == ["done", "last_admin"]
        assert User.select().where(User.is_admin).count() == 1


@on_postgresql
def test_what_names_a_moderator_does_not_wait_for_their_upload(booted: Settings):
    """Each could wait for the other, as an upload waits for the words of the GIF that is hidden."""
    # Given a moderator whose upload has locked their quota, and goes on
    mo, gif = person("Mo", is_moderator=True), added(title="cat")
    begun, hidden = Event(), Event()

    def upload() -> bool:
        with db.connection_context(), transaction(db):
            library.lock_quota(mo, library.Quota(1, 1))
            begun.set()
            return hidden.wait(60)

    with ThreadPoolExecutor(1) as threads:
        is_hidden_first = threads.submit(upload)
        assert begun.wait(60)

        # When they hide a GIF
        hiding.moderate(gif.id, "hide", mo, Reach.MODERATED, "Spam")
        hidden.set()

        # I expect its entry in the log, which names them, to be there before the upload ends
        assert is_hidden_first.result()
