"""An application whose cache and store are file systems of fsspec."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gifster import jobs
from gifster.uploads import FsspecStorage, LocalStorage, sweep
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.storage.copy import copy_all
from gifster.uploads.testing import keep, read
from tests import databases, images
from tests.uploads.file_systems.sftp import SftpServer
from tests.uploads.framework import Application, AvatarUploader, Company, Person


@pytest.fixture(params=["memory", "sftp"])
def app(request: pytest.FixtureRequest, tmp_path: Path, broker_url: str) -> Iterator[Application]:
    """An application whose cache and store are file systems of fsspec."""

    def storage(name: str) -> FsspecStorage:
        if request.param == "memory":
            return FsspecStorage(f"memory://{tmp_path.name}/{name}", base_url="/files")
        server: SftpServer = request.getfixturevalue("sftp")
        return server.storage(f"/{tmp_path.name}/{name}")

    broker = jobs.connect(broker_url)
    database = databases.connect(f"sqlite:///{tmp_path}/app.db")
    with database.connection_context():
        made = Application(tmp_path, database)
        made.cache, made.store = storage("cache"), storage("store")
        made.configure()
        yield made
    database.close_all()
    broker.close()


def listed(storage: Any) -> list[str]:
    return sorted(key for key, _ in storage.walk())


def test_uploads_wait_there_are_stored_there_and_are_removed(app: Application):
    # Given an upload that waits for a worker, and one that `save()` stores
    person = Person(avatar=images.gif())
    person.save()
    company = Company.create(logo=images.gif())
    assert len(listed(app.cache)) == 1
    assert len(listed(app.store)) == 2

    app.work()

    person = Person.get_by_id(person.id)
    assert read(app.store, person.avatar.stored.key) == images.gif()
    assert person.avatar.url("thumb") == f"/files/{person.avatar.stored.versions['thumb'].key}"
    assert listed(app.cache) == []

    # When versions are made again, and the records are deleted
    person.avatar.recreate_versions("thumb")
    app.work()
    assert len(listed(app.store)) == 4
    person.delete_instance()
    company.delete_instance()
    app.work()

    assert listed(app.store) == []


def test_the_sweep_removes_what_crashes_left_there(app: Application):
    person = Person.create(avatar=images.gif())
    app.work()
    named = listed(app.store)
    # Given a file in the cache of a request that died, and a stored file whose row is gone
    cache_upload(AvatarUploader, images.gif())
    orphan = Person.create(avatar=images.gif())
    app.work()
    app.database.execute_sql(f"DELETE FROM person WHERE id = {orphan.id}")

    found = sweep(repair=True, min_age_s=-60)

    assert len(found.abandoned) == 1
    assert len(found.orphans) == 2
    assert (listed(app.cache), listed(app.store)) == ([], named)
    assert Person.get_by_id(person.id).avatar


def test_a_library_is_copied_to_it_and_back(app: Application, tmp_path: Path):
    local, back = LocalStorage(tmp_path / "from"), LocalStorage(tmp_path / "back")
    for number in range(5):
        keep(local, f"a/{number}.gif", b"%d" % number)

    for source, target in ((local, app.store), (app.store, back)):
        journal = tmp_path / f"{id(source)}.done"
        outcomes = [c.outcome for c in copy_all(source, target, listed(source), journal)]
        assert outcomes == ["copied"] * 5

    assert [read(back, key) for key in listed(back)] == [b"0", b"1", b"2", b"3", b"4"]
