"""WebDAV, FTP and object storages of fsspec. No server of theirs is here, so a file system in
memory imitates what is peculiar to each."""

import ftplib
import io
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest

from gifster.uploads import FsspecStorage, StorageUnavailable
from gifster.uploads.testing import StorageContract, keep, read
from tests.uploads.file_systems.memory import Memory


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
