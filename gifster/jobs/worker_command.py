"""Runs Dramatiq's workers in this process, as its command `dramatiq` does."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from dramatiq.cli import main as dramatiq
from dramatiq.cli import make_argument_parser


def run_workers(  # noqa: PLR0913
    module: str,
    *,
    again: Sequence[str],
    queues: Sequence[str] | None = None,
    processes: int,
    threads: int,
    grace_s: float,
) -> int:
    """Run workers until a signal stops them. SIGTERM stops them in order, SIGHUP restarts them.
    SIGTSTP makes them quiet, until SIGCONT.

    Parameters:
      module: declares the actors; the worker processes import it.
      again: the arguments of Python that run this command once more, for SIGHUP.
      queues: their names; None for the queues of all actors.
      processes, threads: how many worker processes, and how many threads in each.
      grace_s: how long jobs may take to finish once the workers stop (seconds).

    Returns:
      the exit status.

    Raises:
      OSError: the worker processes can share no semaphores; names the folder that they need.
    """
    try:
        multiprocessing.Event()  # Dramatiq makes some
    except OSError as error:
        raise OSError(error.errno, error.strerror, "/dev/shm") from None  # noqa: S108 Linux's
    for number in (signal.SIGTSTP, signal.SIGCONT):
        signal.signal(number, _tell_the_workers)
    sys.argv = [sys.executable, *again]
    arguments = [module, "--processes", str(processes), "--threads", str(threads)]
    # Dramatiq's default waits half a minute for a process that dies at its start.
    arguments += ["--worker-fork-timeout", "5000"]
    arguments += ["--worker-shutdown-timeout", str(round(grace_s * 1000))]
    if queues is not None:
        arguments += ["--queues", *queues]
    return int(dramatiq(make_argument_parser().parse_args(arguments)))


def _tell_the_workers(number: int, frame: object) -> None:
    for process in multiprocessing.active_children():
        if process.pid is not None:
            # It may have been interrupted between reaping one and noting that.
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
