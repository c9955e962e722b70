"""A process that watches whether its parent lives, and what its signals do meanwhile."""

import os
import signal
import threading

import pytest

from gifster import jobs
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


def test_a_process_that_runs_a_worker_of_its_own_outlives_who_started_it(broker_url: str):
    # Given a process that Dramatiq has not started, as this one, or somebody's script
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT)
    before = [signal.getsignal(number) for number in numbers]

    # When it boots its broker, to run a worker
    broker = jobs.connect(broker_url)
    broker.emit_after("process_boot")
    broker.close()

    # I expect nothing to watch its parent, and its signals to mean what they meant
    assert "parent" not in {thread.name for thread in threading.enumerate()}
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.usefixtures("_own_handlers")
def test_a_process_that_nohup_has_started_outlives_its_terminal():
    others = [signal.SIGTERM, signal.SIGINT]
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert stopping_signals() == [*others, signal.SIGHUP]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert stopping_signals() == others
