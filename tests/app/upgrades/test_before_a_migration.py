"""Workers and schedulers of a release that start before its migration, as they do on Kubernetes and
where somebody has forgotten it."""

import re
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from gifster.app import installation
from gifster.app.settings import Settings
from tests import images
from tests.machine import eventually
from tests.stack import Stack

WAITS = re.compile(
    r"is not up to date \(\d+ pending migrations?\): run gifster migrate, for which this process"
)


def undo_a_migration(stack: Stack) -> None:
    """Make the database one of a release before `0023_hashes_as_sent`."""
    with closing(sqlite3.connect(stack.var / "gifster.db")) as connection:
        connection.execute('DROP INDEX "gif_sent"')
        connection.execute('ALTER TABLE "gif" DROP COLUMN "sent_sha256"')
        connection.execute("DELETE FROM schema_migration WHERE name = '0023_hashes_as_sent'")
        connection.commit()


def test_workers_and_schedulers_wait_for_the_migration(new_stack: Callable[..., Stack]):
    # Given an upload that no worker has stored yet, and the database of a release before
    stack = new_stack()
    stack.start_web()
    gif_id = stack.upload(images.gif()).json()["id"]
    undo_a_migration(stack)

    # When two workers and a scheduler start
    waiting = [stack.start("gifster", name) for name in ("worker", "worker", "scheduler")]
    eventually(lambda: len(WAITS.findall(stack.log("gifster-worker"))) == 2)
    eventually(lambda: len(WAITS.findall(stack.log("gifster-scheduler"))) == 1)

    # I expect a signal to stop one of them in order
    waiting[0].send_signal(signal.SIGTERM)
    assert waiting[0].wait(60) == 0

    # And the others to begin once the database is migrated, without an attempt that failed
    stack.migrate()
    assert stack.finished(gif_id)["state"] == "ready"
    eventually(lambda: "the scheduler is ready" in stack.log("gifster-scheduler"))
    assert " fail " not in stack.log("gifster-worker")


@pytest.mark.parametrize("made", [False, True], ids=["no tables", "a release before"])
def test_a_plain_worker_waits_too(new_stack: Callable[..., Stack], made: bool):
    # Given a database without tables, or of a release before
    stack = new_stack()
    if made:
        undo_a_migration(stack)
    else:
        (stack.var / "gifster.db").write_bytes(b"")

    # When two workers start that nobody but Dramatiq looks after, which waits for its processes for
    # a while: it prints nothing of theirs until then, and takes no signal
    stopped, waiting = (
        stack.start_worker("--worker-fork-timeout", str(ms)) for ms in (1_000, 1_800_000)
    )
    # I expect both to say at once what they wait for
    eventually(lambda: len(WAITS.findall(stack.log("dramatiq-gifster.actors"))) == 2)

    # I expect a signal to stop one of them
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(60) == 0

    # And the other to begin once the database is migrated
    stack.migrate()
    stack.start_web()
    gif_id = stack.upload(images.gif()).json()["id"]
    assert stack.finished(gif_id)["state"] == "ready"
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(60) == 0


def test_a_database_that_goes_away_meanwhile_is_not_up_to_date(
    booted: Settings, monkeypatch: pytest.MonkeyPatch
):
    # Given a database that is not up to date, does not answer, and is migrated at last
    looks: list[int | None] = [1, None, None, 0]
    monkeypatch.setattr(installation, "_count_pending", lambda _: looks.pop(0))
    monkeypatch.setattr(installation, "LOOK_EVERY_S", 0.001)
    said: list[str] = []

    installation.wait_until_migrated(booted, said.append)

    # I expect a process to wait for all of that
    assert looks == []
    assert len(said) == 1


def test_a_database_that_does_not_answer_is_not_waited_for(
    booted: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(installation, "_count_pending", lambda _: None)

    installation.wait_until_migrated(booted, pytest.fail)
