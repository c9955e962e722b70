"""The web server's main process, at whatever moment a signal comes."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from gifster.cli.web_server import DrainingServer
from tests.interrupting import at_each_line


class Respawned(Exception):
    """The main loop has begun to replace a process that has died."""


def test_a_signal_that_comes_while_a_dead_process_is_replaced_is_not_lost():
    # Given a main loop that has just been told of a process that has died
    servers: list[DrainingServer] = []

    def begin() -> Callable[[], object]:
        server = DrainingServer(0, respawn_failed_workers=True)
        server.pid = os.getpid()
        servers.append(server)

        def respawn(*_: object) -> None:
            if not server.interrupt_signal:
                raise Respawned

        server._respawn_workers = respawn
        server.interrupt_children.append(0)
        server.main_loop_interrupt.set()

        def loop() -> None:
            with suppress(Respawned):
                server._serve_loop(None, None)

        return loop

    # When SIGTERM comes before any line of what it does then, I expect the loop to end
    found = at_each_line(begin, lambda: servers[-1].signal_handler_interrupt(signal.SIGTERM, None))

    assert found >= 15


def test_a_process_that_has_only_been_forked_ends_at_sigterm():
    # Given a process with the handlers of the main process from which it was forked
    before = signal.getsignal(signal.SIGTERM)
    server = DrainingServer(1)
    server.pid = os.getpid()
    signal.signal(signal.SIGTERM, server.signal_handler_interrupt)
    try:
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
    finally:
        signal.signal(signal.SIGTERM, before)

    # I expect the signal to end it: it would not hear of it once more
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
