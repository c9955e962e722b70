"""A process that watches whether its parent lives, and what its signals do meanwhile."""

import os
import signal

import pytest

from gifster.jobs.parent import end_with_parent, stopping_signals


def test_watching_the_parent_takes_no_signal_that_the_process_has_blocked():
    # Given a process that watches its parent, and blocks SIGTERM until it has a handler
    pid = os.fork()
    if pid == 0:
        end_with_parent(parent=os.getppid())
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

        # When it gets one
        os.kill(os.getpid(), signal.SIGTERM)

        os._exit(0 if signal.SIGTERM in signal.sigpending() else 1)

    # I expect the signal to wait
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.usefixtures("_own_handlers")
def test_a_process_that_nohup_has_started_outlives_its_terminal():
    others = [signal.SIGTERM, signal.SIGINT]
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert stopping_signals() == [*others, signal.SIGHUP]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert stopping_signals() == others
