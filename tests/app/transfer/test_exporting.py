"""The zip that an export writes, and what it says of files that are missing."""

import errno
import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from gifster.app import library, lists
from gifster.app.database import db
from gifster.app.edits import Crop, Edit
from gifster.app.models import Gif
from gifster.app.settings import Settings
from gifster.app.transfer import exporting
from gifster.uploads import LocalStorage, StorageUnavailable
from gifster.uploads.config import config, configure, storage
from gifster.uploads.testing import run_jobs
from tests import images
from tests.app.gifs import cached
from tests.app.people import person
from tests.app.transfer.conftest import counts, imported
from tests.combinations import on_sqlite


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


@on_sqlite
def test_an_export_goes_on_behind_a_damaged_id(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """A walk goes on behind the last id of each batch."""
    monkeypatch.setattr(exporting, "BATCH", 1)
    imported(folder)
    run_jobs()
    first, second, _ = [gif.id for gif in Gif.select().order_by(Gif.id)]
    [stored] = Gif.image.stored_files(Gif.get_by_id(second))
    storage(stored.storage).delete(stored.key)
    db.execute_sql("PRAGMA foreign_keys = off")
    for gif_id, odd in ((first, b"\xff"), (second, b"/\xfe")):
        damaged = gif_id.encode() + odd
        db.execute_sql("UPDATE gif SET id = CAST(? AS TEXT) WHERE id = ?", (damaged, gif_id))

    target = io.BytesIO()
    faults = [fault for _, fault in exporting.export(target, exporting.chosen())]

    assert faults == ["", "Its file is missing.", ""]
    with zipfile.ZipFile(target) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".json")]) == 2
        assert not any("/" in name for name in archive.namelist())


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
