"""The folder of backups over time: which backup is the last, and what goes with an old one."""

import os
import resource
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gifster.app import library
from gifster.app.backup import BackupError, making, restoring
from gifster.app.backup.manifest import listed
from gifster.app.backup.repository import Backup, Repository, open_repository
from gifster.app.database import db
from gifster.app.models import Gif
from gifster.app.settings import Settings
from gifster.cli import cli
from gifster.uploads import LocalStorage
from gifster.uploads.testing import run_jobs
from tests.app.backup.conftest import added, back_up, check


def test_nothing_is_removed_while_a_backup_does_not_say_what_it_needs(
    repository: Repository, settings: Settings
):
    # Given two backups, and the list of the second without its files
    added()
    back_up(repository, settings)
    second = back_up(repository, settings)
    with closing(sqlite3.connect(second.files)) as damaged:
        damaged.execute("DELETE FROM files")
        damaged.commit()

    with pytest.raises(BackupError, match=r"files\.sqlite is damaged .* no content is removed"):
        making.prune(repository, 1)

    assert len(repository.backups()) == 2
    assert len(list(repository.walk())) == 1


def test_one_of_which_nobody_can_tell_what_it_has_keeps_no_other_one_from_its_work(
    repository: Repository, settings: Settings
):
    # Given two backups, of which the second has lost its facts
    added()
    first, second = (back_up(repository, settings) for _ in range(2))
    (second.folder / "backup.json").write_bytes(b"")

    # When another one is made, I expect it to be there, with the first, and no content to go
    third = back_up(repository, settings)
    with pytest.raises(BackupError, match=rf"cannot be read.*Move .*{second.name} away"):
        making.prune(repository, 1)
    assert repository.backup(first.name) == first
    listed = CliRunner().invoke(cli, ["backups", str(repository.folder), "--verify"])
    assert listed.exit_code == 1
    assert listed.stdout.count("verified") == 2
    assert f"{second.name}/backup.json cannot be read" in listed.stderr

    # And nobody to get another one than the last by mistake
    with pytest.raises(BackupError, match="cannot be read"):
        repository.backup(None)
    assert third.name > second.name


def test_two_backups_at_once_are_refused(repository: Repository, settings: Settings):
    with repository.locked(), pytest.raises(BackupError, match="another gifster backup"):
        back_up(open_repository(repository.folder), settings)


def test_old_backups_go_with_the_contents_that_only_they_have(
    repository: Repository, settings: Settings
):
    first = added(2)
    run_jobs()
    oldest = back_up(repository, settings)
    library.delete_gif(first.id, None, library.Reach.ALL)
    added(3)
    run_jobs()
    newest = back_up(repository, settings)

    with repository.locked():
        assert making.prune(repository, 1) == 1

    assert not oldest.folder.exists()
    assert [each.name for each in repository.backups()] == [newest.name]
    wanted = {kept.sha256 for kept in listed(newest.files)}
    assert {path.name for path in repository.walk()} == wanted
    check(repository, newest)


def test_a_backup_that_is_being_restored_is_not_removed(
    repository: Repository,
    settings: Settings,
    elsewhere: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
):
    # Given an old backup with a GIF that was deleted, and its restore
    deleted = added(2, "deleted")
    old = back_up(repository, settings)
    deleted.delete_instance()
    run_jobs()
    back_up(repository, settings)
    there, removed = elsewhere(), []
    upload = LocalStorage.upload

    def prunes(self: Any, source: Path, key: str, content_type: str) -> None:
        removed.append(making.prune(repository, 1))
        upload(self, source, key, content_type)

    # When a backup with --keep 1 ends meanwhile
    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "upload", prunes)
        restoring.restore(repository, old, there)

    # I expect the restore to end, and the backup to go next time
    with db.connection_context():
        assert [(g.title, g.image.cached.exists()) for g in Gif.select()] == [("deleted", True)]
    assert removed == [0]
    assert making.prune(repository, 1) == 1


