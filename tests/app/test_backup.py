"""Backups of a library that changes meanwhile, and what a restore brings back."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dramatiq
import pytest

from gifster import jobs
from gifster.app import database, installation, library
from gifster.app.backup import BackupError, making, restoring
from gifster.app.backup.manifest import listed
from gifster.app.backup.repository import Backup, Repository, hash_of, open_repository
from gifster.app.boot import check_files, configure_storages
from gifster.app.database import ChangesLeft, db
from gifster.app.models import Gif, ImageUploader, KeptUpload, Token, User
from gifster.app.settings import Settings, load
from gifster.app.tokens import issue_token, start_session
from gifster.jobs.heartbeat import Worker
from gifster.uploads import LocalStorage, actors
from gifster.uploads.config import config
from gifster.uploads.files.cache import CacheWriter
from gifster.uploads.sweep import sweep
from gifster.uploads.testing import run_jobs, without_processing
from tests import images
from tests.machine import files_below


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


def cached(frames: int = 2) -> Any:
    writer = CacheWriter(ImageUploader, "a.gif")
    writer.write(images.gif((40, 30), [40] * frames))
    return writer.finish()


def added(frames: int = 2, title: str = "a", **fields: Any) -> Gif:
    return library.add_gif(cached(frames), title=title, **fields)


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
    restoring.check(repository, first)

    # When the waiting one is stored, and one more comes
    run_jobs()
    added(5)
    second = back_up(repository, settings)

    # I expect only that to be copied: the stored file is the one that waited
    assert second.facts.new_files == 1
    assert second.facts.files == len(names(second)) > first.facts.files
    restoring.check(repository, second)
    restoring.check(repository, first)


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
        thread.join(20)

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
    restoring.check(repository, backup)


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
    restoring.check(repository, backup)


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

    with pytest.raises(BackupError, match=r"files\.sqlite is damaged .* nothing is removed"):
        making.prune(repository, 1)

    assert len(repository.backups()) == 2
    assert len(list(repository.walk())) == 1


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
    restoring.check(repository, newest)


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


def test_a_restore_brings_back_rows_files_and_the_jobs_of_what_was_accepted(
    repository: Repository, settings: Settings, elsewhere: Callable[..., Settings]
):
    # Given a stored GIF, one whose upload a worker has begun, and one that a retry waits for
    ann = User.create(email="ann@example.org", name="Ann", password_hash="x")
    session, token = start_session(ann, 30), issue_token(ann)
    stored = added(2, "stored", user=ann, tags=["cats"])
    run_jobs()
    begun, later = added(3, "begun"), added(4, "later")
    Worker.create(id="w", host="h", pid=1, threads=1, queues="default", started_at=1, seen_at=1)
    job_of = {job.arguments[1]: jobs.Job.id == job.id for job in jobs.Job.select()}
    leased = {"leased_by": "w", "started_at": 1, "send_at": 9e9}
    jobs.Job.update(**leased).where(job_of[begun.id]).execute()
    jobs.Job.update(due_at=9e9, send_at=9e9, attempts=1).where(job_of[later.id]).execute()
    name, secret = jobs.outbox.identity(), check_files(settings)
    backup = back_up(repository, settings)

    # When it is restored on another machine
    there = elsewhere()
    restoring.restore(repository, backup, there)

    # I expect all of it, and nothing for the sweep to mend
    with db.connection_context():
        assert {g.title for g in Gif.select()} == {"stored", "begun", "later"}
        assert gif(stored.id).image.read() == images.gif((40, 30), [40] * 2)
        assert [tag.tag.name for tag in gif(stored.id).gif_tags] == ["cats"]
        found = sweep(repair=False, min_age_s=-60)
        assert (found.missing, found.orphans, found.abandoned, found.stuck) == ([], [], [], [])

        # And the jobs to be free: the begun one at once, the other one at its time
        assert Worker.select().count() == 0
        due = {job.arguments[1]: (job.leased_by, job.send_at) for job in jobs.Job.select()}
        assert due[begun.id][0] is None
        assert due[begun.id][1] < 9e9
        assert due[later.id] == (None, 9e9)
        run_jobs()
        assert {g.image_state for g in Gif.select()} == {"ready"}

        # And a name of its own for its outbox, the same secret, the token, and no session
        assert jobs.outbox.identity() not in {None, name}
        assert check_files(there) == secret
        assert [t.kind for t in Token.select()] == ["token"]
        assert session != token
    assert not installation.RESTORING.exists()
    assert not restoring.has_other_secret(backup, there)


def test_a_backup_goes_into_postgresql_too(
    repository: Repository,
    settings: Settings,
    elsewhere: Callable[..., Settings],
    request: pytest.FixtureRequest,
):
    from tests.conftest import own_postgresql

    added(2, "waits")
    backup = back_up(repository, settings)

    there = elsewhere(own_postgresql(request))
    restoring.restore(repository, backup, there)

    with db.connection_context():
        run_jobs()
        assert [(g.title, g.image_state) for g in Gif.select()] == [("waits", "ready")]
        again = added(3, "new")
        run_jobs()
        assert gif(again.id).image_state == "ready"
        second = back_up(repository, there)
    assert second.facts.kind == "postgresql"
    assert second.facts.faults == []


def test_nothing_is_restored_over_something(
    repository: Repository, settings: Settings, elsewhere: Callable[..., Settings]
):
    added()
    backup = back_up(repository, settings)

    # Over the installation itself
    with pytest.raises(BackupError, match=r"the database has rows|there is a database in"):
        restoring.restore(repository, backup, settings)

    # Over files alone
    there = elsewhere()
    other = there.store.root / "gifs" / "of" / "others.gif"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"GIF89a")
    with pytest.raises(
        BackupError, match=r"storage store is not empty: it has gifs/of/others\.gif"
    ):
        restoring.restore(repository, backup, there)
    assert files_below(Path()) == ["var/store/gifs/of/others.gif"]


def test_an_interrupted_restore_goes_on(
    repository: Repository,
    settings: Settings,
    elsewhere: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
):
    for frames in (2, 3, 4):
        added(frames)
    backup = back_up(repository, settings)
    there = elsewhere()
    uploaded: list[str] = []
    upload = LocalStorage.upload

    def fails_once(self: Any, source: Path, key: str, content_type: str) -> None:
        if len(uploaded) == 1:
            uploaded.append("")
            raise OSError(28, "No space left on device")
        upload(self, source, key, content_type)
        uploaded.append(key)

    # When the disk is full half-way
    monkeypatch.setattr(restoring, "THREADS", 1)
    monkeypatch.setattr(LocalStorage, "upload", fails_once)
    with pytest.raises(OSError, match="No space left"):
        restoring.restore(repository, backup, there)

    # I expect no command to take it for an installation, and no other backup to be mixed in
    with pytest.raises(installation.NoInstallation, match="a restore has not finished here"):
        installation.check(there)
    with pytest.raises(installation.NoInstallation, match="a restore has not finished here"):
        installation.check_may_begin(there)
    mark = installation.RESTORING.read_text()
    installation.RESTORING.write_text(mark.replace(backup.name, "another"))
    with pytest.raises(BackupError, match="another gifster restore runs here, or has not"):
        restoring.restore(repository, backup, there)
    installation.RESTORING.write_text(mark)

    # And no second one to run beside the first
    with (
        restoring._marked(json.loads(mark), resumed=True),
        pytest.raises(BackupError, match="another gifster restore runs here"),
    ):
        restoring.restore(repository, backup, there)

    # And the same command to go on, without the file that is there
    restoring.restore(repository, backup, there)
    installation.check(there)
    assert sorted(filter(None, uploaded)) == sorted(kept.key for kept in listed(backup.files))

    # And one that was killed at its very end to be finished by the next
    installation.RESTORING.write_text(mark)
    restoring.restore(repository, backup, there)
    assert not installation.RESTORING.exists()


def changes_of_another(folder: Path) -> dict[str, bytes]:
    """What SQLite keeps beside a database in the middle of a change, by its suffix."""
    found = {}
    for mode, suffix in (("wal", "-wal"), ("delete", "-journal")):
        file = folder / f"{mode}.sqlite"
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.executescript(f"PRAGMA journal_mode = {mode}; PRAGMA synchronous = off;")
            other.execute("CREATE TABLE of_another (number)")
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO of_another VALUES (1)")
            if mode == "wal":
                other.execute("COMMIT")
            found[suffix] = file.with_name(file.name + suffix).read_bytes()
    return found


def test_changes_of_the_database_that_was_there_do_not_get_into_a_restored_one(
    repository: Repository,
    settings: Settings,
    elsewhere: Callable[..., Settings],
    tmp_path: Path,
):
    added()
    backup = back_up(repository, settings)
    there, left = elsewhere(), changes_of_another(tmp_path)
    file = there.database.file
    assert file is not None
    file.parent.mkdir(exist_ok=True)

    # Given a process that was killed, and somebody who moved the database away, and nothing else
    for suffix, content in left.items():
        beside = file.with_name(file.name + suffix)
        beside.write_bytes(content)
        with pytest.raises(ChangesLeft, match=rf"gifster\.db{suffix} has changes of the database"):
            restoring.restore(repository, backup, there)
        assert not installation.RESTORING.exists()
        beside.unlink()

    # And a restore that was killed while it wrote the database
    part = file.with_name(f".{file.name}.part")
    for suffix, content in left.items():
        part.with_name(part.name + suffix).write_bytes(content)
    restoring.restore(repository, backup, there)

    with closing(sqlite3.connect(file)) as restored:
        assert restored.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        tables = restored.execute("SELECT name FROM sqlite_master").fetchall()
    assert ("gif",) in tables
    assert ("of_another",) not in tables
    assert not list(file.parent.glob(".*.part*"))


def test_a_damaged_backup_is_refused(
    repository: Repository, settings: Settings, elsewhere: Callable[..., Settings]
):
    upload = added()
    backup = back_up(repository, settings)
    there = elsewhere()
    content = repository.object(upload.image.cached.sha256)
    sound = content.read_bytes()

    # Another byte in a file
    content.write_bytes(sound[:-1] + b"?")
    with pytest.raises(BackupError, match="damaged or missing, the content of cache:"):
        restoring.check(repository, backup)

    # A file that is gone: nothing is restored
    content.unlink()
    with pytest.raises(BackupError, match="damaged or missing, the content of cache:"):
        restoring.restore(repository, backup, there)
    content.write_bytes(sound)

    # Another byte in the database
    with backup.database.open("r+b") as file:
        file.seek(30)
        file.write(b"?")
    with pytest.raises(BackupError, match=r"database\.sqlite is damaged or missing"):
        restoring.restore(repository, backup, there)
    assert files_below(Path()) == []


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("sha256", "../../../etc/passwd", "is no SHA-256"),
        ("key", "../../escaped.gif", "not a storage key"),
        ("storage", "nowhere", "files of a storage 'nowhere'"),
    ],
)
def test_a_list_of_files_that_somebody_made_leads_nowhere_else(
    repository: Repository,
    settings: Settings,
    elsewhere: Callable[..., Settings],
    column: str,
    value: str,
    said: str,
):
    added()
    backup = back_up(repository, settings)
    with sqlite3.connect(backup.files) as rows:
        rows.execute(f"UPDATE files SET {column} = ?", (value,))
    rows.close()
    facts = backup.folder / "backup.json"
    changed = json.loads(facts.read_text()) | {"files_sha256": hash_of(backup.files)}
    facts.write_text(json.dumps(changed))

    with pytest.raises((BackupError, ValueError), match=said):
        restoring.restore(repository, repository.backup(None), elsewhere())
    assert not Path("../escaped.gif").exists()


def test_a_backup_of_a_later_release_is_refused(
    repository: Repository, settings: Settings, elsewhere: Callable[..., Settings]
):
    db.execute_sql(
        f"INSERT INTO {database.APPLIED} (name, applied) VALUES ('9999_later', '2030-01-01')"
    )
    added()
    with pytest.raises(database.NewerDatabase, match="9999_later is not known"):
        database.migrate()
    db.execute_sql(f"DELETE FROM {database.APPLIED} WHERE name = '9999_later'")
    backup = back_up(repository, settings)
    with sqlite3.connect(backup.database) as copy:
        copy.execute(
            f"INSERT INTO {database.APPLIED} (name, applied) VALUES ('9999_later', '2030-01-01')"
        )
    copy.close()
    facts = backup.folder / "backup.json"
    changed = json.loads(facts.read_text()) | {"database_sha256": hash_of(backup.database)}
    facts.write_text(json.dumps(changed))

    with pytest.raises(database.NewerDatabase, match="install the later release"):
        restoring.restore(repository, repository.backup(None), elsewhere())
    assert not Path("var/gifster.db").exists()


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
