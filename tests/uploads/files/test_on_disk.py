"""Stored and cached files as paths on this machine, for a `with` block."""

import os
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from gifster.uploads import (
    FsspecStorage,
    LocalFile,
    LocalStorage,
    MirrorStorage,
    StorageUnavailable,
    StoredFile,
    Uploader,
    configure,
    instrumentation,
    metadata,
    mount_uploader,
)
from gifster.uploads.files.access import local_copy
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.testing import MemoryStorage, keep
from tests import images
from tests.uploads.framework import Application, Base, Company

GIF = images.gif((300, 200))


def company(application: Application) -> StoredFile:
    made = Company(logo=GIF)
    made.save()
    return Company.get_by_id(made.id).logo.stored


def test_a_stored_file_and_its_versions_are_paths(application: Application):
    stored = company(application)

    with stored.on_disk() as path, stored.versions["small"].on_disk() as small:
        assert path.read_bytes() == GIF
        assert images.size(small.read_bytes()) == (20, 13)

    here = isinstance(application.store, LocalStorage)
    assert path.exists() == small.exists() == here


@pytest.fixture
def storage() -> MemoryStorage:
    made = MemoryStorage()
    keep(made, "a/b.gif", GIF)
    configure({"store": made})
    return made


def test_a_local_file_is_not_copied(tmp_path: Path):
    kept = LocalStorage(tmp_path / "store")
    keep(kept, "a/b.gif", GIF)
    configure({"store": kept})

    with local_copy("store", "a/b.gif") as path:
        assert path.samefile(kept.path("a/b.gif"))
    assert path.exists()


def test_a_path_ends_in_the_extension(application: Application):
    stored, cached = company(application), cache_upload(Uploader, GIF)

    for file in (stored, stored.versions["small"], cached):
        with file.on_disk() as path:
            assert path.suffix == ".gif"
    text = cache_upload(AnyUploader, b"a,b", "table.csv")
    with text.on_disk() as path, text.on_disk() as inner:
        assert (path.suffix, inner.suffix, inner.read_bytes()) == (".csv", ".csv", b"a,b")
    assert not path.exists()
    assert text.exists()


class AnyUploader(Uploader):
    allow_types = None

    @metadata
    def ending(self, file: LocalFile) -> str:
        assert file.sandboxed(os.path.getsize) == 3
        return file.path.suffix

    @metadata(later=True)
    def ending_later(self, file: LocalFile) -> str:
        return file.path.suffix


class Document(Base):
    file = mount_uploader(AnyUploader)


def test_facts_are_read_of_a_path_with_the_extension(application: Application):
    application.create_tables(Document)
    document = Document()
    document.file.assign(b"a,b", "table.CSV")
    document.save()

    facts = Document.get_by_id(document.id).file.metadata
    assert facts == {"ending": ".csv", "ending_later": ".csv"}


class Remote(MemoryStorage):
    """A storage elsewhere: it counts the files that are read, and may be away."""

    opened, away = 0, False

    def open(self, key: str) -> BinaryIO:
        self.opened += 1
        return super().open(key)

    def exists(self, key: str) -> bool:
        if self.away:
            raise StorageUnavailable("it is down")
        return super().exists(key)


@pytest.mark.parametrize("first_is_here", [True, False])
def test_a_mirror_gives_the_file_that_is_here(tmp_path: Path, first_is_here: bool):
    here, remote = LocalStorage(tmp_path / "store"), Remote()
    mirror = MirrorStorage(here, remote) if first_is_here else MirrorStorage(remote, here)
    configure({"store": MirrorStorage(mirror, MemoryStorage())})  # a mirror of a mirror, too
    keep(mirror, "a/b.gif", GIF)

    with local_copy("store", "a/b.gif") as path:
        assert path.samefile(here.path("a/b.gif"))
    assert remote.opened == 0

    # The first says whether there is such a file; while it is away, the second is enough
    remote.away = True
    with local_copy("store", "a/b.gif") as path:
        assert path.samefile(here.path("a/b.gif"))
    remote.away = False
    mirror.first.delete("a/b.gif")
    with pytest.raises(FileNotFoundError), local_copy("store", "a/b.gif"):
        pass


def test_a_mirror_whose_second_has_not_got_the_file_yet_copies_it(tmp_path: Path):
    remote = Remote()
    configure({"store": MirrorStorage(remote, LocalStorage(tmp_path / "store"))})
    keep(remote, "a/b.gif", GIF)

    with local_copy("store", "a/b.gif") as path:
        assert (path.suffix, path.read_bytes(), remote.opened) == (".gif", GIF, 1)
    assert not path.exists()


def test_a_folder_by_fsspec_is_on_this_machine(tmp_path: Path):
    kept = FsspecStorage(f"file://{tmp_path}/store", base_url="/files")
    keep(kept, "a/b.gif", GIF)
    configure({"store": kept})

    with local_copy("store", "a/b.gif") as path:
        assert path == (tmp_path / "store/a/b.gif").resolve()
    kept = FsspecStorage("memory://store", base_url="/files")
    keep(kept, "a/b.gif", GIF)
    assert kept.local_path("a/b.gif") is None


def test_nested_blocks_share_a_copy(storage: MemoryStorage):
    downloads: list[object] = []
    end = instrumentation.subscribe(downloads.append, ["download"])
    with local_copy("store", "a/b.gif") as outer:
        with local_copy("store", "a/b.gif") as inner:
            assert inner == outer
        assert outer.read_bytes() == GIF  # the inner block leaves it
    end()

    assert len(downloads) == 1
    assert not outer.exists()


def test_nested_blocks_share_the_copy_of_a_cached_file(storage: MemoryStorage):
    configure({"cache": storage})
    cached = cache_upload(Uploader, GIF)

    with cached.on_disk() as outer, cached.on_disk() as inner:
        assert inner == outer
        assert inner.read_bytes() == GIF
    assert not outer.exists()


def test_blocks_that_overlap_share_a_copy_until_the_last_ends(storage: MemoryStorage):
    first, second = (local_copy("store", "a/b.gif") for _ in range(2))
    path = first.__enter__()
    assert second.__enter__() == path

    first.__exit__(None, None, None)
    assert path.exists()
    second.__exit__(None, None, None)
    assert not path.exists()


def test_a_later_block_copies_the_file_as_it_is_then(storage: MemoryStorage):
    with local_copy("store", "a/b.gif"):
        pass
    storage.delete("a/b.gif")

    with pytest.raises(FileNotFoundError), local_copy("store", "a/b.gif"):
        pass


def test_threads_have_copies_of_their_own(storage: MemoryStorage):
    paths: list[Path] = []

    def other() -> None:
        with local_copy("store", "a/b.gif") as path:
            paths.append(path)

    with local_copy("store", "a/b.gif") as path:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert path.exists()

    assert paths != [path]
    assert not paths[0].exists()


def test_a_block_that_fails_leaves_no_copy(storage: MemoryStorage):
    with pytest.raises(RuntimeError), local_copy("store", "a/b.gif") as path:
        raise RuntimeError
    assert not path.exists()