def test_the_last_backup_is_the_last_one_also_when_the_clock_is_set_back(
    repository: Repository, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    first = back_up(repository, settings)
    monkeypatch.setattr(making, "rfc3339", lambda _: "1970-01-01T00:00:00.000Z")
    made = [back_up(repository, settings) for _ in range(2)]

    assert [each.name for each in repository.backups()] == [
        first.name, f"{first.name}-002", f"{first.name}-003",
    ]  # fmt: skip
    with repository.locked():
        making.prune(repository, 1)
    assert repository.backup(None).name == made[-1].name


def test_the_thousandth_backup_after_a_clock_was_ahead_is_the_last_one(
    repository: Repository, settings: Settings
):
    # Given a clock that was far ahead once, and many backups since
    first = back_up(repository, settings)
    first.folder.rename(first.folder.with_name("2099-01-01T000000Z-999"))

    made = [back_up(repository, settings) for _ in range(2)]

    assert [each.name.rpartition("-")[2] for each in repository.backups()] == [
        "999", "1000", "1001",
    ]  # fmt: skip
    making.prune(repository, 1)
    assert repository.backup(None).name == made[-1].name


def test_a_backup_that_a_crash_has_half_removed_is_none(
    repository: Repository, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    for _ in range(2):
        back_up(repository, settings)
    with monkeypatch.context() as patched:
        patched.setattr("gifster.app.backup.repository.shutil.rmtree", lambda _: None)
        making.prune(repository, 1)

    assert len(repository.backups()) == 1
    back_up(repository, settings)
    assert [path.suffix for path in repository.folder.glob("backups/*")] == ["", ""]


def test_files_of_others_in_the_folder_stay_and_harm_nobody(
    repository: Repository, settings: Settings
):
    # Given a folder that a desktop has looked at, and that its file system takes snapshots of
    first = back_up(repository, settings)
    added()
    back_up(repository, settings)
    [content] = repository.walk()
    others = [
        folder / name
        for folder in (repository.objects, first.folder.parent, content.parent)
        for name in (".DS_Store", ".snapshot")
    ]
    for path in others:
        path.touch() if path.name == ".DS_Store" else path.mkdir()

    back_up(repository, settings)
    making.prune(repository, 1)

    assert all(path.exists() for path in others)
    assert list(repository.walk()) == [content]


def test_a_folder_with_something_else_is_no_folder_for_backups(tmp_path: Path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").touch()

    with pytest.raises(BackupError, match="has something else than backups"):
        open_repository(tmp_path / "letters", new=True)
    with pytest.raises(BackupError, match="there are no backups in"):
        open_repository(tmp_path / "letters")
    with pytest.raises(BackupError, match="there are no backups in"):
        open_repository(tmp_path / "nowhere")
    made = open_repository(tmp_path / "new", new=True)
    (made.folder / "gifster-backups.json").write_text('{"format": 2}')
    with pytest.raises(BackupError, match="format 2, and this release knows 1"):
        open_repository(tmp_path / "new")


def test_a_backup_goes_as_long_as_nobody_begins_to_restore_it(
    repository: Repository,
    settings: Settings,
    elsewhere: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
):
    # Given an old backup, whose restore begins when it is to be removed
    added()
    old = back_up(repository, settings)
    back_up(repository, settings)
    there, restored = elsewhere(), []
    remove = Repository.remove

    def restore() -> None:
        try:
            restoring.restore(repository, old, there)
            restored.append("")
        except BackupError as error:
            restored.append(str(error))

    def begins(self: Repository, backup: Backup) -> None:
        begun.start()
        begun.join(0.3)
        remove(self, backup)

    begun = threading.Thread(target=restore)
    with monkeypatch.context() as patched:
        patched.setattr(Repository, "remove", begins)
        removed = making.prune(repository, 1)
    begun.join(60)

    # I expect the restore to wait, and to find no backup
    assert (removed, restored) == (1, [f"{old.name} was removed a moment ago"])


def test_more_old_backups_than_files_may_be_open(repository: Repository, settings: Settings):
    # Given fifty backups, and a process that may open twenty more files
    first = back_up(repository, settings)
    for number in range(49):
        shutil.copytree(first.folder, first.folder.with_name(f"{first.name}-{number + 2:03}"))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir("/proc/self/fd"))) + 20

    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        removed = making.prune(repository, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert removed == 49
    assert [each.name for each in repository.backups()] == [f"{first.name}-050"]


def test_a_backup_that_is_being_verified_is_not_removed_and_one_that_was_is_not_damaged(
    repository: Repository, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    # Given three backups, and a nightly backup while the first one is verified
    added()
    made = [back_up(repository, settings) for _ in range(3)]
    faults, removed = restoring.faults, []

    def prunes(*of: Any) -> Iterator[str]:
        if not removed:
            removed.append(making.prune(repository, 1))
        return faults(*of)

    monkeypatch.setattr(restoring, "faults", prunes)
    listed = CliRunner().invoke(cli, ["backups", str(repository.folder), "--verify"])

    # I expect the first and the last one to be good, and no word of the second
    assert removed == [1]
    assert listed.exit_code == 0, listed.output
    assert [line.split()[0] for line in listed.output.splitlines()] == [made[0].name, made[2].name]
