"""Other people's clients, unpatched, as `make clients` has installed them."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FOLDER = Path(os.environ.get("CLIENTS", CACHE / "gifster" / "clients"))


def require(folder: Path, locks: Iterable[Path]) -> None:
    """Skip the test if clients cannot run here.

    Parameters:
      folder: where they are installed, with copies of the files that name their versions.
      locks: these files.
    """
    if shutil.which("node") is None:
        pytest.skip("there is no Node here (on Debian: apt install nodejs)")
    for lock in locks:
        copy = folder / lock.name
        if not copy.exists() or copy.read_bytes() != lock.read_bytes():
            pytest.skip(f"the clients are not in {folder}, or are others: run make clients")
