"""What tests call in the sandbox: functions that end well, and those that do not."""

import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from gifster.imaging import sandbox
from gifster.imaging.errors import Unreadable


def run_sandboxed(*arguments: Any, **options: Any) -> Any:
    """Call a function in the sandbox, and return its result."""
    generator = sandbox.run_sandboxed(*arguments, **options)
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def answer(number: int) -> tuple[int, int, int]:
    return number, os.getpid(), os.nice(0)


def fail(reason: str) -> None:
    raise Unreadable(reason)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def explode() -> None:
    bytearray(300 * 2**20)


def fill_the_disk() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(2**21))


def spin(*_: object) -> None:
    while True:
        pass


def hang(*_: object) -> None:
    threading.Event().wait()


def tell_and_hang() -> None:
    print(os.getppid(), os.getpid(), flush=True)
    hang()


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def meet(mine: Path, other: Path) -> None:
    mine.touch()
    while not other.exists():
        time.sleep(0.01)
