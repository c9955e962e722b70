"""The contract that every storage must keep, as tests. `gifster.uploads.testing` offers it.

It checks each method of `storage.base.Storage`, and those of `Listing` and
`OnThisMachine` if the storage has them.
It cannot check what only a crash or a network shows: read the methods' docstrings for that.
"""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gifster.uploads.storage.base import Listing, Storage, local_path


class StorageContract:
    """The tests that every storage must pass. Subclass it, with a fixture `storage` that returns an
    empty storage for each test:

        class TestMyStorage(StorageContract):
            @pytest.fixture
            def storage(self):
                return MyStorage(...)
    """

    #: Texts that are not keys: each would lead out of a folder, or could be read in two ways.
    BAD_KEYS = (
        "", "/etc/passwd", "../a", "a/../b", "a/./b", "a//b", "a/", ".a", "a/.b", "a\\b", "a\0",
        "ä", "a\n", "a b", "a" * 600,
    )  # fmt: skip

    def test_an_uploaded_file_can_be_read(self, storage: Storage) -> None:
        for key in ("a/b/c.gif", "-a/_B/0.tar.gz", "a/b" + "/c" * 200):
            keep(storage, key, key.encode())

            assert storage.exists(key)
            assert read(storage, key) == key.encode()

    def test_the_source_of_an_upload_stays(self, storage: Storage) -> None:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            source.write_bytes(b"content")
            storage.upload(source, "a.gif", "image/gif")
            assert source.read_bytes() == b"content"

    def test_an_open_file_is_read_in_pieces(self, storage: Storage) -> None:
        keep(storage, "a.gif", b"0123456789")

        with storage.open("a.gif") as file:
            assert [file.read(4), file.read(4), file.read(4), file.read(4)] == [
                b"0123", b"4567", b"89", b"",
            ]  # fmt: skip

    def test_an_empty_file_is_a_file(self, storage: Storage) -> None:
        keep(storage, "empty", b"")

        assert storage.exists("empty")
        assert read(storage, "empty") == b""

    def test_a_file_of_many_megabytes_keeps_its_content(self, storage: Storage) -> None:
        content = bytes(range(256)) * (20 * 1024 * 1024 // 256)
        keep(storage, "large.bin", content)

        assert read(storage, "large.bin") == content

    def test_a_second_upload_replaces_the_first(self, storage: Storage) -> None:
        keep(storage, "a.gif", b"content")
        keep(storage, "a.gif", b"other")

        assert read(storage, "a.gif") == b"other"

    def test_an_upload_that_fails_changes_nothing(self, storage: Storage) -> None:
        keep(storage, "a.gif", b"content")

        for key in ("a.gif", "b.gif"):
            try:
                storage.upload(Path(tempfile.gettempdir()) / "no such file", key, "image/gif")
            except Exception:  # noqa: BLE001, S112 any says that it failed
                continue
            raise AssertionError("upload() of a source that is not there raised nothing")

        assert read(storage, "a.gif") == b"content"
        assert not storage.exists("b.gif")

    def test_several_threads_can_use_it_at_once(self, storage: Storage) -> None:
        def use(number: int) -> bytes:
            key, content = f"a/{number}/b.gif", b"%d" % number * 10_000
            keep(storage, key, content)
            kept = read(storage, key)
            storage.delete(key)
            return kept if kept != content or storage.exists(key) else b""

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(use, range(32))) == [b""] * 32

    def test_a_deleted_file_is_gone(self, storage: Storage) -> None:
        keep(storage, "a/b.gif", b"1")
        keep(storage, "a/c.gif", b"2")

        storage.delete("a/b.gif")

        assert not storage.exists("a/b.gif")
        assert read(storage, "a/c.gif") == b"2"

    def test_deleting_a_missing_file_is_no_error(self, storage: Storage) -> None:
        storage.delete("a/b.gif")

    def test_opening_a_missing_file_raises_file_not_found(self, storage: Storage) -> None:
        try:
            storage.open("a/b.gif")
        except FileNotFoundError:
            return
        raise AssertionError("open() of a missing key raised no FileNotFoundError")

    def test_the_beginning_of_a_key_is_no_file(self, storage: Storage) -> None:
        keep(storage, "a/b.gif", b"1")

        assert not storage.exists("a")

    def test_a_url_contains_the_key(self, storage: Storage) -> None:
        assert "a/b.gif" in storage.url("a/b.gif")

    def test_a_url_is_signed_or_refused(self, storage: Storage) -> None:
        try:
            url = storage.url("a/b.gif", expires_s=60)
        except ValueError:  # it cannot sign
            return
        assert "a/b.gif" in url

    def test_each_method_checks_its_key(self, storage: Storage) -> None:
        for key in self.BAD_KEYS:
            for use in (storage.open, storage.exists, storage.delete, storage.url):
                _refuses(use, key)
            _refuses(lambda bad: keep(storage, bad, b""), key)

    def test_a_path_on_this_machine_is_the_file(self, storage: Storage) -> None:
        keep(storage, "a/b.gif", b"content")

        path = local_path(storage, "a/b.gif")
        assert path is None or path.read_bytes() == b"content"
        storage.delete("a/b.gif")
        try:
            assert local_path(storage, "a/b.gif") is None
        except FileNotFoundError:
            return

    def test_it_lists_its_files(self, storage: Storage) -> None:
        if not isinstance(storage, Listing):
            return
        keep(storage, "a/b.gif", b"1")
        keep(storage, "c.gif", b"2")
        storage.delete("c.gif")

        [(key, written_at)] = storage.walk()
        assert key == "a/b.gif"
        assert abs(written_at - time.time()) < 60
        assert list(storage.half_written(time.time() + 60, True)) == []


def keep(storage: Storage, key: str, content: bytes) -> None:
    """Upload some bytes into a storage."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.write_bytes(content)
        storage.upload(source, key, "application/octet-stream")


def read(storage: Storage, key: str) -> bytes:
    """The content of a storage's file."""
    with storage.open(key) as file:
        return file.read()


def _refuses(use: Callable[[str], object], key: str) -> None:
    try:
        use(key)
    except ValueError:
        return
    raise AssertionError(
        f"{key[:40]!r} is not a key, but no ValueError was raised: use check_key()"
    )
