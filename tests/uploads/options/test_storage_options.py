"""What a storage does differently by its options, and by those that an uploader gives it."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gifster.uploads import FsspecStorage, LocalStorage, S3Storage
from gifster.uploads.backgrounding.promotion import Promotion
from gifster.uploads.testing import keep
from tests import images
from tests.uploads.framework import (
    Application,
    AvatarUploader,
    Company,
    LogoUploader,
    Person,
)

# The modes of local files


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(root: Path) -> tuple[set[int], set[int]]:
    """The modes of all files, and of all folders."""
    found = list(root.rglob("*"))
    files, folders = ([p for p in found if p.is_dir() == wanted] for wanted in (False, True))
    return tuple({stat.S_IMODE(p.stat().st_mode) for p in each} for each in (files, folders))


def test_files_and_folders_have_the_modes_that_are_set(
    application: Application, umask: int, tmp_path: Path
):
    options = {"permissions": 0o640, "directory_permissions": 0o2750}
    application.cache = LocalStorage(tmp_path / "c", **options)
    application.store = LocalStorage(tmp_path / "s", **options)
    application.configure()

    Person.create(avatar=images.gif())
    assert modes(tmp_path / "c") == ({0o640}, {0o2750})
    application.work()
    assert modes(tmp_path / "s") == ({0o640}, {0o2750})
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o2750
    for key, _ in list(application.store.walk()):
        application.store.delete(key)  # which leaves a folder behind
    assert modes(tmp_path / "s") == (set(), {0o2750})


def test_without_modes_the_umask_decides(tmp_path: Path, umask: int):
    keep(LocalStorage(tmp_path / "s"), "a/b.gif", b"content")

    assert modes(tmp_path / "s") == ({0o666 & ~umask}, {0o777 & ~umask})


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s").chmod(0o711)  # whatever the umask

    keep(LocalStorage(tmp_path / "s", directory_permissions=0o750), "a/b.gif", b"content")

    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o711
    assert modes(tmp_path / "s")[1] == {0o750}


# A host for each file


def by_first_letter(key: str) -> str:
    return f"https://{key[0]}.cdn.example.org/files/"


def storages(tmp_path: Path) -> list[Any]:
    return [
        LocalStorage(tmp_path, by_first_letter, secret="secret"),
        FsspecStorage("memory://a", base_url=by_first_letter),
        S3Storage("bucket", prefix="gifs/", base_url=by_first_letter, region="us-east-1",
                  access_key_id="k", secret_access_key="s"),
    ]  # fmt: skip


def test_a_function_chooses_the_host_of_each_file(tmp_path: Path):
    local, memory, s3 = storages(tmp_path)

    assert local.url("a/b.gif") == "https://a.cdn.example.org/files/a/b.gif"
    assert local.url("c.gif", expires_s=60).startswith("https://c.cdn.example.org/files/c.gif?")
    assert memory.url("a/b.gif") == "https://a.cdn.example.org/files/a/b.gif"
    assert s3.url("b.gif") == "https://b.cdn.example.org/files/gifs/b.gif"
    for storage in (local, memory, s3):
        with pytest.raises(ValueError, match="key"):
            storage.url("../a.gif")


def test_an_uploaders_url_has_that_host(application: Application):
    application.store = LocalStorage(application.store_folder, by_first_letter)
    application.configure()

    company = Company.create(logo=images.gif())

    assert company.logo.url() == f"https://c.cdn.example.org/files/{company.logo.stored.key}"
    assert company.logo.url("small").startswith("https://c.cdn.example.org/files/company/logo/")


# The addresses of S3


# The headers of S3


# Keys


@pytest.mark.parametrize("nothing", ["", None])
def test_an_uploader_without_a_store_dir_or_a_name(
    application: Application, monkeypatch: pytest.MonkeyPatch, nothing: Any
):
    monkeypatch.setattr(LogoUploader, "store_dir", lambda self: nothing)
    monkeypatch.setattr(LogoUploader, "filename", lambda *_: nothing)

    company = Company.create(logo=images.gif())

    folder, name = company.logo.stored.key.split("/")
    assert (len(folder), name) == (16, "original.gif")
    assert company.logo.url() == f"/files/{folder}/original.gif"
    assert company.logo.url("small") == f"/files/{folder}/small.gif"
    company.delete_instance()
    application.work()
    assert application.stored == []


def test_the_sweep_leaves_files_without_a_store_dir_alone(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    from gifster.uploads import sweep

    monkeypatch.setattr(LogoUploader, "store_dir", lambda self: None)
    company = Company.create(logo=images.gif())
    application.database.execute_sql(f"DELETE FROM company WHERE id = {company.id}")

    found = sweep(repair=True, min_age_s=-60)

    assert found.orphans == []
    assert len(application.stored) == 2
    assert sum(left.count for left in found.left_alone) == 2


# Moving from the cache to the store


def inodes(folder: Path) -> dict[int, str]:
    return {p.stat().st_ino: p.suffix for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("model", [Company, Person])
@pytest.mark.parametrize("moves", [True, False])
def test_an_original_is_moved_to_the_store(
    application: Application, monkeypatch: pytest.MonkeyPatch, model: Any, moves: bool
):
    column = {Company: "logo", Person: "avatar"}[model]
    monkeypatch.setattr(getattr(model, column).uploader, "move_to_store", moves)
    record = model()
    getattr(record, column).assign(images.gif(), "me.gif")
    cached = inodes(application.cache_folder)

    record.save()
    application.work()

    stored = getattr(model.get_by_id(record.id), column).stored
    assert application.store.path(stored.key).read_bytes() == images.gif()
    assert application.cached == []
    assert len(cached.keys() & inodes(application.store_folder).keys()) == moves


def test_a_move_that_is_not_the_end_can_be_repeated(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(AvatarUploader, "move_to_store", True)
    person = Person.create(avatar=images.gif())
    [job] = application.jobs()
    # Given a worker that dies when it has moved the original
    with monkeypatch.context() as patch:
        patch.setattr(Promotion, "_swap", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            application.deliver(job)
    assert len(application.cached) == 1

    application.work()

    stored = Person.get_by_id(person.id).avatar.stored
    assert application.store.path(stored.key).read_bytes() == images.gif()
    assert application.cached == []
    assert len(application.stored) == 2


def test_a_rollback_takes_a_moved_file_back(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(LogoUploader, "move_to_store", True)
    company = Company(logo=images.gif())

    with pytest.raises(ZeroDivisionError), application.database.atomic():
        company.save()
        raise ZeroDivisionError

    assert application.stored == []
    company.save()
    assert application.store.path(company.logo.stored.key).read_bytes() == images.gif()


@pytest.mark.parametrize("fault", ["another file system", "a mode of the cache"])
def test_a_file_that_cannot_be_moved_is_copied(
    application: Application, monkeypatch: pytest.MonkeyPatch, fault: str
):
    monkeypatch.setattr(LogoUploader, "move_to_store", True)
    if fault == "another file system":

        def link(*_: Any, **__: Any) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", link)
    else:
        application.cache = LocalStorage(application.cache_folder, permissions=0o600)
        application.configure()
    company = Company(logo=images.gif())
    cached = inodes(application.cache_folder)

    company.save()

    assert application.store.path(company.logo.stored.key).read_bytes() == images.gif()
    assert not cached.keys() & inodes(application.store_folder).keys()
    assert not [name for name in application.stored if name.endswith(".tmp")]


def test_a_moved_file_has_the_mode_of_the_store_and_is_young(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(LogoUploader, "move_to_store", True)
    application.store = LocalStorage(application.store_folder, permissions=0o604)
    application.configure()
    company = Company(logo=images.gif())
    [cached] = (p for p in application.cache_folder.rglob("*") if p.is_file())
    os.utime(cached, (0, 0))

    company.save()

    found = application.store.path(company.logo.stored.key).stat()
    assert stat.S_IMODE(found.st_mode) == 0o604
    assert found.st_mtime > 0
