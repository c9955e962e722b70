"""Backups that are damaged, forged, or of a later release: nothing of them is restored."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gifster.app import database
from gifster.app.backup import BackupError, restoring
from gifster.app.backup.repository import Repository, hash_of
from gifster.app.database import db
from gifster.app.models import Gif
from gifster.app.settings import Settings
from tests.app.backup.conftest import added, back_up
from tests.machine import files_below


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
    [fault] = restoring.faults(repository, backup, repository.damaged())
    assert "damaged or missing, the content of cache:" in fault

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


def back_up_of_later_release(repository: Repository, settings: Settings) -> None:
    backup = back_up(repository, settings)
    with sqlite3.connect(backup.database) as copy:
        copy.execute(
            f"INSERT INTO {database.APPLIED} (name, applied) VALUES ('9999_later', '2030-01-01')"
        )
    copy.close()
    facts = backup.folder / "backup.json"
    changed = json.loads(facts.read_text()) | {"database_sha256": hash_of(backup.database)}
    facts.write_text(json.dumps(changed))


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
    back_up_of_later_release(repository, settings)

    with pytest.raises(database.NewerDatabase, match="install the later release"):
        restoring.restore(repository, repository.backup(None), elsewhere())
    assert not Path("var/gifster.db").exists()


def test_a_backup_of_a_later_release_is_refused_before_any_file_is_copied(
    repository: Repository, settings: Settings, elsewhere: Callable[..., Settings]
):
    added()
    back_up_of_later_release(repository, settings)

    with pytest.raises(database.NewerDatabase, match="9999_later"):
        restoring.restore(repository, repository.backup(None), elsewhere())
    assert files_below(Path()) == []


def test_what_a_backup_has_lost_keeps_nobody_from_the_rest(
    repository: Repository, settings: Settings, elsewhere: Callable[..., Settings]
):
    # Given a backup of three uploads, whose disk has lost one content and damaged another
    lost, damaged, sound = (added(frames) for frames in (2, 3, 4))
    backup = back_up(repository, settings)
    repository.object(lost.image.cached.sha256).unlink()
    bad = repository.object(damaged.image.cached.sha256)
    bad.write_bytes(bytes(damaged.image.cached.bytes))
    assert len(list(restoring.faults(repository, backup, repository.damaged()))) == 2

    # When it is restored, and then without these, as there is no other copy
    there = elsewhere()
    with pytest.raises(BackupError, match=r"is damaged or missing.*--skip-damaged brings back"):
        restoring.restore(repository, backup, there)
    left_out = restoring.restore(repository, backup, there, skip_damaged=True)

    # I expect all rows, and the file that the backup has
    assert sorted(line.rpartition(":")[2] for line in left_out) == sorted(
        gif.image.cached.key for gif in (lost, damaged)
    )
    with db.connection_context():
        there_now = {g.id: g.image.cached.exists() for g in Gif.select()}
    assert there_now == {lost.id: False, damaged.id: False, sound.id: True}
