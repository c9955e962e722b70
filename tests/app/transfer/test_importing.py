"""Many GIFs in: once each, all or none of a batch, and again after an interruption."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gifster.app.database import db
from gifster.app.models import Gif, Tag
from gifster.app.settings import Settings
from gifster.app.transfer import importing
from gifster.app.transfer.importing import Outcome, What, add_all
from gifster.app.transfer.sources import find
from gifster.jobs.testing import enqueued
from gifster.uploads import LocalStorage
from gifster.uploads.config import config, configure
from gifster.uploads.sweep import sweep
from tests import images
from tests.app.people import person
from tests.app.small_disks import mounted
from tests.app.transfer.conftest import counts, imported, library_as_told
from tests.combinations import on_postgresql
from tests.imaging.png import chunk, with_chunks
from tests.machine import eventually


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


def test_two_imports_at_once_add_each_file_once(folder: Path, monkeypatch: pytest.MonkeyPatch):
    # Given an import that another one of the same folder overtakes, just before it writes
    add_together = importing._add_together
    others: list[Outcome] = []

    def overtaken(*arguments: Any) -> None:
        monkeypatch.setattr(importing, "_add_together", add_together)
        others.extend(imported(folder))
        add_together(*arguments)

    monkeypatch.setattr(importing, "_add_together", overtaken)
    ours = imported(folder)

    assert (counts(others), counts(ours)) == ({"added": 3}, {"known": 3})
    assert Gif.select().count() == 3
    assert not sweep(repair=False, min_age_s=0).abandoned


def test_two_imports_that_write_at_once_add_each_file_once(folder: Path, booted: Settings):
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(in_connection, imported, folder) for _ in range(2)]
        outcomes = [outcome for each in both for outcome in each.result()]

    assert counts(outcomes) == {"added": 3, "known": 3}
    assert Gif.select().count() == 3


def in_connection(work: Callable[..., Any], *arguments: Any) -> Any:
    with db.connection_context():
        return work(*arguments)


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
            wants.wait(60)
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
        has_tag.wait(60)

        # When the import wants "yes"
        outcomes = imported(tmp_path)

        # I expect both to end, and the server to undo nothing
        uploaded.result(60)
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


def test_what_failed_before_is_not_tried_again(tmp_path: Path):
    picture = tmp_path / "a.gif"
    picture.write_bytes(images.gif())
    imported(picture)
    Gif.update(image_state="failed").execute()

    [outcome] = imported(picture)

    assert outcome.what is What.REFUSED
    assert f"GIF {Gif.get().id}; delete it to try again" in outcome.reason
    assert Gif.select().count() == 1


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
