"""Stored files that are there and are not what was stored: cut, overwritten, full of zeros. The
sweep sees only whether a file is there; the check of contents reads it, on folders and on S3."""

import errno
from collections.abc import Callable
from typing import Any

import dramatiq
import pytest

from gifster.app import file_checks, library
from gifster.app.models import DamagedFile, FileCheck, Gif
from gifster.app.settings import Settings
from gifster.uploads.config import storage
from gifster.uploads.sweep.contents import damaged_files, records, recreate_damaged
from gifster.uploads.testing import keep, run_jobs
from tests import images
from tests.app.gifs import added
from tests.machine import eventually
from tests.stack import Stack
from tests.uploads.framework import Application, Person

GIF = images.gif((80, 60))


def person(application: Application) -> Person:
    made = Person(name="Ann")
    made.avatar = GIF
    made.save()
    application.work()
    return Person.get_by_id(made.id)


def content(application: Application, key: str) -> bytes:
    with application.store.open(key) as file:
        return file.read()


def test_intact_files_are_no_finding(application: Application):
    assert damaged_files(Person.avatar, person(application)) == []


@pytest.mark.parametrize(
    ("ruin", "reason"),
    [
        (lambda content: content[:-9], "bytes are there"),
        (lambda content: bytes(len(content)), "its content has changed"),
        (lambda content: content[:-9] + b"x" + content[-8:], "its content has changed"),
        (lambda content: b"", "0 bytes are there"),
    ],
)
def test_a_damaged_original_or_version_is_found_and_stays(
    application: Application, ruin: Callable[[bytes], bytes], reason: str
):
    ann = person(application)
    for version, file in (
        (None, ann.avatar.stored),
        ("thumb", ann.avatar.stored.versions["thumb"]),
    ):
        whole = content(application, file.key)
        keep(application.store, file.key, ruin(whole))

        [damage] = damaged_files(Person.avatar, ann)

        assert (damage.key, damage.version, damage.missing) == (file.key, version, False)
        assert reason in damage.reason
        assert content(application, file.key) == ruin(whole)
        keep(application.store, file.key, whole)


