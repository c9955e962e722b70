"""What a backup has of a library that changes meanwhile, and what it reports."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gifster.app import library
from gifster.app.backup import making
from gifster.app.backup.manifest import listed
from gifster.app.backup.repository import Repository, hash_of
from gifster.app.database import db
from gifster.app.models import KeptUpload
from gifster.app.settings import Settings
from gifster.uploads import LocalStorage, StorageUnavailable
from gifster.uploads.config import config
from gifster.uploads.testing import run_jobs
from tests.app.backup.conftest import added, back_up, cached, check, damage, gif, names
from tests.combinations import on_sqlite
from tests.machine import files_below


def test_a_backup_has_what_rows_name_and_the_next_one_copies_only_what_is_new(
    repository: Repository, settings: Settings
):
    # Given a GIF that is stored, one that waits, and a file of a form
    stored = added(2)
    run_jobs()
    waiting, kept = added(3), cached(4)
    KeptUpload.create(key=kept.key, storage=kept.storage, bytes=kept.bytes)

    first = back_up(repository, settings)

    # I expect their files, with their contents
    files = gif(stored.id).image.stored.files
    assert names(first) == {*files, *[(c.storage, c.key) for c in (waiting.image.cached, kept)]}
    assert first.facts.faults == []
    assert {kept.sha256 for kept in listed(first.files)} == {
        hash_of(path) for path in repository.walk()
    }
    check(repository, first)

    # When the waiting one is stored, and one more comes
    run_jobs()
    added(5)
    second = back_up(repository, settings)

    # I expect only that to be copied: the stored file is the one that waited
    assert second.facts.new_files == 1
    assert second.facts.files == len(names(second)) > first.facts.files
    check(repository, second)
    check(repository, first)


@pytest.mark.parametrize(("name", "value"), [("key", "gifs/a?b/c"), ("storage", "stope")])
def test_a_row_that_names_a_file_wrongly_stops_no_backup(
    repository: Repository, settings: Settings, name: str, value: str
):
    # Given a flipped bit in what the row of one GIF says of its original
    bad, sound = added(2), added(3)
    run_jobs()
    image = gif(bad.id).image.stored.dump() | {name: value, "versions": {}}
    db.execute_sql(
        f"UPDATE gif SET image = {db.obj.param} WHERE id = {db.obj.param}",
        [json.dumps(image), bad.id],
    )

    made = back_up(repository, settings)

    # I expect a backup of all the others, which says so
    assert names(made) == set(gif(sound.id).image.stored.files)
    [fault] = made.facts.faults
    assert fault.startswith("a row cannot be read: ")
    assert value in fault
    check(repository, made)


class Meddling(LocalStorage):
    """Lets something happen when a file is first opened."""

    def __init__(self, root: Path, then: Callable[[str], None]) -> None:
        super().__init__(root)
        self._then: Callable[[str], None] | None = then

    def open(self, key: str) -> Any:
        if self._then is not None:
            then, self._then = self._then, None
            then(key)
        return super().open(key)


def in_a_thread(work: Callable[[], object]) -> Callable[[str], None]:
    """Others work on connections of their own."""
    from threading import Thread

    def run(_: str) -> None:
        def connected() -> None:
            with db.connection_context():
                work()

        thread = Thread(target=connected)
        thread.start()
        thread.join(60)

    return run


@pytest.mark.parametrize("change", ["promoted", "replaced", "deleted"])
def test_files_that_go_while_they_are_copied_are_not_missing(
    repository: Repository, settings: Settings, monkeypatch: pytest.MonkeyPatch, change: str
):
    # Given an upload that waits, and is stored, replaced or deleted as soon as a backup looks
    upload, other = added(2), cached(3)

    def work() -> None:
        if change == "replaced":
            library.replace_image(upload.id, None, other, reach=library.Reach.ALL)
        if change == "deleted":
            library.delete_gif(upload.id, None, library.Reach.ALL)
        run_jobs()

    cache = Meddling(Path("var/cache"), in_a_thread(work))
    monkeypatch.setitem(config.storages, "cache", cache)

    backup = back_up(repository, settings)

    # I expect the backup to be of one moment: it has all that its own copy of the database names
    assert backup.facts.faults == []
    with sqlite3.connect(backup.database) as copy:
        rows = copy.execute("SELECT image IS NOT NULL, image_tmp IS NULL FROM gif").fetchall()
    assert rows == ([] if change == "deleted" else [(1, 1)])
    check(repository, backup)


def test_a_missing_and_a_damaged_file_are_reported_and_the_others_are_kept(
    repository: Repository, settings: Settings
):
    # Given three stored GIFs, of which one has lost its files, and one has other bytes in them
    gifs = [added(n) for n in (2, 3, 4)]
    run_jobs()
    lost, damaged, sound = ([key for _, key in gif(g.id).image.stored.files] for g in gifs)
    for key in lost:
        (settings.store.root / key).unlink()
    for key in damaged:
        damage(settings.store.root / key)

    backup = back_up(repository, settings)

    assert sorted(fault.split(" (")[0] for fault in backup.facts.faults) == sorted(
        [f"store:{key} is missing" for key in lost]
        + [f"store:{key} is damaged, and is kept as it is" for key in damaged]
    )
    assert names(backup) == {("store", key) for key in [*damaged, *sound]}


def test_a_file_that_the_disk_cannot_read_keeps_no_other_one_out_of_a_backup(
    repository: Repository, settings: Settings
):
    # Given a stored GIF whose files nobody can read, and a content of an earlier backup that is as
    # bad
    stored, other = added(2), added(3)
    unreadable(repository.object(other.image.cached.sha256))
    run_jobs()
    keys = [key for _, key in gif(stored.id).image.stored.files]
    for key in keys:
        unreadable(settings.store.root / key)

    backup = back_up(repository, settings)

    # I expect the backup to lack the first, and to have the second once more
    assert sorted(fault.split(" (")[0] for fault in backup.facts.faults) == sorted(
        f"store:{key} cannot be read, and is not in the backup" for key in keys
    )
    assert names(backup) == set(gif(other.id).image.stored.files)
    check(repository, backup)


def unreadable(path: Path) -> None:
    """Have reading a file fail with an error of the system: a link to itself does so for root."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.name)


