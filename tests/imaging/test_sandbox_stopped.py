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
from tests.imaging.test_sandbox import answer, hang, run_sandboxed
from tests.machine import eventually

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


def process_group(server: psutil.Process) -> list[psutil.Process]:
    """The processes of one call: the monitor and its child."""
    return eventually(lambda: len(found := server.children(recursive=True)) == 2 and found)


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(
        process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes
    )


@pytest.fixture
def stop() -> Iterator[Callable[[psutil.Process], None]]:
    """Stops processes until the test is over."""
    stopped: list[psutil.Process] = []

    def stop(process: psutil.Process) -> None:
        process.suspend()
        stopped.append(process)

    yield stop
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.resume()


@pytest.mark.parametrize("who", ["child", "monitor", "both"])
def test_a_process_that_is_stopped_is_not_the_fault_of_the_file(server, ask, stop, who: str):
    asked = ask(hang, limits=Limits(wall_s=1))
    monitor, child = work = process_group(server)
    for process in {"child": [child], "monitor": [monitor], "both": work}[who]:
        stop(process)

    with pytest.raises(ProcessLost):
        asked.result(30)

    eventually(lambda: all_gone(work), within=20)
    assert run_sandboxed(answer, 2)[0] == 2


def test_a_process_that_was_stopped_for_a_while_is_not_the_fault_of_the_file(server, ask, stop):
    asked = ask(hang, limits=Limits(wall_s=2))
    _, child = process_group(server)
    stop(child)
    eventually(lambda: child.status() == psutil.STATUS_STOPPED)
    threading.Event().wait(1.2)  # the monitor checks every second
    child.resume()

    with pytest.raises(ProcessLost):
        asked.result(30)


def test_a_server_that_is_stopped_is_replaced(server, ask, stop, short_start):
    stop(server)

    # Two callers get an answer
    first, second = ask(answer, 1), ask(answer, 2)
    for asked in (first, second):
        with pytest.raises(ProcessLost):
            asked.result(30)

    short_start()
    assert run_sandboxed(answer, 3)[0] == 3
    assert sandbox._current.server()._process.pid != server.pid
    eventually(lambda: all_gone([server]), within=20)


def test_a_server_whose_socket_is_full_is_replaced(server, ask, stop, short_start):
    stop(server)
    theirs = sandbox._current.server()._socket
    theirs.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            theirs.send(bytes(10_000))
    theirs.settimeout(1.0)

    with pytest.raises(ProcessLost):
        ask(answer, 1).result(10)

    short_start()
    assert run_sandboxed(answer, 2)[0] == 2


def test_running_calls_go_on_when_the_server_is_replaced(
    server, ask, stop, short_start, tmp_path: Path
):
    gate = tmp_path / "gate"
    working = ask(wait_for, gate)
    process_group(server)
    stop(server)
    with pytest.raises(ProcessLost):
        ask(answer, 1).result(10)

    gate.touch()

    assert working.result(10) == "done"


def wait_for(path: Path) -> str:
    while not path.exists():
        threading.Event().wait(0.01)
    return "done"


def test_a_stopped_server_does_not_outlive_the_caller(server, stop):
    stop(server)

    sandbox._current._stop()

    assert all_gone([server])


def test_a_stopped_call_does_not_outlive_the_caller(server, ask, stop):
    # Given a call whose two processes are stopped
    mine, theirs = socket.socketpair()
    with theirs:
        sandbox._current.server().send(sandbox.pickle.dumps((Limits(), hang, ())), theirs)
    work = process_group(server)
    for process in work:
        stop(process)

    # When the caller's process ends, which closes its end of the server's socket
    sandbox._current.server()._socket.close()
    mine.close()

    eventually(lambda: all_gone([server, *work]), within=20)


def test_closing_the_generator_kills_the_process(server):
    generator = sandbox.run_sandboxed(tell_and_hang)
    assert next(generator) == "ready"
    work = process_group(server)
    os.kill(work[1].pid, signal.SIGSTOP)

    generator.close()

    eventually(lambda: all_gone(work), within=20)


def tell_and_hang():
    yield "ready"
    hang()
