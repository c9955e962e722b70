"""The contract of a storage, held by each that there is."""

from pathlib import Path

import pytest

from gifster.uploads import LocalStorage, Storage


@pytest.fixture(params=["local"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return {"local": lambda: LocalStorage(tmp_path / "store", "/media/")}[request.param]()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"content")
    return path


def test_what_is_uploaded_can_be_read(storage: Storage, source: Path):
    storage.upload(source, "a/b/c.gif", "image/gif")

    assert storage.exists("a/b/c.gif")
    with storage.open("a/b/c.gif") as file:
        assert file.read() == b"content"
    assert source.exists()


def test_uploading_again_replaces(storage: Storage, source: Path):
    storage.upload(source, "a.gif", "image/gif")
    source.write_bytes(b"other")
    storage.upload(source, "a.gif", "image/gif")

    with storage.open("a.gif") as file:
        assert file.read() == b"other"


def test_what_is_deleted_is_gone_and_can_be_deleted_again(storage: Storage, source: Path):
    storage.upload(source, "a/b.gif", "image/gif")
    storage.upload(source, "a/c.gif", "image/gif")

    storage.delete("a/b.gif")
    storage.delete("a/b.gif")

    assert not storage.exists("a/b.gif")
    assert storage.exists("a/c.gif")
    with pytest.raises(FileNotFoundError):
        storage.open("a/b.gif")


def test_it_knows_where_a_browser_finds_a_file(storage: Storage):
    assert storage.url("a/b.gif").endswith("/a/b.gif")


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../a", "a/../b", "a/./b", "a//b", ".a", "a/.b", "a\\b", "a\0", "ä", "a\n",
     "a" * 600],
)  # fmt: skip
def test_a_key_that_could_lead_out_is_refused(storage: Storage, source: Path, key: str):
    for use in (storage.open, storage.exists, storage.delete, storage.url):
        with pytest.raises(ValueError, match="not a storage key"):
            use(key)
    with pytest.raises(ValueError, match="not a storage key"):
        storage.upload(source, key, "image/gif")


def test_a_local_write_that_fails_leaves_no_file(tmp_path: Path, source: Path):
    storage = LocalStorage(tmp_path / "store")

    with pytest.raises(RuntimeError), storage.create("a/b.gif") as writer:
        writer.write(b"half")
        raise RuntimeError

    assert not [p for p in (tmp_path / "store").rglob("*") if p.is_file()]


def test_a_local_storage_keeps_no_empty_folders(tmp_path: Path, source: Path):
    storage = LocalStorage(tmp_path / "store")
    storage.upload(source, "a/b/c.gif", "image/gif")

    storage.delete("a/b/c.gif")

    assert list((tmp_path / "store").iterdir()) == []
