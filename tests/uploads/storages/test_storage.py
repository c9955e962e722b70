"""Storages: each keeps the contract, and some have more to prove."""

import errno
import io
import os
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gifster.uploads import LocalStorage, S3Storage, StorageUnavailable, configure
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.storage.base import Presigning, check_key
from gifster.uploads.storage.spool import Spool
from gifster.uploads.testing import MemoryStorage, StorageContract, keep, read
from tests import images
from tests.machine import files_below, free_port
from tests.s3 import S3Server
from tests.uploads.framework import AvatarUploader


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"content")
    return path


class TestLocalStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> LocalStorage:
        return LocalStorage(tmp_path / "store", "/media/", secret="secret")

    def test_a_write_that_fails_leaves_no_file(self, storage: LocalStorage):
        with pytest.raises(RuntimeError), storage.create("a/b.gif") as writer:
            writer.write(b"half")
            raise RuntimeError

        assert not [p for p in storage.root.rglob("*") if p.is_file()]

    def test_no_empty_folders_are_kept(self, storage: LocalStorage):
        keep(storage, "a/b/c.gif", b"1")

        storage.delete("a/b/c.gif")

        assert [path.name for path in storage.root.rglob("*")] == [".used"]

    def test_the_folders_of_a_cache_are_kept(self, storage: LocalStorage):
        # Given a cached file
        key = f"scans/5b/5b{'0' * 30}"
        keep(storage, key, b"1")

        # When it is deleted
        storage.delete(key)

        # Then the next upload finds the folder
        assert not storage.exists(key)
        assert [path.name for path in (storage.root / "scans").iterdir()] == ["5b"]

    def test_a_file_may_be_deleted_as_soon_as_it_is_there(
        self, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
    ):
        replace = Path.replace

        def deleted_at_once(path: Path, target: Path) -> None:
            replace(path, target)
            storage.delete("a/b.gif")

        monkeypatch.setattr(Path, "replace", deleted_at_once)
        keep(storage, "a/b.gif", b"content")  # a mirror's job may be doing so

        assert [path.name for path in storage.root.rglob("*")] == [".used"]

    def test_folders_may_be_removed_while_they_are_made(
        self, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
    ):
        mkdir, removed = Path.mkdir, iter([FileExistsError, FileNotFoundError])

        def raced(path: Path, *args: Any, **options: Any) -> None:
            if error := next(removed, None):
                raise error(path)
            mkdir(path, *args, **options)

        monkeypatch.setattr(Path, "mkdir", raced)
        keep(storage, "a/b.gif", b"content")
        assert read(storage, "a/b.gif") == b"content"

    def test_a_file_where_a_folder_should_be_is_an_error(self, storage: LocalStorage):
        keep(storage, "a", b"content")
        with pytest.raises((FileExistsError, NotADirectoryError)):
            keep(storage, "a/b.gif", b"content")

    def test_a_url_that_expires_is_signed(self, storage: LocalStorage):
        url = storage.url("a/b.gif", expires_s=60)

        assert url.startswith("/media/a/b.gif?")
        query = parse_qs(urlsplit(url).query)
        expires, signature = query["expires"][0], query["signature"][0]
        assert storage.allows("a/b.gif", expires, signature)
        assert not storage.allows("a/c.gif", expires, signature)
        assert not storage.allows("a/b.gif", str(int(expires) + 1), signature)
        assert not storage.allows("a/b.gif", expires, signature[:-1] + "?")
        assert not storage.allows("a/b.gif", "soon", signature)

    def test_an_expired_url_is_refused(self, storage: LocalStorage):
        query = parse_qs(urlsplit(storage.url("a.gif", expires_s=-1)).query)

        assert not storage.allows("a.gif", query["expires"][0], query["signature"][0])

    def test_a_disk_that_is_full_at_the_last_moment_leaves_nothing_behind(
        self, storage: LocalStorage, source: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        storage.root.mkdir()

        with pytest.raises(OSError, match="No space left"):
            storage.upload(source, "a.gif", "image/gif")

        assert files_below(storage.root) == []

    @pytest.mark.parametrize("copied", [0, 3])
    def test_a_kernel_that_copies_only_a_part_is_helped(
        self, storage: LocalStorage, source: Path, monkeypatch: pytest.MonkeyPatch, copied: int
    ):
        answers = [copied] if copied else []

        def copy(source: int, target: int, count: int) -> int:
            if not answers:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return os.write(target, os.read(source, answers.pop()))

        monkeypatch.setattr(os, "copy_file_range", copy, raising=False)

        storage.upload(source, "a.gif", "image/gif")

        assert read(storage, "a.gif") == b"content"

    @pytest.mark.parametrize(("durable", "syncs"), [(True, 3), (False, 0)])
    def test_a_durable_file_is_synced_with_its_folders(
        self, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch,
        durable: bool, syncs: int,
    ):  # fmt: skip
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)

        LocalStorage(tmp_path / "files", durable=durable).upload(source, "a.gif", "image/gif")

        assert len(synced) == syncs  # the file, its new folder, and the folder of that
        assert (tmp_path / "files" / "a.gif").read_bytes() == source.read_bytes()

    def test_without_a_secret_nothing_is_signed(self, tmp_path: Path):
        with pytest.raises(ValueError, match="secret="):
            LocalStorage(tmp_path).url("a.gif", expires_s=60)


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage()


