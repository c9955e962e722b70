"""Sandbox processes that are stopped (SIGSTOP) or hang: the caller gets an answer all the same, no
process is left behind, and the next call works."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from gifster.imaging import sandbox
from gifster.imaging.sandbox import Limits, ProcessLost
from tests.imaging.sandboxed import answer, crash, hang, run_sandboxed
from tests.machine import eventually, stand_still

Asked = Callable[..., Future[object]]


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "GRACE_S", 1.0)


@pytest.fixture
def short_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """The server has a second to start a call, until this is called."""
    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "START_S", 1.0)
        yield patch.undo


@pytest.fixture
def server() -> psutil.Process:
    """The server of this process, without any calls. A test that kills it makes the next start
    another."""
    run_sandboxed(answer, 1)
    found = psutil.Process(sandbox._current.server()._process.pid)
    eventually(lambda: found.children() == [])
    return found


@pytest.fixture
def ask() -> Asked:
    """Calls in a thread. The test does not wait for it if the call never ends."""

    def asked(*arguments: object, **options: object) -> Future[object]:
        future: Future[object] = Future()

        def work() -> None:
            try:
                future.set_result(run_sandboxed(*arguments, **options))
            except Exception as error:  # noqa: BLE001 the test raises it
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future

    return asked


def process_of_the_call(server: psutil.Process) -> psutil.Process:
    """The process of the only call."""
    [found] = eventually(server.children)
    return found


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(
        process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes
    )


@pytest.fixture
def stop() -> Iterator[Callable[[psutil.Process], None]]:
    """Stops processes until the test is over."""
    stopped: list[psutil.Process] = []

    def stop(process: psutil.Process) -> None:
        stopped.append(process)
        stand_still(process.pid)

    yield stop
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.resume()


@pytest.mark.parametrize("who", ["process", "server", "both"])
def test_a_process_that_is_stopped_is_not_the_fault_of_the_file(
    server, ask, stop, short_start, who: str
):
    asked = ask(hang, limits=Limits(wall_s=1))
    process = process_of_the_call(server)
    for stopped in {"process": [process], "server": [server], "both": [server, process]}[who]:
        stop(stopped)

    with pytest.raises(ProcessLost):
        asked.result(60)

    eventually(lambda: all_gone([process]))
    if who != "process" and server.is_running():  # a slow start may have replaced it already
        with pytest.raises(ProcessLost):  # a stopped server begins nothing
            run_sandboxed(answer, 2)
    short_start()
    assert run_sandboxed(answer, 3)[0] == 3


def test_a_process_that_is_stopped_before_it_can_exit_is_not_left_behind(server):
    assert run_sandboxed(stop_at_the_end) == "done"

    eventually(lambda: server.children() == [])


def test_a_process_that_was_stopped_for_a_while_is_not_the_fault_of_the_file(server, ask, stop):
    asked = ask(hang, limits=Limits(wall_s=2))
    process = process_of_the_call(server)
    stop(process)
    eventually(lambda: process.status() == psutil.STATUS_STOPPED)
    process.resume()

    with pytest.raises(ProcessLost):
        asked.result(60)


def test_a_server_that_is_stopped_is_replaced(server, ask, stop, short_start):
    stop(server)

    # Two callers get an answer
    first, second = ask(answer, 1), ask(answer, 2)
    for asked in (first, second):
        with pytest.raises(ProcessLost):
            asked.result(60)

    short_start()
    assert run_sandboxed(answer, 3)[0] == 3
    assert sandbox._current.server()._process.pid != server.pid
    eventually(lambda: all_gone([server]))


def test_a_server_whose_socket_is_full_is_replaced(server, ask, stop, short_start):
    stop(server)
    theirs = sandbox._current.server()._socket
    theirs.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            theirs.send(bytes(10_000))
    theirs.settimeout(1.0)

    with pytest.raises(ProcessLost):
        ask(answer, 1).result(60)

    short_start()
    assert run_sandboxed(answer, 2)[0] == 2


def test_running_calls_go_on_when_the_server_is_replaced(
    server, ask, stop, short_start, tmp_path: Path
):
    gate = tmp_path / "gate"
    working = ask(wait_for, gate)
    process_of_the_call(server)
    stop(server)
    with pytest.raises(ProcessLost):
        ask(answer, 1).result(60)

    gate.touch()

    assert working.result(60) == "done"


def wait_for(path: Path) -> str:
    while not path.exists():
        threading.Event().wait(0.01)
    return "done"


def test_a_stopped_server_does_not_outlive_the_caller(server, stop):
    stop(server)

    sandbox._current._stop()

    assert all_gone([server])


def test_a_stopped_call_does_not_outlive_the_caller(server, ask, stop):
    # Given a call whose process is stopped
    mine, theirs = socket.socketpair()
    with theirs:
        request = sandbox.pickle.dumps((Limits(), hang, (), None))
        sandbox._current.server().send(request, theirs.fileno(), theirs.fileno())
    process = process_of_the_call(server)
    stop(process)

    # When the caller's process ends, which closes its end of the server's socket
    sandbox._current.server()._socket.close()

    eventually(lambda: all_gone([server, process]))
    mine.close()


def test_closing_the_generator_kills_the_process(server):
    generator = sandbox.run_sandboxed(tell_and_hang)
    assert next(generator) == "ready"
    process = process_of_the_call(server)
    stand_still(process.pid)

    generator.close()

    eventually(lambda: all_gone([process]))


def test_closing_the_generator_of_a_process_that_has_ended_kills_nobody(
    server, monkeypatch: pytest.MonkeyPatch
):
    # Given a process that crashed before its caller asked for the next value
    generator = sandbox.run_sandboxed(tell_and_crash)
    assert next(generator) == "ready"
    eventually(lambda: not server.children())

    # When the caller asks for none, I expect no signal: another process may have its number
    killed: list[int] = []
    monkeypatch.setattr(sandbox, "kill_group", killed.append)
    generator.close()

    assert killed == []


def tell_and_hang():
    yield "ready"
    hang()


def tell_and_crash():
    yield "ready"
    crash()


def stop_at_the_end() -> str:
    os._exit = lambda status: os.kill(os.getpid(), signal.SIGSTOP)
    return "done"
