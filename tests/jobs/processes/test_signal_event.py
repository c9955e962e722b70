"""Signals that come at any line of a wait, of a group of processes, or of the log."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
from dramatiq.brokers.stub import StubBroker

from gifster.jobs.brokers.fair import FairScheduler
from gifster.jobs.heartbeat import Heartbeat
from gifster.jobs.log_pipe import GatheredLines
from gifster.jobs.process_group import ProcessGroup
from gifster.jobs.signal_event import SignalEvent
from gifster.jobs.worker_command import _tell_the_workers
from tests.interrupting import at_each_line, interrupted


def test_a_signal_that_comes_at_any_line_of_a_wait_ends_it():
    event = SignalEvent()

    def begin() -> Callable[[], object]:
        event.clear()
        return lambda: event.wait(0.01)

    assert at_each_line(begin, event.set) >= 3
    assert event.is_set() is False  # in the last round no line was left to be interrupted


def test_an_event_is_set_until_it_is_cleared():
    event = SignalEvent()
    assert event.wait(0) is False
    event.set()
    event.set()
    assert (event.wait(0), event.wait(), event.is_set()) == (True, True, True)
    event.clear()
    assert (event.wait(0), event.is_set()) == (False, False)


def test_another_thread_ends_a_wait():
    event = SignalEvent()
    other = threading.Timer(0.01, event.set)
    other.start()
    assert event.wait() is True
    other.join()


def test_a_group_of_processes_stops_at_whichever_line_the_signal_comes():
    said: list[str] = []
    for line in range(1, 8):  # those of one wait; then the first come again
        group = ProcessGroup({}, lambda line, name: said.append(line))
        stop = partial(group.ask_to_stop, signal.SIGTERM, None)
        assert interrupted(group.keep_running, line, stop)

    # I expect each to have ended, and the handler to have printed nothing
    assert said == []


@pytest.mark.parametrize("at_once", [False, True])
def test_a_handler_may_log_while_lines_are_written(at_once: bool):
    written: list[str] = []
    lines = GatheredLines(written.append)
    if at_once:  # as a process does that ends
        lines.finish()
    count = 0

    def begin() -> Callable[[], object]:
        nonlocal count
        count += 1
        lines.write(f"{count}\n")
        return lines.flush

    found = at_each_line(begin, lambda: (lines.write(f"signal {count}\n"), lines.flush()))

    lines.flush()
    assert found >= 5
    expected = {f"{n}\n" for n in range(1, count + 1)} | {f"signal {n}\n" for n in range(1, count)}
    assert set("".join(written).splitlines(keepends=True)) == expected
    assert "".join(written).count("\n") == len(expected)


def test_workers_are_told_of_a_signal_although_one_was_just_reaped():
    # Given a worker process that has ended and was reaped, which is not noted yet
    process = multiprocessing.get_context("fork").Process(target=os._exit, args=(0,))
    process.start()
    os.waitpid(process.pid or 0, 0)

    # I expect the handler to raise nothing: that would end the main process, but not its threads
    _tell_the_workers(signal.SIGCONT, None)
    multiprocessing.process._children.discard(process)  # its number may soon be a stranger's


@pytest.mark.usefixtures("_own_handlers")
def test_a_worker_that_is_to_stop_asks_for_no_restart(monkeypatch: pytest.MonkeyPatch):
    # Given a worker process that is too large, which therefore asks for a restart
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(pid=2))
    worker, scheduler = Heartbeat(lambda: "worker", max_memory_bytes=1), FairScheduler(1, {})
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    worker.after_process_boot(StubBroker())
    worker._memory.check(scheduler)
    assert asked == [(2, signal.SIGHUP)]

    # When SIGTERM comes, I expect it to ask no more: Dramatiq would begin anew
    signal.raise_signal(signal.SIGTERM)
    worker._memory.check(scheduler)
    assert asked == [(2, signal.SIGHUP)]
    assert stopped == [signal.SIGTERM]


@pytest.mark.usefixtures("_own_handlers")
def test_a_worker_that_restarts_takes_sigterm_for_no_second_signal(
    monkeypatch: pytest.MonkeyPatch,
):
    # Given a worker process that stops, to be restarted, in the order that its jobs end
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(pid=2))
    worker, told = Heartbeat(lambda: "worker"), []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: told.append(number))
    worker.after_process_boot(StubBroker())
    signal.raise_signal(signal.SIGHUP)

    # When it is to stop for good, I expect its jobs to go on: Dramatiq kills at a second signal
    signal.raise_signal(signal.SIGTERM)
    assert told == [signal.SIGHUP]

    # And a further one to do so
    signal.raise_signal(signal.SIGTERM)
    assert told == [signal.SIGHUP, signal.SIGTERM]
