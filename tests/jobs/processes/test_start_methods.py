"""Worker processes end with their main process, however `multiprocessing` starts them: Python 3.14
has another way than 3.13."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import alive, eventually

MAIN = """
import multiprocessing, os, sys, time
from gifster.jobs.parent import end_with_parent

def wait():
    end_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    multiprocessing.get_context(sys.argv[1]).Process(target=wait).start()
    time.sleep(600)
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_process_ends_when_the_one_that_made_it_is_killed(tmp_path: Path, method: str):
    # Given a process that another one has made
    (tmp_path / "main.py").write_text(MAIN)
    command = [sys.executable, tmp_path / "main.py", method]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd()) as main:
        assert main.stdout is not None
        made = int(main.stdout.readline())

        main.kill()

        eventually(lambda: not alive(made))
