"""File systems of fsspec with the faults of some real servers, which cut files or replace none."""

import io
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest

from gifster.uploads import FsspecStorage, StorageUnavailable
from gifster.uploads.testing import keep, read
from tests.uploads.file_systems.memory import Memory


class Faulty(Memory):
    """A server with the faults of some real ones."""

    protocol = "faulty"
    fault = ""

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        content = Path(lpath).read_bytes()
        if self.fault == "is away":
            raise EOFError("no connection")
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


@pytest.mark.parametrize(("fault", "stays"), [("is away", True), ("cuts", False)])
def test_an_upload_that_breaks_leaves_the_file_of_another_writer(
    faulty: FsspecStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, stays: bool
):
    # Given a file that a job has stored, and its row names
    storage = FsspecStorage(f"faulty://{tmp_path.name}", atomic=True)
    monkeypatch.setattr(Faulty, "fault", fault)

    # When a second copy of the job cannot store it again
    with pytest.raises(StorageUnavailable):
        keep(storage, "a.gif", b"content")

    # I expect it to be there, unless the server has cut it
    assert storage.exists("a.gif") is stays


def test_a_server_that_replaces_no_file_deletes_it_first(
    faulty: FsspecStorage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Faulty, "fault", "replaces nothing")

    keep(faulty, "a.gif", b"other")

    assert read(faulty, "a.gif") == b"other"


def test_a_server_that_replaces_no_file_keeps_one_with_the_same_content(
    faulty: FsspecStorage, monkeypatch: pytest.MonkeyPatch
):
    # Given a server that replaces no file, and a job that has stored one there
    monkeypatch.setattr(Faulty, "fault", "replaces nothing")
    monkeypatch.setattr(Faulty, "rm_file", forbidding(Faulty.rm_file, "/a.gif"))

    # When a second copy of the job stores it again, I expect that it is never gone
    keep(faulty, "a.gif", b"content")

    assert [key for key, _ in faulty.walk()] == ["a.gif"]
    assert list(faulty.half_written(time.time() + 60, False)) == []


def forbidding(remove: Any, ending: str) -> Any:
    """A method that deletes any file but this one."""

    def without(self: Any, path: str) -> None:
        assert not path.endswith(ending), path
        remove(self, path)

    return without


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
            fs.pipe_file(path, b"older")

    monkeypatch.setattr(Faulty, "rm_file", rm_file)

    keep(faulty, "a.gif", b"other")

    assert len(deleted) == 3
    assert read(faulty, "a.gif") == b"other"
    assert list(faulty.half_written(time.time() + 60, False)) == []
