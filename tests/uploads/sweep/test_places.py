"""Storages that share a place, lie within one another, or have another name by now."""

import json
from pathlib import Path

import pytest

from gifster.uploads import (
    Image,
    LocalStorage,
    MirrorStorage,
    Uploader,
    configure,
    mount_uploader,
    version,
)
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.sweep import Findings
from gifster.uploads.testing import MemoryStorage, keep, read
from tests.machine import files_below
from tests.uploads.framework import Application, AvatarUploader, Base, Person
from tests.uploads.sweep.scene import (
    FOLDER,
    GIF,
    on_both,
    orphan,
    person,
    reasons,
    sweep_old,
)


def test_a_key_under_an_unknown_storage_name_is_in_use_everywhere(application: Application):
    # Given rows from a time when the store had another name
    made = person()
    application.work()
    stored = Person.get_by_id(made.id).avatar.stored
    text = json.dumps(stored.dump()).replace('"storage": "store"', '"storage": "disk"')
    application.database.execute_sql(f"UPDATE person SET avatar = '{text}'")
    before = application.stored

    found = sweep_old()

    assert found.orphans == []
    assert application.stored == before
    assert "disk: configure() was given no storage of this name" in reasons(found)


@on_both
def test_two_names_of_one_place_are_one_storage(application: Application):
    made = person()
    application.work()
    stored = Person.get_by_id(made.id).avatar.stored
    text = json.dumps(stored.dump()).replace('"storage": "store"', '"storage": "disk"')
    application.database.execute_sql(f"UPDATE person SET avatar = '{text}'")
    mine = orphan(application)
    before = application.stored
    application.also = {"disk": application.within_store()}
    application.configure()

    found = sweep_old()

    assert found == Findings(orphans=[f"store:{mine}"])
    assert application.stored == [key for key in before if key != mine]


@on_both
@pytest.mark.parametrize("named_by_rows", ["first", "second"])
def test_the_storages_of_a_mirror_may_have_names_of_their_own(
    application: Application, tmp_path: Path, named_by_rows: str
):
    # Given a store that has become a mirror, while some rows name one of its storages as before
    first, second = application.store, LocalStorage(tmp_path / "copy")
    application.also = {"first": first, "second": second}
    application.configure()
    old = person("Old")
    application.work()
    stored = Person.get_by_id(old.id).avatar.stored
    for key in application.stored:
        keep(second, key, read(first, key))
    text = json.dumps(stored.dump()).replace('"storage": "store"', f'"storage": "{named_by_rows}"')
    application.database.execute_sql(f"UPDATE person SET avatar = '{text}'")
    application.store = MirrorStorage(first, second)
    configure({"first": first, "second": second, "cache": application.cache,
               "store": application.store}, secret="a secret")  # fmt: skip
    person("New")
    application.work()
    before = application.stored
    assert files_below(second.root) == before
    orphan(application)

    # When the sweep deletes an orphan, I expect its copy to go, and those of all others to stay
    sweep_old()

    assert application.stored == before
    assert files_below(second.root) == before


@pytest.mark.parametrize("names", ["store one", "one store", "store one first", "first store one"])
def test_mirrors_may_have_the_same_first(application: Application, tmp_path: Path, names: str):
    # Given two mirrors of one folder, into each of which an orphan was stored
    first, copies = application.store, [LocalStorage(tmp_path / name) for name in "ab"]
    kept = {
        "store": MirrorStorage(first, copies[0]),
        "one": MirrorStorage(MirrorStorage(first, MemoryStorage()), copies[1]),
        "first": first,
    }
    storages = {name: kept[name] for name in names.split()}
    configure({"cache": application.cache, **storages}, secret="a secret")
    person()
    application.work()
    before = application.stored
    for name in ("store", "one"):
        keep(kept[name], f"person/avatar/{len(name)}/{FOLDER}/original.gif", GIF)
    for copy in copies:
        (copy.root / f".{FOLDER}.tmp").write_bytes(b"half")

    # When the sweep deletes the orphans, I expect the copies in both to go
    found = sweep_old()

    assert len(found.orphans) == 2
    assert application.stored == files_below(copies[0].root) == before
    assert files_below(copies[1].root) == []
    assert kept["one"].first.second.files == {}


