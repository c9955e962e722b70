"""Readiness answers in time, whatever does not; a process that is about to stop is not ready."""

import signal
import threading
from collections.abc import Callable
from unittest.mock import Mock

import pytest

from gifster.app import readiness
from gifster.app.readiness import NOT_KNOWN, Outcome, Readiness
from gifster.jobs import BrokerUnavailable
from tests.machine import eventually
from tests.stack import Stack


class Slow:
    """A check that waits until it is told how to end."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.answer, self.count = "", 0

    def __call__(self) -> str:
        self.count += 1
        self.told.wait(60)
        return self.answer


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "FIRST_WITHIN_S", 0.05)
    monkeypatch.setattr(readiness, "WITHIN_S", 0.05)


def test_nobody_waits_for_a_check_that_takes_long(monkeypatch: pytest.MonkeyPatch):
    # Given a check that does not end
    look = Slow()
    outcome = Outcome(look, "the database")

    # I expect everybody to have an answer, and one check
    assert {outcome.get() for _ in range(5)} == {NOT_KNOWN}
    assert look.count == 1

    # When it ends, I expect its outcome
    look.told.set()
    eventually(lambda: outcome.get() == "")

    # When the next one does not end, I expect the last outcome, until that takes too long
    look.told.clear()
    outcome._holds_until = 0.0
    assert outcome.get() == ""
    monkeypatch.setattr(readiness, "SILENT_S", 0.0)
    assert outcome.get() == "the database has not answered for 0 seconds"
    assert look.count == 2
    look.told.set()
    eventually(lambda: outcome.get() == "")


def test_a_doubt_ends_with_a_check_that_began_after_it_and_finds_nothing_wrong(
    monkeypatch: pytest.MonkeyPatch,
):
    # Given a doubt that comes while a check is under way
    monkeypatch.setattr(readiness, "BAD_FOR_S", 0.0)
    look = Slow()
    outcome = Outcome(look, "the database")
    assert outcome.in_doubt is False
    outcome.get()
    eventually(lambda: look.count == 1)
    outcome.doubt()

    # When that check finds nothing wrong, I expect the doubt to remain
    look.told.set()
    eventually(lambda: outcome.get() == "")
    outcome.doubt()
    look.answer = "away"
    eventually(lambda: outcome.get() == "away")
    assert outcome.in_doubt is True

    # And to end with the next one that does
    look.answer = ""
    eventually(lambda: outcome.get() == "")
    assert outcome.in_doubt is False


def test_a_process_that_has_no_thread_left_checks_later(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readiness, "BAD_FOR_S", 0.0)
    outcome = Outcome(lambda: "", "the database")
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("no thread")))
        assert outcome.get() == NOT_KNOWN

    eventually(lambda: outcome.get() == "")


def test_a_check_that_fails_unexpectedly_is_an_answer():
    def look() -> str:
        raise RuntimeError("a bug")

    outcome = Outcome(look, "the database")

    assert eventually(lambda: outcome.get() != NOT_KNOWN and outcome.get()) == (
        "the database cannot be checked: RuntimeError"
    )


def test_a_broker_that_hangs_does_not_keep_a_process_from_being_ready(
    caplog: pytest.LogCaptureFixture,
):
    # Given a broker whose machine says nothing
    let_go = threading.Event()

    def ask() -> None:
        let_go.wait(60)
        raise BrokerUnavailable("timed out connecting to 10.0.0.5:6379")

    ready = Readiness(ask)

    # I expect an answer at once, and a better one later, which names no host
    assert ready.broker() == NOT_KNOWN
    let_go.set()
    eventually(lambda: ready.broker() == "the broker takes no jobs")
    assert "connecting to 10.0.0.5:6379" in caplog.text


def test_each_process_writes_a_row_of_its_own(monkeypatch: pytest.MonkeyPatch):
    """A process that is stopped while it has the row locked would make all others wait."""
    rows = set()
    for pid in range(1, 400):
        monkeypatch.setattr("os.getpid", lambda pid=pid: pid)
        rows.add(readiness._row())

    assert rows in ({1}, set(range(1, readiness.ROWS + 1)))


def test_a_web_server_that_is_told_to_stop_serves_until_its_proxy_knows(
    new_stack: Callable[..., Stack],
):
    # Given a web server that drains for as long as this test takes
    stack = new_stack(GIFSTER_WEB__DRAIN_S="600")
    web = stack.start_web()
    assert "connection" not in stack.client.get("/healthz").headers

    # When it is told to stop
    web.terminate()

    # I expect its proxy to be told, requests to be served, and each answer to end its connection
    eventually(lambda: stack.client.get("/readyz").status_code == 503)
    assert stack.client.get("/readyz").json()["status"] == "stopping"
    served = stack.client.get("/api/gifs")
    assert (served.status_code, served.headers["connection"]) == (200, "close")

    # And the second signal to stop it at once
    web.send_signal(signal.SIGTERM)
    assert web.wait(60) == 0
    assert "Shutting down granian" in stack.log("gifster-web")


def test_a_web_server_stops_after_it_has_drained(new_stack: Callable[..., Stack]):
    stack = new_stack(GIFSTER_WEB__DRAIN_S="0.3")
    web = stack.start_web()

    web.terminate()

    assert web.wait(60) == 0
