"""Processes for pictures that stand still, stopped by somebody or hung: who asked has an answer all
the same, nobody is left behind, and the next picture is worked on."""

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
from tests.imaging.test_sandbox import answer, hang, run_apart
from tests.machine import eventually

Asked = Callable[..., Future[object]]


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "GRACE_S", 1.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """The server has a second to begin, until this is called."""
    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "START_S", 1.0)
        yield patch.undo


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[psutil.Process]:
    """A server of the test's own, whose processes are all gone afterwards."""
    monkeypatch.setattr(sandbox, "_servers", sandbox._Servers())
    run_apart(answer, 1)
    found = psutil.Process(sandbox._servers.one()._process.pid)
    eventually(lambda: found.children() == [])
    yield found
    sandbox._servers._stop()


@pytest.fixture
def ask() -> Asked:
    """Asks in a thread, which nobody waits for at the end if it never has an answer."""

    def asked(*arguments: object, **options: object) -> Future[object]:
        future: Future[object] = Future()

        def work() -> None:
            try:
                future.set_result(run_apart(*arguments, **options))
            except Exception as error:  # noqa: BLE001 it is the answer
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future

    return asked


def family(server: psutil.Process) -> list[psutil.Process]:
    """The processes of one piece of work: the one that attends, and its child."""
    return eventually(lambda: len(found := server.children(recursive=True)) == 2 and found)


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(
        process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes
    )


@pytest.fixture
def stop() -> Iterator[Callable[[psutil.Process], None]]:
    """Stops processes, until the test is over."""
    stopped: list[psutil.Process] = []

    def stop(process: psutil.Process) -> None:
        process.suspend()
        stopped.append(process)

    yield stop
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.resume()


@pytest.mark.parametrize("who", ["child", "attendant", "both"])
def test_a_process_that_is_stopped_is_no_fault_of_the_file(server, ask, stop, who: str):
    asked = ask(hang, limits=Limits(wall_s=1))
    attendant, child = work = family(server)
    for process in {"child": [child], "attendant": [attendant], "both": work}[who]:
        stop(process)

    with pytest.raises(ProcessLost):
        asked.result(10)

    eventually(lambda: all_gone(work), within=5)
    assert run_apart(answer, 2)[0] == 2


def test_a_process_that_was_stopped_for_a_while_is_no_fault_of_the_file(server, ask, stop):
    asked = ask(hang, limits=Limits(wall_s=2))
    _, child = family(server)
    stop(child)
    eventually(lambda: child.status() == psutil.STATUS_STOPPED)
    threading.Event().wait(1.2)  # the attendant looks every second
    child.resume()

    with pytest.raises(ProcessLost):
        asked.result(10)


def test_a_server_that_is_stopped_is_replaced(server, ask, stop, impatient):
    stop(server)

    # Two ask it: neither waits for ever
    first, second = ask(answer, 1), ask(answer, 2)
    for asked in (first, second):
        with pytest.raises(ProcessLost):
            asked.result(10)

    impatient()
    assert run_apart(answer, 3)[0] == 3
    assert sandbox._servers.one()._process.pid != server.pid
    eventually(lambda: all_gone([server]), within=5)


def test_a_server_whose_socket_is_full_is_replaced(server, ask, stop, impatient):
    stop(server)
    theirs = sandbox._servers.one()._socket
    theirs.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            theirs.send(bytes(10_000))
    theirs.settimeout(1.0)

    with pytest.raises(ProcessLost):
        ask(answer, 1).result(10)

    impatient()
    assert run_apart(answer, 2)[0] == 2


def test_what_others_have_in_hand_goes_on_when_a_server_is_replaced(
    server, ask, stop, impatient, tmp_path: Path
):
    gate = tmp_path / "gate"
    working = ask(wait_for, gate)
    family(server)
    stop(server)
    with pytest.raises(ProcessLost):
        ask(answer, 1).result(10)

    gate.touch()

    assert working.result(10) == "done"


def wait_for(path: Path) -> str:
    while not path.exists():
        threading.Event().wait(0.01)
    return "done"


def test_a_stopped_server_does_not_outlive_who_asked(server, stop):
    stop(server)

    sandbox._servers._stop()

    assert all_gone([server])


def test_stopped_work_does_not_outlive_the_end_of_who_asked(server, ask, stop):
    # Given work whose two processes are stopped
    mine, theirs = socket.socketpair()
    with theirs:
        sandbox._servers.one().send(sandbox.pickle.dumps((Limits(), hang, ())), theirs)
    work = family(server)
    for process in work:
        stop(process)

    # When who asked is gone, as its end of the server's socket is
    sandbox._servers.one()._socket.close()
    mine.close()

    eventually(lambda: all_gone([server, *work]), within=5)


def test_who_asks_no_longer_ends_the_process(server):
    generator = sandbox.run_apart(tell_and_hang)
    assert next(generator) == "ready"
    work = family(server)
    os.kill(work[1].pid, signal.SIGSTOP)

    generator.close()

    eventually(lambda: all_gone(work), within=5)


def tell_and_hang():
    yield "ready"
    hang()
