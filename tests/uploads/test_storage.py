"""Storages: the contract, held by each that there is, and what is special to one."""

import errno
import os
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gifster.uploads import LocalStorage, S3Storage, StorageUnavailable
from gifster.uploads.storage.base import Presigning
from gifster.uploads.testing import MemoryStorage, StorageContract, keep, read
from tests.machine import files_below, free_port
from tests.s3 import S3Server


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

        assert list(storage.root.iterdir()) == []

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

    def test_an_expired_url_is_good_no_more(self, storage: LocalStorage):
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
    def test_a_file_is_synced_with_its_folders_unless_that_is_not_wanted(
        self, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch,
        durable: bool, syncs: int,
    ):  # fmt: skip
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)

        LocalStorage(tmp_path / "files", durable=durable).upload(source, "a.gif", "image/gif")

        assert len(synced) == syncs  # the file, its folder, and the folder that that is new in
        assert (tmp_path / "files" / "a.gif").read_bytes() == source.read_bytes()

    def test_without_a_secret_nothing_is_signed(self, tmp_path: Path):
        with pytest.raises(ValueError, match="secret="):
            LocalStorage(tmp_path).url("a.gif", expires_s=60)


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage()


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

    def test_a_client_can_be_let_write_one_file(self, storage: S3Storage):
        assert isinstance(storage, Presigning)
        allowed = storage.presign("a/b.gif", 7, "image/gif", expires_s=60)

        other_type = {"Content-Type": "text/html"}
        assert httpx.put(allowed.url, content=b"content", headers=other_type).status_code == 403
        assert httpx.put(allowed.url, content=b"12345678", headers=allowed.headers).is_error
        assert httpx.put(allowed.url, content=b"content", headers=allowed.headers).is_success
        assert read(storage, "a/b.gif") == b"content"

    def test_files_are_served_with_their_type_and_for_long(self, storage: S3Storage, source: Path):
        storage.upload(source, "a.gif", "image/gif")

        headers = httpx.get(storage.url("a.gif")).headers
        assert headers["content-type"] == "image/gif"
        assert "immutable" in headers["cache-control"]

    def test_uploads_in_parts_that_were_never_completed_go(self, storage: S3Storage):
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

    def test_what_lies_beside_the_prefix_is_none_of_its_business(self, storage: S3Storage):
        beside = storage._connected()
        beside.put_object(Bucket=storage.bucket, Key="other/a.gif", Body=b"1")
        keep(storage, "a.gif", b"2")

        assert [key for key, _ in storage.walk()] == ["a.gif"]


def test_a_bucket_behind_a_cdn_has_plain_urls(s3_server: S3Server):
    storage = s3_server.storage("cdn", prefix="gifs/", base_url="https://cdn.example.org/")

    assert storage.url("a/b.gif") == "https://cdn.example.org/gifs/a/b.gif"
    assert "X-Amz-Signature=" in storage.url("a/b.gif", expires_s=60)


def test_wrong_keys_to_the_bucket_are_said_so(s3_server: S3Server, source: Path):
    storage = S3Storage("bucket", endpoint_url=s3_server.url, region="us-east-1",
                        access_key_id="test-key", secret_access_key="wrong")  # fmt: skip

    with pytest.raises(StorageUnavailable, match="bucket"):
        storage.upload(source, "a.gif", "image/gif")


def test_a_bucket_that_is_not_there_is_no_missing_file(s3_server: S3Server, source: Path):
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
