"""File systems of fsspec as storages: in memory, in folders and over SFTP each keeps the contract,
and some have more to prove."""

import importlib.util
import io
import os
import re
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from gifster.uploads import FsspecStorage, LocalStorage, StorageUnavailable
from gifster.uploads.storage import fsspec_servers
from gifster.uploads.testing import StorageContract, keep, read
from tests.machine import eventually
from tests.uploads.file_systems.sftp import SftpServer


class TestMemory(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> FsspecStorage:
        return FsspecStorage(f"memory://{tmp_path.name}", base_url="/files")


class TestLocal(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> FsspecStorage:
        return FsspecStorage(f"file://{tmp_path}/store", base_url="/files/")


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

    def test_a_server_that_says_nothing_is_not_waited_for(
        self, sftp: SftpServer, storage: FsspecStorage, monkeypatch: pytest.MonkeyPatch
    ):
        # Given a connection to a server that is stopped then
        monkeypatch.setattr(fsspec_servers, "SILENT_S", 0.3)

        def connected() -> bool:
            with suppress(StorageUnavailable):
                return not storage.exists("a.gif")
            return False

        eventually(connected)
        with sftp.stopped():
            # I expect an error: neither that connection nor a new one waits for it
            with pytest.raises(StorageUnavailable):
                storage.exists("a.gif")

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


@pytest.mark.parametrize("url", ["smb://host/share", "hdfs://host/files"])
def test_a_file_system_that_nobody_tried_is_warned_of_unless_its_writes_are_known(url: str):
    with pytest.warns(UserWarning, match=f"server of {url[:3]}.*StorageContract"):
        FsspecStorage(url)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FsspecStorage(url, atomic=False)
        for tried in ("memory://a", "/a", "file:///a", "sftp://a/b", "webdav://a", "gs://a/b"):
            FsspecStorage(tried)


def test_storages_of_one_folder_have_one_place(tmp_path: Path):
    local = LocalStorage(tmp_path)

    assert FsspecStorage(f"file://{tmp_path}").place == local.place
    assert FsspecStorage("memory://a/b").place == FsspecStorage("memory://a/b/").place
    assert FsspecStorage("memory://a/b").place.startswith(FsspecStorage("memory://a").place)