@on_sqlite
def test_bytes_that_are_no_text_leave_a_row_with_its_files_in_a_backup(
    repository: Repository, settings: Settings
):
    # Given rows of which a disk has changed a byte: one in the name of a file, one in the JSON
    named, broken, sound = (added(frames) for frames in (2, 3, 4))
    run_jobs()
    for bad, where in ((named, b'"filename": "'), (broken, b'{"storage"')):
        text = db.execute_sql("SELECT image FROM gif WHERE id = ?", (bad.id,)).fetchone()[0]
        at = text.encode().index(where) + len(where)
        changed = text.encode()[:at] + b"\xff" + text.encode()[at + 1 :]
        db.execute_sql("UPDATE gif SET image = CAST(? AS TEXT) WHERE id = ?", (changed, bad.id))
    files = set(gif(sound.id).image.stored.files)

    backup = back_up(repository, settings)

    [fault] = backup.facts.faults
    assert fault.startswith(f"a row cannot be read: gif {broken.id} image")
    assert len(names(backup)) == 2 * len(files)


def test_a_store_that_is_not_mounted_is_no_store_without_files(
    repository: Repository, settings: Settings
):
    added()
    run_jobs()
    settings.store.root.rename("unmounted")

    with pytest.raises(StorageUnavailable, match="is not there: is its disk mounted"):
        back_up(repository, settings)
    assert repository.backups() == []


def test_a_file_that_is_damaged_later_stays_sound_in_the_backups(
    repository: Repository, settings: Settings
):
    stored = added()
    run_jobs()
    back_up(repository, settings)
    key = gif(stored.id).image.stored.key
    damage(settings.store.root / key)

    second = back_up(repository, settings)

    assert second.facts.faults == []
    [kept] = [kept for kept in listed(second.files) if kept.key == key]
    assert hash_of(repository.object(kept.sha256)) == gif(stored.id).image.stored.sha256


def test_a_form_whose_file_has_become_a_gif_is_no_fault(repository: Repository, settings: Settings):
    upload = added()
    kept = upload.image.cached
    KeptUpload.create(key=kept.key, storage=kept.storage, bytes=kept.bytes)
    run_jobs()

    assert back_up(repository, settings).facts.faults == []


def test_many_files_are_copied_outside_a_snapshot(
    repository: Repository, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    for frames in (2, 3, 4):
        added(frames)
    monkeypatch.setattr(making, "MANY", 1)
    in_transaction = []
    copied = making._Making._copied

    def watched(self: Any, file: Any) -> Any:
        in_transaction.append(self._database.in_transaction())
        return copied(self, file)

    monkeypatch.setattr(making, "THREADS", 1)
    monkeypatch.setattr(making._Making, "_copied", watched)

    backup = back_up(repository, settings)

    assert backup.facts.files == 3
    assert in_transaction == [False] * 3


def test_what_an_interrupted_backup_left_is_not_trusted(repository: Repository, settings: Settings):
    # Given a content that a power cut has emptied, and a backup that is not complete
    upload = added()
    part = repository.object(upload.image.cached.sha256)
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(upload.image.cached.bytes))
    left = repository.begin()
    (left / "files.sqlite").touch()

    backup = back_up(repository, settings)

    assert not left.exists()
    assert hash_of(part) == upload.image.cached.sha256
    check(repository, backup)


def test_a_content_that_earlier_backups_rely_on_is_not_written_again(
    repository: Repository, settings: Settings
):
    # Given a content in a backup, and a file of a form that has it, too
    first = added()
    back_up(repository, settings)
    path = repository.object(first.image.cached.sha256)
    written = path.stat()
    again = cached()
    KeptUpload.create(key=again.key, storage=again.storage, bytes=again.bytes)

    # When it is read once more, and nothing of that is on the disk yet
    backup = back_up(repository, settings)

    assert (again.storage, again.key) in names(backup)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert [each.name for each in repository.objects.glob(".*")] == []


def test_a_full_disk_leaves_the_earlier_backups_and_no_part_of_a_new_one(
    repository: Repository, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    added(2)
    first = back_up(repository, settings)
    added(3)
    before = files_below(repository.folder)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Repository, "add", full)
        with pytest.raises(OSError, match="No space left"):
            back_up(repository, settings)

    assert files_below(repository.folder) == before
    assert [each.name for each in repository.backups()] == [first.name]
    assert back_up(repository, settings).facts.new_files == 1


def test_only_its_user_can_read_a_backup(repository: Repository, settings: Settings):
    added()
    back_up(repository, settings)

    paths = [repository.folder, *repository.folder.rglob("*")]
    assert {path.stat().st_mode & 0o077 for path in paths} == {0}
