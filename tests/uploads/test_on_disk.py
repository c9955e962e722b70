"""Stored and cached files as paths on this machine, for a `with` block."""

import threading
from pathlib import Path

import pytest

from gifster.uploads import LocalStorage, StoredFile, Uploader, configure, instrumentation
from gifster.uploads.files.access import local_copy
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.testing import MemoryStorage, keep
from tests import images
from tests.uploads.framework import Application, Company

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