@pytest.mark.parametrize("named_by_rows", ["first", "second"])
def test_the_storages_of_a_mirror_need_no_place(application: Application, named_by_rows: str):
    # Given a mirror of storages of somebody's own, which some rows name, and an orphan
    first, second = MemoryStorage(), MemoryStorage()
    application.store = MirrorStorage(first, second)
    configure({"first": first, "second": second, "cache": application.cache,
               "store": application.store}, secret="a secret")  # fmt: skip
    old = person("Old")
    person("New")
    application.work()
    stored = Person.get_by_id(old.id).avatar.stored
    text = json.dumps(stored.dump()).replace('"storage": "store"', f'"storage": "{named_by_rows}"')
    application.database.execute_sql(f"UPDATE person SET avatar = '{text}' WHERE id = {old.id}")
    before = set(first.files)
    assert set(second.files) == before
    orphan(application)

    # I expect the sweep to delete the orphan and its copy, and nothing else
    sweep_old()

    assert set(first.files) == before
    assert set(second.files) == before


@on_both
def test_a_store_and_a_cache_can_be_one_storage(application: Application):
    application.cache, application.cache_folder = application.store, application.store_folder
    application.configure()
    person()
    application.work()
    waiting = person()
    lost = cache_upload(AvatarUploader, GIF)
    mine = orphan(application)
    before = application.stored

    found = sweep_old()

    assert sorted(found.orphans + found.abandoned) in (
        sorted([f"cache:{mine}", f"cache:{lost.key}"]),
        sorted([f"store:{mine}", f"store:{lost.key}"]),
    )
    assert found.abandoned[0].endswith(lost.key)
    assert set(application.stored) == set(before) - {mine, lost.key}
    assert waiting.avatar_tmp.key in application.stored


@on_both
def test_a_storage_within_another_keeps_the_files_of_both(application: Application):
    # Given a cache in a folder of the store, or under a longer prefix of its bucket
    application.cache = application.within_store("cache")
    application.configure()
    person()
    application.work()
    waiting = person()

    assert sweep_old() == Findings()
    assert waiting.avatar_tmp.exists()


def test_the_storage_of_a_version_is_swept_too(application: Application, tmp_path: Path):
    class Split(Uploader):
        @version(storage="small")
        def thumb(self, image: Image) -> Image:
            return image.fit(20, 20)

    class Sheet(Base):
        sheet = mount_uploader(Split)

        class Meta:
            table_name = "sweep_sheet"

    small, backup = MemoryStorage(), MemoryStorage()
    application.also = {"small": small, "backup": backup}
    application.configure()
    application.create_tables(Sheet)
    sheet = Sheet()
    sheet.sheet = GIF
    sheet.save()
    [thumb] = small.files
    lost = f"sweep_sheet/sheet/9/{FOLDER}/thumb.gif"
    for storage in (small, backup):
        keep(storage, lost, GIF)
        keep(storage, thumb, GIF)

    found = sweep_old()

    # I expect the sweep to leave a storage alone that no uploader stores into, such as a backup
    assert found.orphans == [f"small:{lost}"]
    assert list(small.files) == [thumb]
    assert set(backup.files) == {lost, thumb}


def test_links_are_not_followed_and_their_targets_are_in_use(
    application: Application, tmp_path: Path
):
    root = application.store_folder
    outside = tmp_path / "outside"
    (outside / "person/avatar/5" / FOLDER).mkdir(parents=True)
    (outside / "person/avatar/5" / FOLDER / "original.gif").write_bytes(GIF)
    target, free = orphan(application), f"person/avatar/8/{FOLDER}/original.gif"
    keep(application.store, free, GIF)
    (root / "person/avatar/linked").symlink_to(outside / "person/avatar/5")
    copy = root / f"person/avatar/6/{FOLDER}/original.gif"
    copy.parent.mkdir(parents=True)
    copy.symlink_to(root / target)

    found = sweep_old()

    assert f"store:{free}" in found.orphans
    assert (root / target).exists()
    assert (outside / "person/avatar/5" / FOLDER / "original.gif").exists()
    assert (root / "person/avatar/linked").is_symlink()
    assert "symbolic link" in reasons(found)
