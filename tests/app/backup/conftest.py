"""What the tests of backups share: a library, a folder for backups, and another machine."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dramatiq
import pytest

from gifster import jobs
from gifster.app import database
from gifster.app.backup import making
from gifster.app.backup.manifest import listed
from gifster.app.backup.repository import Backup, Repository, open_repository
from gifster.app.backup.restoring import faults
from gifster.app.boot import check_files, configure_storages
from gifster.app.database import db
from gifster.app.models import Gif
from gifster.app.settings import Settings, load
from gifster.uploads import actors
from gifster.uploads.testing import without_processing
from tests import images
from tests.app import gifs


@pytest.fixture(autouse=True)
def _library(booted: Settings) -> Iterator[None]:
    """Each on both databases. Versions are copies: what is made of pictures does not matter."""
    for actor in (actors.store_asset, actors.remove_files):
        dramatiq.get_broker().declare_actor(actor)
    with without_processing():
        yield


@pytest.fixture
def settings(booted: Settings) -> Settings:
    return booted


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return open_repository(tmp_path / "backups", new=True)


def back_up(repository: Repository, settings: Settings) -> Backup:
    with repository.locked():
        return making.make(repository, db.obj, settings, check_files(settings), making.Progress())


def check(repository: Repository, backup: Backup) -> None:
    """Expect all contents of a backup to be sound."""
    assert list(faults(repository, backup, repository.damaged())) == []


def film(frames: int) -> bytes:
    return images.gif((40, 30), [40] * frames)


def cached(frames: int = 2) -> Any:
    return gifs.cached(film(frames))


def added(frames: int = 2, title: str = "a", **fields: Any) -> Gif:
    return gifs.added(film(frames), title=title, **fields)


def gif(gif_id: str) -> Any:
    return Gif.get_by_id(gif_id)


def damage(path: Path) -> None:
    """Give a file another content; versions may be links to it."""
    path.unlink()
    path.write_bytes(b"GIF89a?")


def names(backup: Backup) -> set[tuple[str, str]]:
    return {(kept.storage, kept.key) for kept in listed(backup.files)}


@pytest.fixture
def elsewhere(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Settings]]:
    """Becomes an empty machine: another folder, and by default a SQLite database."""

    original = db.obj
    # Threads of tests before this one would make a database in the empty folder
    for thread in threading.enumerate():
        if thread.name == "readiness":
            thread.join(60)

    def move(url: str = "sqlite:///var/gifster.db", folder: str = "elsewhere") -> Settings:
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        monkeypatch.setenv("GIFSTER_DATABASE__URL", url)
        loaded = load()
        database.connect(loaded.database.url)
        db.bind(jobs.TABLES)
        configure_storages(loaded)
        return loaded

    yield move
    if db.obj is not original:
        db.obj.close_all()
        db.initialize(original)
