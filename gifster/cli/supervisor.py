"""The supervisor behind `gifster dev`: runs everything on this machine from one terminal.

It starts Valkey (where no broker is set), web, workers and scheduler as a `ProcessGroup`, and stops
them at Ctrl-C. With `watch`, it restarts the processes that run our code when that code changes, or
the settings.
"""

import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq

from gifster import jobs
from gifster.app import database
from gifster.app.boot import boot
from gifster.app.installation import NoInstallation, check_may_begin
from gifster.app.settings import PREFIX, PROFILE, Settings, load
from gifster.app.valkey import choose_url, end_left_behind
from gifster.cli.dev_group import DevGroup
from gifster.cli.ports import check_address
from gifster.cli.root import DEV_LOCK, Refused
from gifster.jobs.parent import end_with_parent, stopping_signals
from gifster.jobs.process_group import STOP_S, CannotStart, ProcessGroup


def run(port: int | None, *, watch: bool = False) -> None:
    """Run everything until SIGINT or SIGTERM.

    Parameters:
      port: of the web server; None for the settings' own.
      watch: whether to restart web, worker and scheduler when their code changes.

    Raises:
      Refused: it runs here already, the port is taken, or a child cannot start.
      SettingsError: the settings are wrong.
    """
    environment = {PROFILE: "development", **os.environ, "PYTHONUNBUFFERED": "1"}
    if port is not None:
        environment[f"{PREFIX}WEB__PORT"] = str(port)
    settings = load(environment=environment)
    if os.environ.get("MAKELEVEL"):
        end_with_parent(grace_s=STOP_S + 5)
    try:
        check_may_begin(settings)
    except NoInstallation as error:
        raise Refused(str(error)) from None
    with _only_one(settings.web.port):
        check_address(settings.web.host, settings.web.port)
        group = DevGroup(environment)
        for number in stopping_signals():
            signal.signal(number, group.ask_to_stop)
        try:
            if watch:
                group.watch()
            _start(group, settings)
            group.keep_running()
        except CannotStart as error:
            raise Refused(str(error)) from None
        except KeyboardInterrupt:
            pass  # a signal, while it was interruptible
        finally:
            group.stop()
            if not settings.broker.url:
                end_left_behind()


def _start(group: ProcessGroup, settings: Settings) -> None:
    embedded = not settings.broker.url
    if embedded:
        choose_url()
    broker = boot(settings)
    if embedded:
        command = ["gifster.app.valkey", str(os.getpid())]
        # It stops last: workers hand their jobs back to it.
        group.start("valkey", command, lambda _: _pongs(broker), last=True)
        group.wait_until_ready()
    broker.close()
    with _interruptible(group):
        if group.stopping.is_set():
            return
        applied = _migrate()
    for name in applied:
        group.note(f"applied {name}")
    host, port = settings.web.host, settings.web.port
    group.start("web", ["gifster", "web"], lambda _: _answers(host, port))
    group.start("worker", ["gifster", "worker"], lambda c: "ready for action" in c.output)
    group.start("scheduler", ["gifster", "scheduler"], lambda c: "is ready" in c.output)
    if group.wait_until_ready():
        shown = f"[{host}]" if ":" in host else host
        group.note(
            f"Gifster is ready: http://{shown}:{port}{settings.web.root_path} (Ctrl-C stops it)"
        )


@contextmanager
def _interruptible(group: ProcessGroup) -> Iterator[None]:
    """While the block runs, a signal to stop interrupts it: a driver that waits for a lock of the
    database does not look whether the group stops."""

    def interrupt(number: int, frame: object) -> None:
        first = not group.stopping.is_set()
        group.ask_to_stop(number, frame)
        if first:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in stopping_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _migrate() -> list[str]:
    try:
        return database.migrate()
    except database.DatabaseUnavailable as error:
        raise Refused(str(error)) from None


@contextmanager
def _only_one(port: int) -> Iterator[None]:
    DEV_LOCK.parent.mkdir(parents=True, exist_ok=True)
    with DEV_LOCK.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            process = lock.read().partition(" ")[0]
            raise Refused(
                f"gifster dev is running in this folder already (process {process}): "
                "stop that one first, or use another folder"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()} {port}")  # root.port_of_dev() reads it
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def _pongs(broker: dramatiq.Broker) -> bool:
    try:
        jobs.ping(broker)
    except jobs.BrokerUnavailable:
        return False
    return True


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(f"GET /readyz HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            return b" 200 " in connection.recv(64)
    except OSError:
        return False
