"""A disk that is soon full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A disk of its own at an empty folder, until the block ends. The folder is removed then.

    Parameters:
      options: its size, and more options of tmpfs: `size=1m`.
    """
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        folder.rmdir()
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def remount(folder: Path, options: str) -> None:
    """Mount a disk of `mounted()` anew, with other options: `ro`, `rw`."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
