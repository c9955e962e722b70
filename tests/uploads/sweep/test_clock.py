"""The sweep while a clock is wrong: a file whose request is under way stays."""

import os
import time
from pathlib import Path

import pytest

from gifster import jobs
from gifster.uploads import LocalStorage, sweep
from tests.clocks import SetClock
from tests.uploads.framework import Application
from tests.uploads.sweep.scene import orphan


def written_ago(application: Application, minutes: int) -> Path:
    """A file that no row names yet."""
    path: Path = application.store_folder / orphan(application)
    at = time.time() - minutes * 60
    os.utime(path, (at, at))
    return path


def test_the_age_of_a_file_is_told_by_the_clock_of_its_storage(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a file that is ten minutes old, and a node whose clock is two hours ahead
    file = written_ago(application, 10)
    SetClock(monkeypatch).ahead(7200)

    # I expect the sweep to leave it alone, until its storage says that it is old
    assert sweep(repair=True).orphans == []
    monkeypatch.setattr(LocalStorage, "now", lambda _: file.stat().st_mtime + 3601)
    assert len(sweep(repair=True).orphans) == 1
    assert not file.exists()


def test_a_file_does_not_get_older_because_all_clocks_are_set_forward(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a file that is ten minutes old, while somebody watches the clock
    young = written_ago(application, 10)
    jobs.moment_before(0)

    # When the clock of the machine, and of the storage, is set two hours forward
    SetClock(monkeypatch).ahead(7200)
    monkeypatch.setattr(LocalStorage, "now", lambda _: time.time())

    # I expect only a file that was old before that to be removed
    assert sweep(repair=True).orphans == []
    os.utime(young, (1, 1))
    assert len(sweep(repair=True).orphans) == 1
