"""File systems of fsspec as storages: each keeps the contract, and some have more to prove."""

import ftplib
import importlib.util
import io
import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from gifster import jobs
from gifster.uploads import FsspecStorage, LocalStorage, StorageUnavailable, sweep
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.storage.copy import copy_all
from gifster.uploads.testing import StorageContract, keep, read
from tests import databases, images
from tests.machine import eventually, free_port
from tests.s3 import RCLONE
from tests.uploads.framework import Application, AvatarUploader, Company, Person


class TestMemory(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> FsspecStorage:
        return FsspecStorage(f"memory://{tmp_path.name}", base_url="/files")


class TestLocal(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> FsspecStorage:
        return FsspecStorage(f"file://{tmp_path}/store", base_url="/files/")


class SftpServer:
    """A real SFTP server: rclone's, over a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [RCLONE, "serve", "sftp", self.root, "--addr", f"127.0.0.1:{self.port}",
                   "--user", "ann", "--pass", "secret",
                   "--config", self.root.with_name("rclone.conf")]  # fmt: skip
        log = self.root.with_name("sftp.log").open("ab")
        self._process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        eventually(self._answers)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            return not self.storage("/").exists("none")
        except StorageUnavailable:
            return False

    def storage(self, folder: str, **options: Any) -> FsspecStorage:
        return FsspecStorage(
            f"sftp://ann:secret@127.0.0.1:{self.port}{folder}", base_url="/files", **options
        )


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    root = tmp_path_factory.mktemp("sftp") / "files"
    root.mkdir()
    server = SftpServer(root)
    server.start()
    yield server
    server.stop()


class TestSftp(StorageContract):
    @pytest.fixture
    def storage(self, sftp: SftpServer, tmp_path: Path) -> FsspecStorage:
        return sftp.storage(f"/{tmp_path.name}")

    def test_a_connection_that_the_server_has_closed_is_opened_anew(
        self, sftp: SftpServer, storage: FsspecStorage
    ):
        keep(storage, "a.gif", b"content")

        sftp.stop()
        with pytest.raises(StorageUnavailable) as raised:
            storage.exists("a.gif")
        sftp.start()

        assert [key for key, _ in storage.walk()] == ["a.gif"]
        assert storage.exists("a.gif")
        assert read(storage, "a.gif") == b"content"
        assert "secret" not in str(raised.value)

    def test_only_the_part_that_is_read_is_fetched(self, storage: FsspecStorage):
        keep(storage, "a.gif", bytes(1_000_000) + b"the end")

        with storage.open("a.gif") as file:
            assert file.seekable()
            assert file.seek(-7, io.SEEK_END) == 1_000_000
            assert file.read() == b"the end"

    def test_files_whose_writer_died_are_removed(self, storage: FsspecStorage):
        keep(storage, "a/b.gif", b"content")
        half = f"a/.{'0' * 16}.tmp"
        storage._connections.use(lambda fs, root: fs.pipe_file(f"{root}/{half}", b"half"))

        assert [key for key, _ in storage.walk()] == ["a/b.gif"]
        assert list(storage.half_written(time.time() - 60, True)) == []
        assert list(storage.half_written(time.time() + 60, True)) == [half]
        assert list(storage.half_written(time.time() + 60, True)) == []


@pytest.mark.parametrize("protocol", ["memory", "file"])
def test_two_readers_of_a_file_do_not_disturb_each_other(protocol: str, tmp_path: Path):
    storage = FsspecStorage(f"{protocol}://{tmp_path}/store")
    keep(storage, "a.gif", b"0123456789" * 100_000)

    with storage.open("a.gif") as first, storage.open("a.gif") as second:
        assert first.read(600_000) == second.read(600_000)
        assert first.read() == second.read() == b"0123456789" * 40_000


@pytest.mark.parametrize("kind", ["memory", "file", "sftp"])
def test_two_copies_of_a_job_can_write_the_same_file(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
):
    if kind == "sftp":
        storage = request.getfixturevalue("sftp").storage(f"/{tmp_path.name}")
    else:
        storage = FsspecStorage(f"{kind}://{tmp_path}/store")
    content = bytes(range(256)) * 1000

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: keep(storage, "a/b/c.gif", content), range(12)))

    assert read(storage, "a/b/c.gif") == content
    assert [key for key, _ in storage.walk()] == ["a/b/c.gif"]
    assert list(storage.half_written(time.time() + 60, False)) == []


def test_a_forked_process_opens_connections_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    storage = FsspecStorage(f"file://{tmp_path}/store")
    opened = storage._connections.use(lambda fs, _: fs)
    assert storage._connections.use(lambda fs, _: fs) is opened

    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert storage._connections.use(lambda fs, _: fs) is not opened


def test_without_fsspec_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ModuleNotFoundError, match=re.escape("pip install 'gifster[fsspec]'")):
        FsspecStorage("memory://a")


class Memory(MemoryFileSystem):
    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.rpartition("://")[2])


class Faulty(Memory):
    """A server with the faults of some real ones."""

    protocol = "faulty"
    fault = ""

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        content = Path(lpath).read_bytes()
        if self.fault == "cuts":
            content = content[:3]
        self.pipe_file(rpath, content)
        if self.fault == "breaks":
            raise EOFError("connection lost")

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        if path2 in self.store and self.fault == "replaces nothing":
            raise FileExistsError(path2)
        super().mv(path1, path2)


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FsspecStorage:
    fsspec.register_implementation("faulty", Faulty, clobber=True)
    storage = FsspecStorage(f"faulty://{tmp_path.name}", atomic=False)
    keep(storage, "a.gif", b"content")
    return storage


@pytest.mark.parametrize("fault", ["cuts", "breaks"])
def test_an_upload_that_breaks_leaves_the_old_file(
    faulty: FsspecStorage, monkeypatch: pytest.MonkeyPatch, fault: str
):
    monkeypatch.setattr(Faulty, "fault", fault)

    for key in ("a.gif", "b/c.gif"):
        with pytest.raises(StorageUnavailable):
            keep(faulty, key, b"other")

    assert read(faulty, "a.gif") == b"content"
    assert [key for key, _ in faulty.walk()] == ["a.gif"]
    assert list(faulty.half_written(time.time() + 60, False)) == []


def test_a_server_that_replaces_no_file_deletes_it_first(
    faulty: FsspecStorage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Faulty, "fault", "replaces nothing")

    keep(faulty, "a.gif", b"other")

    assert read(faulty, "a.gif") == b"other"


class Ending(io.BufferedReader):
    """An open file whose server ends its answer early, without an error. Not all have a `size`."""

    size: int


@pytest.mark.parametrize("says_size", [True, False])
def test_a_file_that_ends_early_is_an_error(
    faulty: FsspecStorage, monkeypatch: pytest.MonkeyPatch, says_size: bool
):
    content = bytes(range(256)) * 4000
    keep(faulty, "a.gif", content)
    ends = Ending(io.BytesIO(content[:600_000]))  # type: ignore[arg-type]
    if says_size:
        ends.size = len(content)
    monkeypatch.setattr(Faulty, "open", lambda *_, **__: ends)

    with faulty.open("a.gif") as file:
        assert file.read(500_000) == content[:500_000]
        for _ in range(2):
            with pytest.raises(StorageUnavailable, match="ended after 600,000 of 1,024,000 bytes"):
                file.read()
        # A part that is there can be read all the same.
        assert file.seek(10) == 10
        assert file.read(3) == content[10:13]
        file.seek(2_000_000)
        assert file.read() == b""


def test_a_file_is_replaced_though_others_put_it_back(
    faulty: FsspecStorage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Faulty, "fault", "replaces nothing")
    deleted = []

    def rm_file(fs: Faulty, path: str) -> None:
        Memory.rm_file(fs, path)
        if not path.endswith(".tmp") and len(deleted) < 3:
            deleted.append(path)
            fs.pipe_file(path, b"other")

    monkeypatch.setattr(Faulty, "rm_file", rm_file)

    keep(faulty, "a.gif", b"other")

    assert len(deleted) == 3
    assert read(faulty, "a.gif") == b"other"
    assert list(faulty.half_written(time.time() + 60, False)) == []


class Dav(Memory):
    """webdav4's file system: `mv()` copies and replaces nothing, its client moves and replaces."""

    protocol = ("webdav", "dav")

    def __init__(self, base_url: str, **options: Any) -> None:
        super().__init__(**options)
        self.client = SimpleNamespace(http=SimpleNamespace(headers={}), move=self._move)

    def _move(self, path: str, target: str, overwrite: bool = False) -> None:
        assert overwrite
        self.store[self._strip_protocol(target)] = self.store.pop(self._strip_protocol(path))

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        raise AssertionError("others would see a half of the copy")


def test_a_file_of_webdav_is_moved_over_another_and_sent_uncompressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "webdav", Dav)
    storage = FsspecStorage(f"webdav://{tmp_path.name}", options={"base_url": "http://dav"})

    keep(storage, "a/b.gif", b"content")
    keep(storage, "a/b.gif", b"other")

    assert read(storage, "a/b.gif") == b"other"
    assert [key for key, _ in storage.walk()] == ["a/b.gif"]
    headers = storage._connections.use(lambda fs, _: fs.client.http.headers)
    assert headers == {"Accept-Encoding": "identity"}


class Ftp(Memory):
    """fsspec's FTP, of which ftplib's connection takes the uploads. Its errors and times are FTP's
    own."""

    protocol = "ftp"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ftp = SimpleNamespace(
            storbinary=self._stor, voidcmd=str, transfercmd=self._retr, voidresp=self._answer
        )
        self.sending = 0

    def open(self, path: str, mode: str = "rb", *args: Any, **options: Any) -> Any:
        assert mode != "rb", "some servers do not answer to the end of a piece"
        return super().open(path, mode, *args, **options)

    def _retr(self, command: str, rest: int | None) -> SimpleNamespace:
        assert self.sending == 0
        self.sending = 1
        file = io.BytesIO(self.store[command.removeprefix("RETR ")].getvalue()[rest or 0 :])
        return SimpleNamespace(recv=lambda size: file.read(min(size, 1000)), close=file.close)

    def _answer(self) -> None:
        self.sending -= 1
        assert self.sending == 0

    def _stor(self, command: str, file: io.BufferedReader) -> None:
        self.pipe_file(command.removeprefix("STOR "), file.read())

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        raise AssertionError("some servers refuse a file in pieces")

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        self.store[path2] = self.store.pop(path1)

    def rm_file(self, path: str) -> None:
        if path not in self.store:
            raise ftplib.error_perm("550 File delete failed.")
        super().rm_file(path)

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        found = super().ls(path, detail=True)
        return [info | {"modify": "20261126091505", "created": None} for info in found]


class TestFtp(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FsspecStorage:
        monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "ftp", Ftp)
        return FsspecStorage(f"ftp://{tmp_path.name}", base_url="/files")

    def test_a_part_is_read_by_one_command_that_is_broken_off(self, storage: FsspecStorage):
        keep(storage, "a.gif", bytes(1_000_000) + b"the end")

        with storage.open("a.gif") as file:
            assert file.read(3) == bytes(3)
            assert file.seek(-7, io.SEEK_END) == 1_000_000
            assert file.read() == b"the end"
            file.seek(999_999)
            assert file.read(2) == b"\0t"

        assert storage._connections.use(lambda fs, _: fs.sending) == 0
        assert read(storage, "a.gif")[-7:] == b"the end"

    def test_it_lists_its_files(self, storage: FsspecStorage) -> None:
        keep(storage, "a/b.gif", b"content")

        assert list(storage.walk()) == [
            ("a/b.gif", datetime(2026, 11, 26, 9, 15, 5, tzinfo=UTC).timestamp())
        ]


@pytest.mark.parametrize("url", ["smb://host/share", "hdfs://host/files"])
def test_a_file_system_that_nobody_tried_is_warned_of_unless_its_writes_are_known(url: str):
    with pytest.warns(UserWarning, match=f"server of {url[:3]}.*StorageContract"):
        FsspecStorage(url)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FsspecStorage(url, atomic=False)
        for tried in ("memory://a", "/a", "file:///a", "sftp://a/b", "webdav://a", "gs://a/b"):
            FsspecStorage(tried)


class Buckets(Memory):
    """An object storage: of its buckets only one exists."""

    protocol = ("gs", "gcs")
    put: list[tuple[str, dict[str, Any]]] = []

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        self.put.append((rpath, options))
        if not rpath.startswith("/bucket/"):
            raise FileNotFoundError(rpath)
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def exists(self, path: str, **options: Any) -> bool:
        return path.strip("/") == "bucket" or super().exists(path)

    def sign(self, path: str, expiration: int = 100, **options: Any) -> str:
        return f"https://bucket.example{path}?expires={expiration}&{urlencode(options)}"


class TestObjectStorage(StorageContract):
    @pytest.fixture(autouse=True)
    def _buckets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gs", Buckets)
        monkeypatch.setattr(Buckets, "put", [])

    @pytest.fixture
    def storage(self, tmp_path: Path) -> FsspecStorage:
        return FsspecStorage(
            f"gs://bucket/{tmp_path.name}", upload_options={"metadata": {"a": "b"}}
        )

    def test_a_file_is_written_at_once_with_its_type_and_options(
        self, storage: FsspecStorage, tmp_path: Path
    ):
        (tmp_path / "source").write_bytes(b"content")

        storage.upload(tmp_path / "source", "a.gif", "image/gif", consistency="md5")
        storage.upload(tmp_path / "source", "a.svg", "image/svg+xml")

        (first, image), (_, svg) = Buckets.put
        assert first == f"/bucket/{tmp_path.name}/a.gif"
        assert image == {"content_type": "image/gif", "metadata": {"a": "b"}, "consistency": "md5",
                         "fixed_key_metadata": {}}  # fmt: skip
        assert svg["fixed_key_metadata"] == {"content_disposition": "attachment"}

    def test_urls_are_signed_unless_they_have_a_base(self, storage: FsspecStorage, tmp_path: Path):
        url = f"https://bucket.example/bucket/{tmp_path.name}/a.gif"
        assert storage.url("a.gif") == f"{url}?expires=3600&"
        assert (
            storage.url("a.gif", 60, response_type="a/b") == f"{url}?expires=60&response_type=a%2Fb"
        )

        storage.base_url = lambda key: f"https://{key[0]}.example.org/"
        assert storage.url("b/c.gif") == "https://b.example.org/b/c.gif"

    def test_a_missing_bucket_is_not_a_missing_file(self):
        storage = FsspecStorage("gs://nobucket")

        for use in (storage.open, storage.exists, lambda _: list(storage.walk())):
            with pytest.raises(StorageUnavailable, match="nobucket"):
                use("a.gif")
        with pytest.raises(StorageUnavailable, match="nobucket"):
            keep(storage, "a.gif", b"content")


def test_storages_of_one_folder_have_one_place(tmp_path: Path):
    local = LocalStorage(tmp_path)

    assert FsspecStorage(f"file://{tmp_path}").place == local.place
    assert FsspecStorage("memory://a/b").place == FsspecStorage("memory://a/b/").place
    assert FsspecStorage("memory://a/b").place.startswith(FsspecStorage("memory://a").place)


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