def test_a_file_that_the_disk_cannot_read_is_damaged_and_the_others_are_read(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given an original on a bad sector, and a version that is damaged
    ann = person(application)
    original, thumb = ann.avatar.stored.key, ann.avatar.stored.versions["thumb"].key
    keep(application.store, thumb, b"no image")
    opened = application.store.open

    def bad_sector(key: str) -> Any:
        if key == original:
            raise OSError(errno.EIO, "Input/output error")
        return opened(key)

    monkeypatch.setattr(application.store, "open", bad_sector)

    found = damaged_files(Person.avatar, ann)

    assert [(damage.key, damage.missing) for damage in found] == [(original, False), (thumb, False)]
    assert found[0].reason == "it cannot be read: Input/output error"


def test_a_version_of_an_earlier_release_is_known_by_its_size_and_its_type(
    application: Application,
):
    # Given a version without a SHA-256 in its row
    ann = person(application)
    file = ann.avatar.stored.versions["thumb"]
    object.__setattr__(file, "sha256", "")
    whole = content(application, file.key)
    assert damaged_files(Person.avatar, ann) == []

    keep(application.store, file.key, bytes(len(whole)))

    [damage] = damaged_files(Person.avatar, ann)
    assert damage.reason == "it begins like application/octet-stream, and image/gif was stored"


def test_damaged_and_missing_versions_are_made_again_from_a_good_original(
    application: Application,
):
    ann = person(application)
    thumb = ann.avatar.stored.versions["thumb"]
    for gone in (False, True):
        keep(application.store, thumb.key, b"no image")
        if gone:
            application.store.delete(thumb.key)
        found = damaged_files(Person.avatar, ann)
        assert [damage.version for damage in found] == ["thumb"]

        assert len(recreate_damaged(Person.avatar, ann, found)) == 1
        application.work()

        ann = Person.get_by_id(ann.id)
        thumb = ann.avatar.stored.versions["thumb"]
        assert damaged_files(Person.avatar, ann) == []
        assert len(application.stored) == 2

    # But not from a damaged one
    keep(application.store, ann.avatar.stored.key, b"no image")
    keep(application.store, thumb.key, b"no image")
    found = damaged_files(Person.avatar, ann)
    assert len(found) == 2
    assert recreate_damaged(Person.avatar, ann, found) == []


def test_a_file_replaced_during_the_check_is_no_finding(application: Application):
    ann = person(application)
    keep(application.store, ann.avatar.stored.key, b"no image")
    again = Person.get_by_id(ann.id)
    again.avatar = images.gif((40, 30))
    again.save()
    application.work()

    assert damaged_files(Person.avatar, ann) == []


def test_records_come_in_the_order_of_their_keys(application: Application):
    people = [person(application).id for _ in range(3)]

    assert [one.id for one in records(Person.avatar)] == people
    assert [one.id for one in records(Person.avatar, people[0], at_most=1)] == people[1:2]


def gifs(count: int) -> list[str]:
    from gifster.uploads import actors

    for actor in (actors.store_asset, actors.remove_files, actors.recreate_versions):
        dramatiq.get_broker().declare_actor(actor)
    made = []
    for _ in range(count):
        made.append(added().id)
    run_jobs()
    return sorted(made)


def test_shares_cover_all_gifs_and_findings_stay_until_they_are_mended(
    booted: Settings, monkeypatch: pytest.MonkeyPatch
):
    # Given four GIFs, one of them damaged, and sweeps that check two GIFs each
    monkeypatch.setattr(file_checks, "SWEEPS_A_DAY", 2)
    ids = gifs(4)
    stored = Gif.get_by_id(ids[1]).image.stored
    with storage("store").open(stored.key) as file:
        whole = file.read()
    keep(storage("store"), stored.key, whole[:-1])

    # When the first share is checked, I expect the damage to be noted; and still after the second
    assert file_checks.check_share(1) == 2
    assert FileCheck.get().position == f'"{ids[1]}"'
    for _ in range(2):
        assert [row.key for row in file_checks.damaged()] == [stored.key]
        found_at = file_checks.damaged()[0].found_at
        file_checks.check_share(1)
    assert file_checks.damaged()[0].found_at == found_at

    # When it is mended, I expect the next share to say so, whichever it is
    keep(storage("store"), stored.key, whole)
    file_checks.check_share(1)
    assert file_checks.damaged() == []

    # And the finding of a deleted GIF to go with it
    keep(storage("store"), stored.key, whole[:-1])
    list(file_checks.check_all())
    assert DamagedFile.select().count() == 1
    library.delete_gif(ids[1], None)
    assert DamagedFile.select().count() == 0


@pytest.mark.long
def test_fsck_reads_all_files_and_makes_versions_again(new_stack: Callable[..., Stack]):
    # Given a GIF whose thumbnail is zeros, and one whose original is cut
    stack = new_stack()
    stack.start_web()
    worker = stack.start_worker()
    first, second = (stack.upload(images.gif((300, 200))).json()["id"] for _ in range(2))
    zeroed, cut = (stack.finished(gif_id) for gif_id in (first, second))

    def path(url: str):
        return stack.var / "store" / url.partition("/media/")[2]

    thumb = path(zeroed["versions"]["thumb"]["url"])
    original = path(cut["image"]["url"])
    thumb.write_bytes(bytes(thumb.stat().st_size))
    original.write_bytes(original.read_bytes()[:-100])
    assert stack.run("gifster", "fsck").returncode == 0

    # I expect both to be found, and the thumbnail to be made again
    found = stack.run("gifster", "fsck", "--deep")
    assert found.returncode == 1
    assert "the version thumb: its content has changed: it has another SHA-256" in found.stdout
    assert "the original: " in found.stdout
    assert "2 damaged" in found.stdout
    mended = stack.run("gifster", "fsck", "--deep", "--repair")
    assert "another SHA-256; a worker makes it again" in mended.stdout
    eventually(lambda: stack.gif(first)["versions"]["thumb"] != zeroed["versions"]["thumb"])
    found = stack.run("gifster", "fsck", "--deep")
    assert "1 damaged" in found.stdout
    assert original.exists()
    assert worker.poll() is None
