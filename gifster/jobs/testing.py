"""For the tests of applications: see which jobs wait, and run them within a test. It needs no
server, no worker and no image.

    def test_a_new_user_gets_a_mail(outbox):
        sign_up("ann@example.org")
        assert_enqueued("send_welcome_email", [1])
        run_jobs()
        assert mails == ["ann@example.org"]

Bind `jobs.TABLES` to the test's database, call `jobs.connect("stub://")` or let your module do so,
and import the module of your actors first. Dramatiq's `StubBroker` does, too, for actors without
our options. `gifster.uploads.testing` has the same for the jobs of uploads.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dramatiq
from dramatiq.asyncio import get_event_loop_thread, set_event_loop_thread
from dramatiq.broker import MessageProxy
from dramatiq.middleware import CurrentMessage

from gifster.jobs import outbox
from gifster.jobs.groups import release
from gifster.jobs.job import Job
from gifster.jobs.old_schema import needs
from gifster.jobs.outbox import name_of

__all__ = ["assert_enqueued", "enqueued", "inline_jobs", "run_jobs"]


@needs(Job)
def enqueued(
    actor: str | dramatiq.Actor[..., Any] | None = None,
    arguments: list[Any] | tuple[Any, ...] | None = None,
) -> list[Job]:
    """The jobs that wait in the outbox, oldest first; also those that are scheduled for later.

    Parameters:
      actor: only jobs of this actor, or of the actor with this name.
      arguments: only jobs with these arguments, as JSON returns them: lists, not tuples.

    Raises:
      TypeError: `arguments` is no list or tuple.
    """
    if arguments is not None and not isinstance(arguments, list | tuple):
        raise TypeError(f"arguments={arguments!r}: write a list, such as [{arguments!r}]")
    name = None if actor is None else name_of(actor)
    jobs = Job.select().where(Job.failed_at.is_null()).order_by(Job.created_at)
    return [
        job
        for job in jobs
        if (name is None or job.actor == name)
        and (arguments is None or job.arguments == list(arguments))
    ]


def assert_enqueued(
    actor: str | dramatiq.Actor[..., Any],
    arguments: list[Any] | tuple[Any, ...] | None = None,
    count: int = 1,
) -> None:
    """Assert that `count` such jobs wait in the outbox; see `enqueued()`.

    Raises:
      AssertionError: lists the jobs that wait.
      TypeError: `arguments` is no list or tuple.
    """
    assert_count(enqueued(actor, arguments), count, name_of(actor), arguments)


def assert_count(
    found: Sequence[Job], count: int, actor: str, arguments: Sequence[Any] | None = None
) -> None:
    """Assert that so many jobs of an actor were found."""
    what = repr(actor) if arguments is None else f"{actor!r} with {list(arguments)!r}"
    waiting = [f"{job.actor}{tuple(job.arguments)}" for job in enqueued()]
    assert len(found) == count, (
        f"{len(found)} jobs of {what} are enqueued, not {count}; waiting: {waiting or 'none'}"
    )


@needs(Job)
def run_jobs() -> int:
    """Run all jobs that wait in the outbox, and those that they enqueue, here and now
    (`Sidekiq::Worker.drain_all`). Jobs that are scheduled for later run, too.

    The first exception of a job is raised. That job stays in the outbox.

    Returns:
      the number of jobs.
    """
    done = 0
    while jobs := enqueued():
        for job in jobs:
            done += _perform(job)
    return done


@contextmanager
def inline_jobs() -> Iterator[None]:
    """Run each job as soon as the transaction that enqueued it has committed, for as long as the
    `with` block lasts (`Sidekiq::Testing.inline!`). The first exception of a job is raised at the
    end of the block."""
    errors: list[Exception] = []
    performing = False

    def perform(job: Job) -> None:
        nonlocal performing
        outer, performing = performing, True
        try:
            _perform(job)
            while not outer and job.group is not None and release(job.group, job.queue):
                pass  # jobs of its group that waited for it
        except Exception as error:  # noqa: BLE001 raised below
            errors.append(error)
        finally:
            performing = outer

    def perform_each(jobs: Sequence[Job]) -> None:
        for job in jobs:
            perform(job)

    send, outbox.send_committed = outbox.send_committed, perform_each
    try:
        yield
    finally:
        outbox.send_committed = send
    if errors:
        raise errors[0]


class _Here:
    """Stands in for the thread of an event loop, which Dramatiq's `AsyncIO` starts in a worker."""

    @staticmethod
    def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
        # With a factory, the thread keeps the loop that it has: that of the test's own tools.
        new_loop = asyncio.new_event_loop
        with _as_if_no_loop_ran(), asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(coroutine)


@contextmanager
def _as_if_no_loop_ran() -> Iterator[None]:
    """A `with` block in which this thread may run a loop, although it runs one: that of an async
    test, or of an async actor that has enqueued another job. That one waits, as for any other call.
    See "Extending" in the manual of asyncio."""
    loop: Any = asyncio._get_running_loop()
    if loop is None:
        yield
        return
    task: Any = asyncio.current_task(loop)
    if task is not None:
        asyncio._leave_task(loop, task)
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)
        if task is not None:
            asyncio._enter_task(loop, task)


@contextmanager
def _event_loop() -> Iterator[None]:
    """A `with` block in which async actors run in this thread, with its database connection, unless
    a worker of this process has an event loop."""
    if get_event_loop_thread() is not None:
        yield
        return
    here: Any = _Here()
    set_event_loop_thread(here)
    try:
        yield
    finally:
        set_event_loop_thread(None)


@contextmanager
def _current_message(broker: dramatiq.Broker, job: Job) -> Iterator[None]:
    """A `with` block in which `CurrentMessage` tells a job, if the broker has that middleware of
    Dramatiq's."""
    middleware: Any = next((m for m in broker.middleware if isinstance(m, CurrentMessage)), None)
    if middleware is None:
        yield
        return
    outer = CurrentMessage.get_current_message()
    middleware.before_process_message(broker, MessageProxy(job.message()))
    try:
        yield
    finally:
        middleware.before_process_message(broker, outer)


def _perform(job: Job) -> bool:
    """Run a job. Returns False if there is none: its savepoint was rolled back, or another job has
    dropped it."""
    # The row's arguments, as a worker gets them from JSON: lists for tuples, texts for the keys.
    found: Job | None = Job.get_or_none(Job.id == job.id)
    if found is None:
        return False
    job = found
    broker = dramatiq.get_broker()
    try:
        actor = broker.get_actor(job.actor)
    except dramatiq.ActorNotFound as error:
        error.add_note(
            f"The broker of this process ({type(broker).__name__}) has these actors: "
            f"{', '.join(sorted(broker.actors)) or 'none'}. Actors belong to the broker that was "
            "set when they were declared: import the modules of your actors, and set one broker "
            "only, by jobs.connect() or dramatiq.set_broker(), before."
        )
        raise
    with _event_loop(), _current_message(broker, job):
        actor.fn(*job.arguments)
    Job.delete().where(Job.id == job.id).execute()
    return True