class DatabaseStorage:
    """A storage of one's own: files in a table of SQLite, each upload a transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._execute("CREATE TABLE files (key TEXT PRIMARY KEY, content BLOB)")

    def _execute(self, sql: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(self.path, timeout=60)) as database, database:
            return database.execute(sql, values).fetchall()

    def upload(self, source: Path, key: str, content_type: str) -> None:
        sql = "INSERT OR REPLACE INTO files VALUES (?, ?)"
        self._execute(sql, check_key(key), source.read_bytes())

    def open(self, key: str) -> BinaryIO:
        for (content,) in self._execute("SELECT content FROM files WHERE key = ?", check_key(key)):
            return io.BytesIO(content)
        raise FileNotFoundError(key)

    def exists(self, key: str) -> bool:
        return bool(self._execute("SELECT 1 FROM files WHERE key = ?", check_key(key)))

    def delete(self, key: str) -> None:
        self._execute("DELETE FROM files WHERE key = ?", check_key(key))

    def url(self, key: str, expires_s: int | None = None) -> str:
        if expires_s is not None:
            raise ValueError("a DatabaseStorage cannot sign URLs")
        return f"/files/{check_key(key)}"


class TestStorageOfOnesOwn(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> DatabaseStorage:
        return DatabaseStorage(tmp_path / "files.db")

    def test_the_framework_keeps_uploads_in_it(self, storage: DatabaseStorage):
        configure({"cache": storage})

        cached = cache_upload(AvatarUploader, images.gif(), "me.gif")

        with cached.on_disk() as path:
            assert path.read_bytes() == images.gif()


class TestS3Storage(StorageContract):
    @pytest.fixture
    def storage(self, s3_server: S3Server, tmp_path: Path) -> S3Storage:
        name = "".join(c for c in tmp_path.name if c.isalnum()).lower()
        return s3_server.storage(f"contract{name}"[:60])

    def test_a_url_without_a_base_is_signed(self, storage: S3Storage):
        keep(storage, "a/b.gif", b"content")

        assert httpx.get(storage.url("a/b.gif")).content == b"content"
        assert httpx.get(storage.url("a/b.gif").partition("?")[0]).is_error
        assert httpx.get(storage.url("a/b.gif", expires_s=60) + "0").status_code == 403

    def test_a_client_can_write_one_file(self, storage: S3Storage):
        assert isinstance(storage, Presigning)
        allowed = storage.presign("a/b.gif", 7, "image/gif", expires_s=60)

        other_type = {"Content-Type": "text/html"}
        assert httpx.put(allowed.url, content=b"content", headers=other_type).status_code == 403
        assert httpx.put(allowed.url, content=b"12345678", headers=allowed.headers).is_error
        assert httpx.put(allowed.url, content=b"content", headers=allowed.headers).is_success
        assert read(storage, "a/b.gif") == b"content"

    def test_files_are_served_with_their_type_and_a_long_lifetime(
        self, storage: S3Storage, source: Path
    ):
        storage.upload(source, "a.gif", "image/gif")

        headers = httpx.get(storage.url("a.gif")).headers
        assert headers["content-type"] == "image/gif"
        assert "immutable" in headers["cache-control"]

    def test_unfinished_multipart_uploads_are_removed(self, storage: S3Storage):
        client = storage._connected()
        client.create_multipart_upload(Bucket=storage.bucket, Key="a.gif")

        assert list(storage.half_written(time.time() - 60, True)) == []
        assert len(list(storage.half_written(time.time() + 60, True))) == 1
        assert list(storage.half_written(time.time() + 60, True)) == []


class TestS3StorageWithAPrefix(StorageContract):
    @pytest.fixture
    def storage(self, s3_server: S3Server, tmp_path: Path) -> S3Storage:
        name = "".join(c for c in tmp_path.name if c.isalnum()).lower()
        return s3_server.storage(f"prefix{name}"[:60], prefix="gifs/")

    def test_keys_outside_the_prefix_are_not_listed(self, storage: S3Storage):
        beside = storage._connected()
        beside.put_object(Bucket=storage.bucket, Key="other/a.gif", Body=b"1")
        keep(storage, "a.gif", b"2")

        assert [key for key, _ in storage.walk()] == ["a.gif"]


def test_a_bucket_behind_a_cdn_has_plain_urls(s3_server: S3Server):
    storage = s3_server.storage("cdn", prefix="gifs/", base_url="https://cdn.example.org/")

    assert storage.url("a/b.gif") == "https://cdn.example.org/gifs/a/b.gif"
    assert "X-Amz-Signature=" in storage.url("a/b.gif", expires_s=60)


def test_wrong_credentials_are_reported(s3_server: S3Server, source: Path):
    storage = S3Storage("bucket", endpoint_url=s3_server.url, region="us-east-1",
                        access_key_id="test-key", secret_access_key="wrong")  # fmt: skip

    with pytest.raises(StorageUnavailable, match="bucket"):
        storage.upload(source, "a.gif", "image/gif")


def test_a_missing_bucket_is_not_a_missing_file(s3_server: S3Server, source: Path):
    s3_server.storage("bucket")
    storage = S3Storage("nobucket", endpoint_url=s3_server.url, region="us-east-1",
                        access_key_id="test-key", secret_access_key="test-secret")  # fmt: skip

    with pytest.raises(StorageUnavailable, match="nobucket"):
        storage.open("a.gif")
    with pytest.raises(StorageUnavailable, match="nobucket"):
        storage.upload(source, "a.gif", "image/gif")


def test_a_server_that_is_away_is_unavailable(source: Path):
    storage = S3Storage("bucket", endpoint_url=f"http://127.0.0.1:{free_port()}", attempts=1,
                        region="us-east-1", access_key_id="k", secret_access_key="s")  # fmt: skip

    uses = (storage.open, storage.exists, storage.delete, lambda _: list(storage.walk()))
    for use in uses:
        with pytest.raises(StorageUnavailable):
            use("a.gif")
    with pytest.raises(StorageUnavailable):
        storage.upload(source, "a.gif", "image/gif")


def test_a_full_disk_keeps_nothing_of_an_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Given an upload to a storage elsewhere, whose last bytes wait to be written here
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool = Spool(MemoryStorage(), "a.gif")
    spool.write(b"content")

    # When the disk is full as it is given up
    os.dup2(os.open("/dev/full", os.O_WRONLY), spool._file.fileno())
    with pytest.raises(OSError, match="No space left"):
        spool.abort()

    assert not spool.path.exists()
