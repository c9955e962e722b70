"""Many GIFs in and out: folders, zips and lists of URLs, and the zip that an export writes."""

import errno
import hashlib
import io
import json
import os
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import dramatiq
import pytest

from gifster.app import library, lists
from gifster.app.database import db
from gifster.app.edits import Crop, Edit
from gifster.app.errors import LibraryError
from gifster.app.models import Gif, ImageUploader, Tag
from gifster.app.settings import Settings
from gifster.app.transfer import exporting, importing
from gifster.app.transfer.importing import Outcome, What, add_all
from gifster.app.transfer.sources import find
from gifster.jobs.testing import enqueued
from gifster.uploads import LocalStorage, StorageUnavailable, actors
from gifster.uploads.config import config, configure
from gifster.uploads.sweep import sweep
from gifster.uploads.testing import run_jobs
from tests import images
from tests.app.gifs import cached
from tests.app.people import person
from tests.app.small_disks import mounted
from tests.combinations import on_postgresql
from tests.imaging.png import chunk, with_chunks
from tests.machine import eventually, files_below


@pytest.fixture(autouse=True)
def _library(booted: Settings) -> None:
    """Each on both databases."""
    for actor in (actors.store_asset, actors.remove_files, actors.recreate_versions):
        dramatiq.get_broker().declare_actor(actor)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures in folders, a text and a hidden file."""
    folder = tmp_path / "Old pictures"
    for name, content in {
        "a cat.gif": images.gif(durations=[40] * 2),
        "Reactions/Yes/nod.GIF": images.gif(durations=[40] * 3),
        "Reactions/no.png": images.still("PNG"),
        "Reactions/notes.doc": b"words",
        ".thumbnails/x.gif": images.gif(durations=[40] * 9),
        "Reactions/._no.png": b"of a Mac",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def imported(*paths: Path, **options: object) -> list[Outcome]:
    found = [each for path in paths for each in find(path)]
    return list(add_all(found, **options))  # type: ignore[arg-type]


def counts(outcomes: list[Outcome]) -> dict[str, int]:
    return {what.value: count for what, count in Counter(each.what for each in outcomes).items()}


def library_as_told() -> dict[str, list[str]]:
    """Titles, with their tags."""
    gifs = list(Gif.select())
    tags = lists.tags_of(gifs)
    return {gif.title: tags[gif.id] for gif in gifs}


def test_a_folder_with_its_folders_as_tags(folder: Path):
    ann = person("Ann")

    outcomes = imported(folder, user=ann, tags=["old"])

    # I expect each picture, and no other file, with a job that stores it
    assert counts(outcomes) == {"added": 3}
    assert library_as_told() == {
        "a cat": ["old"],
        "no": ["old", "reactions"],
        "nod": ["old", "reactions", "yes"],
    }
    assert {gif.user_id for gif in Gif.select()} == {ann.id}
    assert len(enqueued()) == 3


def test_a_second_import_adds_nothing_and_one_that_was_interrupted_goes_on(folder: Path):
    # Given an import that ends after its first picture
    first = add_all(find(folder))
    first_done = add_all([next(iter(find(folder)))])
    assert counts(list(first_done)) == {"added": 1}
    first.close()

    # When it is started again, and again
    assert counts(imported(folder)) == {"added": 2, "known": 1}
    assert counts(imported(folder)) == {"known": 3}

    # I expect each once, and nothing in the cache that no row waits for
    assert Gif.select().count() == 3
    assert not sweep(repair=False, min_age_s=0).abandoned


def test_an_interrupted_batch_leaves_nothing(folder: Path):
    def two_and_then_ctrl_c() -> Iterator[object]:
        found = find(folder)
        yield next(found)
        yield next(found)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(add_all(two_and_then_ctrl_c()))  # type: ignore[arg-type]

    assert Gif.select().count() == 0
    assert not sweep(repair=False, min_age_s=0).abandoned


def test_a_picture_whose_metadata_goes_is_known_the_second_time(tmp_path: Path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(with_chunks(images.still("PNG"), chunk(b"tEXt", b"Comment\0Home")))

    assert counts(imported(photo)) == {"added": 1}
    assert Gif.get().sha256 != hashlib.sha256(photo.read_bytes()).hexdigest()
    assert counts(imported(photo)) == {"known": 1}
    assert not sweep(repair=False, min_age_s=0).abandoned


def test_the_same_file_twice_in_one_import(tmp_path: Path):
    for name in ("a.gif", "b.gif"):
        (tmp_path / name).write_bytes(images.gif())

    [first, second] = imported(tmp_path / "a.gif", tmp_path / "b.gif")

    assert (first.what, second.what) == (What.ADDED, What.KNOWN)
    assert (first.name, second.gif_id) == (f"{tmp_path}/a.gif", first.gif_id)


@on_postgresql
def test_an_import_gives_way_to_an_upload_that_waits_for_one_of_its_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Given an upload that has made the tag "yes", and wants "no" when an import has made it
    for n, tag in enumerate(("no", "yes"), 2):
        (tmp_path / tag).mkdir()
        (tmp_path / tag / "a.gif").write_bytes(images.gif(durations=[40] * n))
    has_tag, wants, add = threading.Event(), threading.Event(), importing._add

    def upload() -> None:
        with db.connection_context(), db.atomic():
            Tag.create(name="yes")
            has_tag.set()
            wants.wait(20)
            Tag.insert(name="no").on_conflict_ignore().execute()

    def slowly(picture: Any, *rest: Any) -> Gif:
        if "yes" in picture.details.tags and not wants.is_set():
            wants.set()
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
            eventually(lambda: bool(db.execute_sql(waiting).fetchall()))
        return add(picture, *rest)

    monkeypatch.setattr(importing, "_add", slowly)
    with ThreadPoolExecutor(1) as thread:
        uploaded = thread.submit(upload)
        has_tag.wait(20)

        # When the import wants "yes"
        outcomes = imported(tmp_path)

        # I expect both to end, and the server to undo nothing
        uploaded.result(20)
    assert counts(outcomes) == {"added": 2}
    assert {tag.name for tag in Tag.select()} == {"no", "yes"}


def test_a_twin_of_a_refused_picture_is_added(tmp_path: Path):
    for name in ("a.gif", "b.gif", "c.gif"):
        (tmp_path / name).write_bytes(images.gif())
    (tmp_path / "a.gif.json").write_text('{"visibility": "private"}')

    outcomes = imported(tmp_path)

    assert counts(outcomes) == {"refused": 1, "added": 1, "known": 1}
    assert Gif.get().title == "b"
    assert not sweep(repair=False, min_age_s=0).abandoned


def test_what_only_others_find_is_added(tmp_path: Path):
    # Given unlisted and private copies of Ann's
    picture = tmp_path / "a.gif"
    picture.write_bytes(images.gif())
    ann = person("Ann")
    imported(picture, user=ann)
    Gif.update(visibility="unlisted").execute()

    # When the team imports the same file twice
    assert counts(imported(picture)) == {"added": 1}
    assert counts(imported(picture)) == {"known": 1}

    # I expect Ann's import to find her own
    assert counts(imported(picture, user=ann)) == {"known": 1}


def test_sidecars(folder: Path):
    (folder / "a cat.gif.json").write_text(
        json.dumps({"title": "Cat, asleep", "tags": "cats, sleep", "alt_text": "A cat.", "n": 1})
    )
    (folder / "Reactions" / "no.json").write_text(
        json.dumps({"tags": ["refusal"], "rating": "pg", "visibility": "unlisted"})
    )

    assert counts(imported(folder)) == {"added": 3}

    assert library_as_told() == {
        "Cat, asleep": ["cats", "sleep"],
        "no": ["refusal"],
        "nod": ["reactions", "yes"],
    }
    no = Gif.get(Gif.title == "no")
    assert (no.rating, no.visibility) == ("pg", "unlisted")
    assert Gif.get(Gif.title.startswith("Cat")).alt_text == "A cat."


@pytest.mark.parametrize(
    ("sidecar", "reason"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[1]", "is no JSON object"),
        ('{"title": 3}', "title must be a text"),
        ('{"tags": [1]}', "tags must be a list of texts"),
        ('{"edit": {"start": -1}}', "start"),
        ('{"rating": "x"}', "rating"),
        ('{"visibility": "private"}', "needs an owner"),
        ('{"title": "' + "x" * 201 + '"}', "at most 200 characters"),
        ('{"title": "a\\u0000b"}', "control characters"),
        (" " * 2_000_000, "more than 1,048,576 bytes"),
    ],
)
def test_a_wrong_sidecar_refuses_its_picture_alone(folder: Path, sidecar: str, reason: str):
    (folder / "a cat.gif.json").write_text(sidecar)

    outcomes = imported(folder)

    assert counts(outcomes) == {"added": 2, "refused": 1}
    [refused] = [each for each in outcomes if each.what is What.REFUSED]
    assert refused.name == str(folder / "a cat.gif")
    assert reason in refused.reason
    assert not sweep(repair=False, min_age_s=0).abandoned


def test_a_zip(folder: Path, tmp_path: Path):
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name in files_below(folder):
            target.write(folder / name, name)
        target.writestr("../../up.gif", images.gif(durations=[40] * 5))
        target.writestr("Reactions/no.png.json", '{"title": "No!"}')

    assert counts(imported(archive)) == {"added": 3}

    # I expect its pictures, without the one whose name leads elsewhere
    assert library_as_told() == {
        "No!": ["reactions"],
        "a cat": [],
        "nod": ["reactions", "yes"],
    }
    assert counts(imported(archive)) == {"known": 3}


def test_a_bomb_in_a_zip_is_read_no_further_than_an_upload(tmp_path: Path):
    archive = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target,
        target.open("a.gif", "w") as entry,
    ):
        entry.write(images.gif())
        for _ in range(ImageUploader.max_bytes // 2**20 + 1):
            entry.write(bytes(2**20))

    [outcome] = imported(archive)

    assert outcome.what is What.REFUSED


def test_a_damaged_zip(tmp_path: Path):
    archive = tmp_path / "damaged.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("a.gif", images.gif())
        target.writestr("b.gif", images.gif(durations=[40] * 3))
    content = bytearray(archive.read_bytes())
    content[60] ^= 255  # in the first entry
    archive.write_bytes(content)

    outcomes = imported(archive)

    assert counts(outcomes) == {"added": 1, "refused": 1}
    archive.write_bytes(content[:-30])
    with pytest.raises(LibraryError, match=r"damaged\.zip is no zip"):
        list(find(archive))


def test_a_list_of_urls(tmp_path: Path):
    urls = tmp_path / "urls.txt"
    urls.write_text("\ufeff# mine\n\nhttp://127.0.0.1/cat.gif\nnonsense\n")

    outcomes = imported(urls)

    # I expect the rules of uploads by URL: no private addresses, no other schemes
    assert [each.name for each in outcomes] == ["http://127.0.0.1/cat.gif", "nonsense"]
    assert counts(outcomes) == {"refused": 2}


@pytest.mark.parametrize("name", ["nothing.gif", "nothing", "nothing.zip", "nothing.txt"])
def test_a_path_that_is_not_there(tmp_path: Path, name: str):
    with pytest.raises(LibraryError, match="No such file"):
        list(add_all(find(tmp_path / name)))


def test_what_failed_before_is_not_tried_again(tmp_path: Path):
    picture = tmp_path / "a.gif"
    picture.write_bytes(images.gif())
    imported(picture)
    Gif.update(image_state="failed").execute()

    [outcome] = imported(picture)

    assert outcome.what is What.REFUSED
    assert f"GIF {Gif.get().id}; delete it to try again" in outcome.reason
    assert Gif.select().count() == 1


def test_an_export_is_imported_as_it_was(folder: Path, tmp_path: Path):
    # Given a library with all that can be said of a GIF
    ann = person("Ann")
    imported(folder, user=ann)
    run_jobs()
    Gif.update(
        alt_text="Words",
        rating="pg",
        visibility="private",
        title="../Né / 猫?",
        edit=Edit(end=0.1, crop=Crop(2, 3, 40, 50)),
    ).where(Gif.title == "nod").execute()
    before = {gif.sha256: told(gif) for gif in Gif.select()}

    # When it is exported, emptied, and imported again
    target = tmp_path / "export.zip"
    with target.open("wb") as file:
        faults = [fault for _, fault in exporting.export(file, exporting.chosen())]
    for gif in Gif.select():
        gif.delete_instance()
    assert counts(imported(target, user=ann)) == {"added": 3}

    # I expect the same library
    assert faults == ["", "", ""]
    assert {gif.sha256: told(gif) for gif in Gif.select()} == before
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert not any("/" in name for name in archive.namelist())


def told(gif: Gif) -> list[object]:
    tags = lists.tags_of([gif])[gif.id]
    return [gif.title, tags, gif.alt_text, gif.rating, gif.visibility, gif.edit, gif.user_id]


def test_an_export_says_which_files_are_missing_or_changed(folder: Path):
    imported(folder)
    run_jobs()
    missing, changed, whole = Gif.select().order_by(Gif.title)
    for gif, content in ((missing, None), (changed, b"something else")):
        with gif.image.stored.on_disk() as path:
            path.unlink()
            if content is not None:
                path.write_bytes(content)

    target = io.BytesIO()
    faults = {gif.id: fault for gif, fault in exporting.export(target, exporting.chosen())}

    assert faults == {
        missing.id: "Its file is missing.",
        changed.id: "Its file has changed since it was stored.",
        whole.id: "",
    }
    with zipfile.ZipFile(target) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".json")]) == 2


class GoesAway(LocalStorage):
    """A storage elsewhere, whose connection is lost within each file."""

    def local_path(self, key: str) -> None:
        return None

    def open(self, key: str) -> BinaryIO:
        file = super().open(key)
        pieces = iter([file.read(10)])
        file.close()

        class Lost(io.RawIOBase):
            def read(self, size: int = -1) -> bytes:
                try:
                    return next(pieces)
                except StopIteration:
                    raise StorageUnavailable("the bucket does not answer") from None

        return cast("BinaryIO", Lost())


def test_an_export_has_no_half_of_a_file(folder: Path, booted: Settings):
    imported(folder)
    run_jobs()
    configure({"cache": config.storages["cache"], "store": GoesAway(booted.store.root)})

    target = io.BytesIO()
    faults = {fault for _, fault in exporting.export(target, exporting.chosen())}

    assert faults == {"Its file cannot be read: the bucket does not answer."}
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == []


def test_an_export_of_one_user_or_one_tag(folder: Path):
    ann = person("Ann")
    imported(folder / "a cat.gif", user=ann)
    imported(folder)
    run_jobs()

    def titles(**options: object) -> set[str]:
        return {gif.title for gif in exporting.chosen(**options)}

    assert titles(user=ann) == {"a cat"}
    assert titles(tag="Reactions") == {"no", "nod"}
    Gif.update(trashed_at=1).where(Gif.title == "no").execute()
    assert titles(tag="reactions") == {"nod"}


def test_an_export_has_the_new_picture_of_a_gif_that_is_replaced_meanwhile(folder: Path):
    # Given two GIFs, whose pictures are replaced while the first one is written
    imported(folder / "a cat.gif", folder / "Reactions" / "no.png")
    run_jobs()
    new = images.gif(durations=[40] * 7)
    target, exported = io.BytesIO(), []
    for gif, fault in exporting.export(target, exporting.chosen()):
        exported.append((gif.id, fault))
        if len(exported) == 1:
            for each in Gif.select():
                library.replace_image(each.id, None, cached(new), reach=library.Reach.ALL)
            run_jobs()

    # I expect the second one with its new picture
    assert [fault for _, fault in exported] == ["", ""]
    second = exported[1][0]
    with zipfile.ZipFile(target) as archive:
        [name] = [n for n in archive.namelist() if second in n and not n.endswith(".json")]
        assert archive.read(name) == new


def test_a_gif_of_a_machine_whose_clock_had_stopped_is_exported(folder: Path):
    # Given uploads of moments that a zip cannot tell
    imported(folder)
    run_jobs()
    ids = [gif.id for gif in Gif.select()]
    for gif_id, moment in zip(ids, [0, 5_000_000_000_000_000], strict=False):
        Gif.update(created_at=datetime.fromtimestamp(moment / 1e6, UTC)).where(
            Gif.id == gif_id
        ).execute()

    target = io.BytesIO()
    assert {fault for _, fault in exporting.export(target, exporting.chosen())} == {""}

    with zipfile.ZipFile(target) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} >= {1980, 2107}


def test_a_full_disk_ends_an_export_and_is_no_fault_of_the_pictures(folder: Path):
    imported(folder)
    run_jobs()
    exported = []

    class Full(io.BytesIO):
        def write(self, content: Any) -> int:
            if self.tell() > 10:  # after the head of the first entry
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    with pytest.raises(OSError, match="No space left"):
        exported += exporting.export(Full(), exporting.chosen())

    assert exported == []


def test_a_full_disk_ends_an_import_and_is_no_fault_of_the_pictures(tmp_path: Path):
    # Given a cache that has no room for the second of two pictures
    pictures, disk = tmp_path / "pictures", tmp_path / "disk"
    pictures.mkdir()
    disk.mkdir()
    (pictures / "a.gif").write_bytes(images.gif())
    (pictures / "b.gif").write_bytes(images.noisy_gif((400, 300), 4))
    before = config.storages

    with mounted(disk, "size=100k"):
        configure({**before, "cache": LocalStorage(disk)})
        with pytest.raises(OSError, match="No space left"):
            imported(pictures)

    # When there is room, and the import is started again
    configure(before)
    assert counts(imported(pictures)) == {"added": 2}


def test_a_folder_that_cannot_be_listed_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    # Given a folder of another user's
    scandir = os.scandir

    def refused(path: Any = ".") -> Any:
        if str(path).endswith("Yes"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)

    outcomes = imported(folder)

    # I expect to be told, and what is around it to be there
    assert counts(outcomes) == {"added": 2, "refused": 1}
    [refused] = [each for each in outcomes if each.what is What.REFUSED]
    assert refused.name == f"{folder}/Reactions/Yes/"
    assert "Permission denied" in refused.reason
