"""Ends a process when its parent dies.

A parent killed with -9 cannot stop its children: they get another parent and go on, unnoticed. So
each child watches its parent. That works on every Unix and needs no privilege.
"""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.process import BaseProcess

#: The environment variable in which a supervisor tells its children its process id.
SUPERVISED = "GIFSTER_SUPERVISED"
INTERVAL_S = 0.5
#: The signals that stop or restart a process.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: How long the process may take to stop by itself before it is killed (seconds).
GRACE_S = 10.0


def end_with_parent(grace_s: float = GRACE_S, parent: int | None = None) -> None:
    """From now on, end this process when its parent dies: by SIGTERM, and `grace_s` seconds later
    by SIGKILL.

    Parameters:
      parent: its process id, if it is known; the parent may have died already.
    """
    made_by = multiprocessing.parent_process()
    if made_by is not None and not made_by.is_alive():
        parent = 0
    arguments = os.getppid() if parent is None else parent, grace_s
    thread = threading.Thread(target=_watch, args=(*arguments, made_by), daemon=True, name="parent")
    # Dramatiq blocks these signals until its processes run and it has its handlers. If this thread
    # took one meanwhile, that would kill the process, as there is no handler yet.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stopping_signals() -> list[signal.Signals]:
    """The signals that stop this process. SIGHUP is none of them if it is ignored, as `nohup` has
    it."""
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in STOPPING if number != signal.SIGHUP or not is_ignored]


def end_with_main_process() -> None:
    """Have a worker process of Dramatiq's end when the main process that started it dies. A process
    that runs a worker of its own goes on, whoever started it."""
    if multiprocessing.parent_process() is not None:
        end_with_parent()


def end_with_supervisor() -> None:
    """Have this process end when the supervisor that started it does, if one did."""
    if supervisor := os.environ.get(SUPERVISED):
        end_with_parent(parent=int(supervisor))


def _watch(parent: int, grace_s: float, made_by: BaseProcess | None) -> None:
    # A process that multiprocessing's fork server has made, as it does from Python 3.14 on, is a
    # child of that server, which lives for as long as its children.
    while os.getppid() == parent and (made_by is None or made_by.is_alive()):
        time.sleep(INTERVAL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    os.kill(os.getpid(), signal.SIGKILL)
