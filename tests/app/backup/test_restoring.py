"""What a restore brings back, also after an interruption, and where it refuses to begin."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gifster import jobs
from gifster.app import database as databases
from gifster.app import installation
from gifster.app.backup import BackupError, restoring
from gifster.app.backup.manifest import listed
from gifster.app.backup.mark import marked
from gifster.app.backup.repository import Repository
from gifster.app.backup.targets import new_file
from gifster.app.boot import check_files
from gifster.app.database import ChangesLeft, db
from gifster.app.models import Gif, Token
from gifster.app.settings import Settings
from gifster.app.tokens import issue_token, start_session
from gifster.jobs.worker_rows import Worker
from gifster.uploads import LocalStorage
from gifster.uploads.config import config
from gifster.uploads.sweep import sweep
from gifster.uploads.testing import run_jobs
from tests import images
from tests.app.backup.conftest import added, back_up, gif
from tests.app.people import person
from tests.machine import files_below


def test_a_restore_brings_back_rows_files_and_the_jobs_of_what_was_accepted(
    repository: Repository, settings: Settings, elsewhere: Callable[..., Settings]
):
    # Given a stored GIF, one whose upload a worker has begun, and one that a retry waits for
    ann = person("Ann")
    session, token = start_session(ann, 30), issue_token(ann)
    stored = added(2, "stored", user=ann, tags=["cats"])
    run_jobs()
    begun, later = added(3, "begun"), added(4, "later")
    Worker.create(id="w", host="h", pid=1, threads=1, queues="default", started_at=1, seen_at=1)
    job_of = {job.arguments[1]: jobs.Job.id == job.id for job in jobs.Job.select()}
    leased = {"leased_by": "w", "started_at": 1, "send_at": 9e9}
    jobs.Job.update(**leased).where(job_of[begun.id]).execute()
    jobs.Job.update(due_at=9e9, send_at=9e9, attempts=1).where(job_of[later.id]).execute()
    name, secret = jobs.job.identity(), check_files(settings)
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
        assert jobs.job.identity() not in {None, name}
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


def test_a_restore_that_looked_before_another_one_began_writes_over_nothing(
    repository: Repository,
    settings: Settings,
    elsewhere: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
):
    # Given a restore that finds nothing, before another one begins and ends
    added()
    backup = back_up(repository, settings)
    there, looks = elsewhere(), restoring._refuse_full

    def looks_early(its: Settings) -> None:
        looks(its)
        monkeypatch.setattr(restoring, "_refuse_full", looks)
        restoring.restore(repository, backup, there)

    monkeypatch.setattr(restoring, "_refuse_full", looks_early)

    # I expect it to be refused, and to leave no mark
    with pytest.raises(BackupError, match=r"the database has rows|there is a database in"):
        restoring.restore(repository, backup, there)
    installation.check(there)


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

    # And nothing to be mixed into another store, which may be somebody's
    with monkeypatch.context() as patched:
        patched.setitem(config.storages, "store", LocalStorage("another"))
        with pytest.raises(BackupError, match="another gifster restore runs here, or has not"):
            restoring.restore(repository, backup, there)

    # And no second one to run beside the first
    mine = json.loads(mark)
    del mine["outbox"]
    with (
        marked(mine, lambda: None, resumed=True),
        pytest.raises(BackupError, match="another gifster restore runs here"),
    ):
        restoring.restore(repository, backup, there)

    # And the same command to go on, without the file that is there; also if some command has opened
    # a database that was not there, and so has made an empty one
    assert there.database.file is not None
    with closing(sqlite3.connect(there.database.file)) as opened:
        opened.execute("PRAGMA journal_mode = wal")
    assert there.database.file.stat().st_size > 0
    restoring.restore(repository, backup, there)
    installation.check(there)
    with db.connection_context():
        assert Gif.select().count() == 3
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

    # And the same with an empty file, which a restore that goes on takes for none
    file.touch()
    for suffix, content in left.items():
        beside = file.with_name(file.name + suffix)
        beside.write_bytes(content)
        with pytest.raises(ChangesLeft), new_file(file) as made:
            made.touch()
        assert beside.read_bytes() == content
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


def test_a_restore_that_was_killed_at_its_first_or_last_step_goes_on(
    repository: Repository,
    settings: Settings,
    elsewhere: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
):
    from tests.conftest import own_postgresql

    added(2, "a")
    backup = back_up(repository, settings)
    for folder, url in (("files", "sqlite:///var/gifster.db"), ("server", own_postgresql(request))):
        # Given a restore that was killed when it had made its mark, and had written nothing there
        there = elsewhere(url, folder)
        installation.RESTORING.parent.mkdir(exist_ok=True)
        installation.RESTORING.touch()

        # When the next one is killed as soon as the database is there
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr("gifster.app.backup.targets.remove_file", lambda _: None)
            patched.setattr(restoring, "remove_file", lambda _: None)
            patched.setattr(Path, "unlink", interrupted_at(installation.RESTORING))
            restoring.restore(repository, backup, there)
        assert installation.RESTORING.exists()

        # I expect a third one to end it, and to leave no copy of the database
        restoring.restore(repository, backup, there)
        with db.connection_context():
            assert [g.title for g in Gif.select()] == ["a"]
        left = {path.name for path in Path("var").iterdir() if path.is_file()}
        assert left <= {"secret", ".secret.lock", "gifster.db", "gifster.db-wal", "gifster.db-shm"}


def test_a_restore_that_goes_on_takes_no_row_of_somebody_else_for_its_own(
    repository: Repository,
    settings: Settings,
    elsewhere: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
):
    from tests.conftest import own_postgresql

    # Given a restore that was killed before the database was there
    added(2, "a")
    backup = back_up(repository, settings)
    there = elsewhere(own_postgresql(request))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(restoring, "_restore_secret", interrupted)
        restoring.restore(repository, backup, there)

    # When somebody signs up there before it goes on
    databases.connect(there.database.url)
    with db.connection_context():
        databases.migrate(db.obj)
        eve = person("Eve")

    # I expect it to say so, and to go on once the database is empty
    with pytest.raises(BackupError, match="the database has rows in the table 'user' already"):
        restoring.restore(repository, backup, there)
    with db.connection_context():
        eve.delete_instance()
    restoring.restore(repository, backup, there)
    with db.connection_context():
        assert [g.title for g in Gif.select()] == ["a"]


def test_a_restore_that_goes_on_says_what_the_one_before_has_left_out(
    repository: Repository,
    settings: Settings,
    elsewhere: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
):
    # Given a backup that has lost a content, and a restore that was killed at its last step
    lost = added(2, "a")
    backup = back_up(repository, settings)
    content = repository.object(lost.image.cached.sha256)
    kept = content.read_bytes()
    content.unlink()
    there = elsewhere()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "unlink", interrupted_at(installation.RESTORING))
        restoring.restore(repository, backup, there, skip_damaged=True)

    # I expect the next one to list it, also if the content is back by now
    content.write_bytes(kept)
    left_out = restoring.restore(repository, backup, there, skip_damaged=True)
    assert [line.rpartition(":")[2] for line in left_out] == [lost.image.cached.key]
    assert not installation.RESTORING.exists()


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def interrupted_at(path: Path) -> Callable[..., None]:
    unlink = Path.unlink

    def instead(self: Path, missing_ok: bool = False) -> None:
        if self == path:
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    return instead
