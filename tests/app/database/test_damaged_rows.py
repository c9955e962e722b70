"""One row that cannot be read, as its JSON is damaged or a later release wrote it: whoever works on
many rows goes on with the others, and names it."""

import gc
import io
import json
import sqlite3
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import dramatiq
import pytest

from gifster import jobs
from gifster.app import (
    collections,
    favourites,
    file_checks,
    kept_uploads,
    library,
    lists,
    mine,
    near_duplicates,
    retention,
    search,
    tokens,
    trash,
)
from gifster.app.access import Reach, Viewer
from gifster.app.accounts import invitations, leaving, people
from gifster.app.damaged_text import Unreadable
from gifster.app.database import db
from gifster.app.models import FingerprintPart, Gif, KeptUpload, User, fingerprint_parts, now
from gifster.app.moderation import hiding, log
from gifster.app.one_by_one import for_each_gif
from gifster.app.search import upkeep
from gifster.app.search.tables import SearchEntry, SearchFill
from gifster.app.settings import Settings
from gifster.app.transfer import exporting
from gifster.app.transfer.importing import What, add_all
from gifster.app.transfer.sources import find
from gifster.jobs import admin, transaction
from gifster.uploads import actors, recreate_all
from gifster.uploads.columns.rows import loaded
from gifster.uploads.testing import run_jobs, without_processing
from tests import images
from tests.app.gifs import added, cached
from tests.app.people import person
from tests.combinations import on_sqlite


@pytest.fixture
def damaged(booted: Settings) -> tuple[Gif, list[Gif]]:
    """Ann's GIF whose picture is no JSON any more, and two others of hers, one before it."""
    for actor in (actors.store_asset, actors.remove_files, actors.recreate_versions):
        dramatiq.get_broker().declare_actor(actor)
    ann = person("Ann")
    with without_processing():
        gifs = sorted(
            (added(images.gif(durations=[40] * n), title=str(n), user=ann) for n in (2, 3, 4)),
            key=lambda gif: gif.id,
        )
        run_jobs()
    damage("image", gifs[1])
    return gifs[1], [gifs[0], gifs[2]]


def damage(column: str, gif: Gif, text: str = '{"key": "gi') -> None:
    mark = db.obj.param
    db.execute_sql(f'UPDATE gif SET "{column}" = {mark} WHERE id = {mark}', (text, gif.id))


def text_of(column: str, gif: Gif) -> str:
    found = db.execute_sql(f"SELECT {column} FROM gif WHERE id = {db.obj.param}", (gif.id,))
    return str(found.fetchone()[0])


def names_it(caplog: pytest.LogCaptureFixture, gif: Gif) -> bool:
    return f"unreadable: table=gif id={gif.id} reason=UnreadableColumn" in caplog.text


def walked(listed: Callable[..., tuple[list[Gif], str | None]]) -> list[str]:
    """The ids of what a list has, in the order of its pages of one GIF each."""
    shown: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        gifs, cursor = listed(limit=1, cursor=cursor)
        shown += [gif.id for gif in gifs]
    assert sorted(gif.id for gif in listed()[0]) == sorted(shown)
    return sorted(shown)


def test_lists_have_the_others_page_by_page(
    damaged: tuple[Gif, list[Gif]], caplog: pytest.LogCaptureFixture
):
    bad, others = damaged
    wanted = sorted(gif.id for gif in others)
    ann = User.get()
    for gif in (bad, *others):
        favourites.Favourite.create(user=ann, gif=gif)

    assert walked(lists.list_gifs) == wanted
    assert walked(partial(lists.list_gifs, user=ann.id)) == wanted
    assert walked(partial(mine.gifs_of, ann)) == wanted
    assert walked(partial(favourites.favourites_of, ann, Viewer(ann.id))) == wanted
    assert sorted(gif.id for gif in lists.get_gifs([bad.id, *wanted])) == wanted
    assert names_it(caplog, bad)
    # and those of moderators, and of what was thrown away
    Gif.update(hidden_from="public", trashed_at=now()).execute()
    assert walked(hiding.hidden) == wanted
    assert walked(partial(trash.trash_of, ann)) == wanted


def test_a_collection_has_the_others_page_by_page(
    damaged: tuple[Gif, list[Gif]], caplog: pytest.LogCaptureFixture
):
    bad, others = damaged
    ann = User.get()
    made = collections.create(ann, "Cats")
    for position, gif in enumerate((others[0], bad, others[1])):
        collections.CollectionGif.create(collection=made, gif=gif, position=position)

    shown = walked(partial(collections.gifs_in, made, Viewer(ann.id)))

    assert shown == sorted(gif.id for gif in others)
    assert "unreadable: table=collection_gif" in caplog.text


def test_waiting_pages_hear_of_the_others(
    damaged: tuple[Gif, list[Gif]], caplog: pytest.LogCaptureFixture
):
    bad, others = damaged
    found = lists.standings([bad.id, *(gif.id for gif in others)])
    assert {gif_id: one.state for gif_id, one in found.items()} == {
        gif.id: "ready" for gif in others
    }
    assert names_it(caplog, bad)


def test_a_gif_has_the_others_as_near_duplicates(damaged: tuple[Gif, list[Gif]]):
    bad, (one, other) = damaged
    for gif in (bad, one, other):
        FingerprintPart.create(gif=gif, part=fingerprint_parts("f0" * 8)[0])
    for gif in (one, other):
        damage("image", gif, json.dumps(json.loads(text_of("image", gif)) | {"dhash": "f0" * 8}))
    assert near_duplicates.near_duplicates_of(Gif.get_by_id(one.id)) == [other]


@on_sqlite
def test_lists_have_text_that_cannot_be_decoded(damaged: tuple[Gif, list[Gif]]):
    # Given SQLite's text that is no UTF-8: the name of a user, a tag, a title and the name of a
    # collection
    bad, (one, other) = damaged
    ann, bob = User.get(), person("Bob")
    for user in (bob, ann):
        collections.create(user, "Cats")
    dogs = collections.create(ann, "Dogs")
    db.execute_sql("UPDATE gif SET user_id = ? WHERE id = ?", (bob.id, one.id))
    library.edit_gif(other.id, ann, tags=["cat"])
    library.edit_gif(one.id, bob, tags=["dog"])
    no_text = "CAST(x'ff41' AS TEXT)"
    db.execute_sql(f"UPDATE user SET name = {no_text} WHERE id = ?", (bob.id,))
    db.execute_sql(f"UPDATE tag SET name = {no_text} WHERE name = 'dog'")
    db.execute_sql(f"UPDATE gif SET title = {no_text} WHERE id = ?", (bad.id,))
    db.execute_sql(f"UPDATE collection SET name = {no_text} WHERE id = ?", (dogs.id,))

    # I expect them in their lists, with what can be read of it
    one.user = bob
    assert lists.uploaders_of([one, other]) == {ann.id: "Ann", bob.id: "\ufffdA"}
    assert lists.tags_of([one, other]) == {one.id: ["\ufffdA"], other.id: ["cat"]}
    hashes = [str(gif.sha256) for gif in (bad, one, other)]
    found = near_duplicates.oldest_with(hashes)
    assert {gif.id for gif in found.values()} == {bad.id, one.id, other.id}
    assert {each.name for each in collections.collections_of(ann)} == {"Cats", "\ufffdA"}


@on_sqlite
def test_text_that_cannot_be_decoded_is_not_written_back(damaged: tuple[Gif, list[Gif]]):
    _, (one, other) = damaged
    db.execute_sql("UPDATE gif SET title = CAST(x'ff41' AS TEXT) WHERE id = ?", (one.id,))
    db.execute_sql("UPDATE gif SET image = CAST(x'7bff41' AS TEXT) WHERE id = ?", (other.id,))
    read = Gif.get_by_id(one.id)
    assert read.title == "\ufffdA"

    with pytest.raises(Unreadable):
        Gif.update(title=read.title).execute()
    with pytest.raises(Unreadable):
        Gif.select().where(Gif.title == read.title).exists()
    # and JSON is as damaged as ever: the sweep deletes what no row names
    with pytest.raises(ValueError, match="Expecting value"):
        Gif.get_by_id(other.id)


@on_sqlite
def test_work_on_many_gifs_ends_though_an_id_cannot_be_decoded(damaged: tuple[Gif, list[Gif]]):
    bad, (one, other) = damaged
    db.execute_sql("PRAGMA foreign_keys = off")
    db.execute_sql("UPDATE gif SET id = CAST(x'ff41' AS TEXT) WHERE id = ?", (one.id,))
    done = []

    def work(gif: Gif) -> None:
        done.append(gif.id)
        Gif.update(rating="r").where(Gif.id == gif.id).execute()

    number, unread = for_each_gif(Gif.rating == "g", work)

    assert (number, set(unread)) == (1, {bad.id, "\ufffdA"})
    assert done == [other.id]


def test_the_log_of_moderation_has_entries_whose_changes_are_damaged(
    damaged: tuple[Gif, list[Gif]], caplog: pytest.LogCaptureFixture
):
    _, (gif, _) = damaged
    root = person("Root", is_admin=True)
    hiding.moderate(gif.id, "hide", root, Reach.ALL, "rude")
    log.ModerationEntry.update(changes='{"hid').execute()

    assert [log.entry_json(entry)["changes"] for entry in log.entries()[0]] == [{}]
    assert "unreadable: table=moderation_entry" in caplog.text


@on_sqlite
def test_lists_of_tokens_invitations_and_hidden_gifs_have_all(
    booted: Settings, damaged: tuple[Gif, list[Gif]]
):
    _, gifs = damaged
    root = person("Root", is_admin=True)
    for gif in gifs:
        hiding.moderate(gif.id, "hide", root, Reach.ALL, "rude")
    kept, lost = (invitations.invite(root, booted.web)[0] for _ in range(2))
    for name in ("kept", "lost"):
        tokens.create_token(root, name)
    no_text = "CAST(x'ff41' AS TEXT)"
    db.execute_sql(f"UPDATE invitation SET email = {no_text} WHERE id = ?", (lost.id,))
    db.execute_sql(f"UPDATE token SET name = {no_text} WHERE name = 'lost'")
    db.execute_sql(
        f"UPDATE moderation_entry SET subject = {no_text} WHERE gif_id = ?", (gifs[0].id,)
    )

    assert {each.id: each.email for each in invitations.recent()} == {
        kept.id: "",
        lost.id: "\ufffdA",
    }
    assert {each.name for each in tokens.tokens_of(root)} == {"kept", "\ufffdA"}
    assert set(log.hidings([gif.id for gif in gifs])) == {gif.id for gif in gifs}


@on_sqlite
def test_searches_find_the_others_of_a_damaged_index(damaged: tuple[Gif, list[Gif]]):
    bad, others = damaged
    ann = User.get()
    for tag, gif in (("bird", others[0]), ("cat", others[0]), ("cat", others[1])):
        tags = ["bird", "cat"] if gif == others[0] else [tag]
        library.edit_gif(gif.id, ann, tags=tags)
    no_text = "CAST(x'ff41' AS TEXT)"
    db.execute_sql(f"UPDATE search_tag SET name = {no_text} WHERE name = 'bird'")
    db.execute_sql(f"UPDATE search_entry SET words = {no_text} WHERE gif_id = ?", (bad.id,))

    assert ("cat", 2) in search.frequent_tags(10)
    assert "cat" in search.complete("ca")
    wanted = sorted(gif.id for gif in others)
    assert sorted(gif.id for gif in lists.list_gifs(user=ann.id)[0]) == wanted
    assert sorted(gif.id for gif in lists.list_gifs(tag="cat")[0]) == wanted


def test_an_export_has_the_others(damaged: tuple[Gif, list[Gif]]):
    bad, others = damaged
    target = io.BytesIO()

    faults = {gif.id: fault for gif, fault in exporting.export(target, exporting.chosen())}

    assert faults.pop(bad.id).startswith("Its row cannot be read: a row has in gif.image the text ")
    assert faults == {gif.id: "" for gif in others}
    assert len(zipfile.ZipFile(target).namelist()) == 4


@pytest.mark.parametrize(("name", "value"), [("key", "gifs/a?b/c"), ("storage", "stope")])
def test_a_row_that_names_a_file_wrongly_stops_no_export_and_no_check(
    damaged: tuple[Gif, list[Gif]], name: str, value: str
):
    # Given a flipped bit in what one GIF's row says of its original, and another whose file is gone
    bad, others = damaged
    gone, sound = (Gif.get_by_id(gif.id) for gif in others)
    stored = sound.image.stored.dump()
    damage("image", bad, json.dumps({**stored, "versions": {}, name: value}))
    Path("var/store", gone.image.stored.key).unlink()

    # I expect an export to have the sound one, and to tell of the others
    told = {gif.id: fault for gif, fault in exporting.export(io.BytesIO(), exporting.chosen())}
    assert told == {sound.id: "", gone.id: "Its file is missing.", bad.id: told[bad.id]}
    assert told[bad.id].startswith("Its file cannot be read: ")

    # And the checks of all files to do the same, also those of the next nights
    found = {gif.id: [one.reason for one in faults] for gif, faults in file_checks.check_all()}
    assert found[sound.id] == []
    assert found[gone.id] == ["it is not there"]
    assert found[bad.id][0].startswith("no file is named so: ")
    assert [file_checks.check_share(1) for _ in range(3)] == [1, 1, 1]


def test_checks_of_files_and_new_versions_are_for_the_others(
    damaged: tuple[Gif, list[Gif]], caplog: pytest.LogCaptureFixture
):
    bad, others = damaged

    assert [gif.id for gif, _ in file_checks.check_all()] == [gif.id for gif in others]
    assert names_it(caplog, bad)
    assert file_checks.check_share(1) == 1
    assert file_checks.check_share(1) == 1
    assert file_checks.FileCheck.get().position == f'"{others[1].id}"'
    caplog.clear()
    enqueued = list(recreate_all(Gif.image))
    assert [job.arguments[1] for job in enqueued if job is not None] == [gif.id for gif in others]
    assert names_it(caplog, bad)


@on_sqlite
def test_walks_go_on_behind_an_id_that_cannot_be_decoded(
    damaged: tuple[Gif, list[Gif]], caplog: pytest.LogCaptureFixture
):
    """The last one of a batch: the next batch begins behind it."""
    _, others = damaged
    before = others[-1].id
    db.execute_sql("PRAGMA foreign_keys = off")
    spoil = 'UPDATE "{0}" SET "{1}" = CAST("{1}" || x\'ff\' AS TEXT) WHERE "{1}" = ?'
    db.execute_sql(spoil.format("gif", "id"), (before,))
    last = person("zoe")
    db.execute_sql(spoil.format("user", "email"), (last.email,))

    assert [gif.id for gif, _ in file_checks.check_all()] == [others[0].id]
    assert f"id={before}\ufffd" in caplog.text
    assert file_checks.check_share(1) == 1
    enqueued = [job.arguments[1] for job in recreate_all(Gif.image) if job is not None]
    assert enqueued == [others[0].id]
    assert last.id in {one.user.id for one in people.everybody()}


def test_the_trash_and_failed_uploads_are_emptied(
    damaged: tuple[Gif, list[Gif]], caplog: pytest.LogCaptureFixture
):
    bad, _ = damaged
    long_ago = now().replace(year=2001)
    failed = added(images.gif(), title="f")
    Gif.update(image_state="failed", created_at=long_ago).where(
        Gif.id << [failed.id, bad.id]
    ).execute()
    damage("image_tmp", failed)
    Gif.update(trashed_at=long_ago).where(Gif.id != failed.id).execute()

    assert trash.empty_old(30) == 2
    assert retention.forget_failed(30) == 0
    assert names_it(caplog, bad)
    assert names_it(caplog, failed)
    assert {gif_id for (gif_id,) in Gif.select(Gif.id).tuples()} == {bad.id, failed.id}


def test_files_of_forms_expire_but_for_one_that_it_names(damaged: tuple[Gif, list[Gif]]):
    # Given a row that waits for a file, and is damaged behind its key; and two files of forms, of
    # which one is that file
    waiting, other = added(images.gif(), title="w"), cached(images.gif())
    damage("image_tmp", waiting, text_of("image_tmp", waiting)[:-9])
    for file in (waiting.image.cached, other):
        KeptUpload.create(key=file.key, storage=file.storage, bytes=1)
    KeptUpload.update(kept_at=now().replace(year=2001)).execute()

    assert kept_uploads.forget_expired() == 2
    assert waiting.image.cached.exists()
    assert not other.exists()


def test_an_account_is_removed_but_for_it(damaged: tuple[Gif, list[Gif]]):
    bad, _ = damaged
    ann = User.get()
    leaving.leave(ann, with_gifs=True)

    with pytest.raises(leaving.UnreadableGifs, match=bad.id):
        leaving.remove(ann.id, with_gifs=True)
    assert [gif_id for (gif_id,) in Gif.select(Gif.id).tuples()] == [bad.id]

    # When somebody has deleted it, I expect a retry to remove the account
    db.execute_sql(f"DELETE FROM gif WHERE id = {db.obj.param}", (bad.id,))
    leaving.remove(ann.id, with_gifs=True)
    assert User.select().count() == 0


def test_the_index_is_filled_with_the_others(damaged: tuple[Gif, list[Gif]]):
    _, others = damaged
    SearchEntry.delete().execute()
    assert upkeep.add_left_out() == 2
    SearchEntry.delete().execute()
    SearchFill.create(id=1, created_at=Gif.created_at.db_value(now().replace(year=2001)), gif_id="")
    upkeep.fill()
    assert {e.gif_id for e in SearchEntry.select()} == {gif.id for gif in others}
    assert upkeep.is_filled()


def test_an_import_of_the_same_file_finds_it(damaged: tuple[Gif, list[Gif]], tmp_path: Path):
    bad, _ = damaged
    (tmp_path / "a.gif").write_bytes(images.gif(durations=[40] * int(bad.title)))
    (tmp_path / "b.gif").write_bytes(images.gif(durations=[40] * 9))

    found = [(each.what, each.gif_id) for each in add_all(find(tmp_path))]

    assert found[0] == (What.KNOWN, bad.id)
    assert found[1][0] == What.ADDED


@on_sqlite
def test_an_error_amid_rows_leaves_the_connection_no_old_snapshot(
    booted: Settings, damaged: tuple[Gif, list[Gif]]
):
    bad, _ = damaged

    def request() -> str:
        with db.connection_context():
            gifs = {gif.id: gif.title for gif in Gif.select().order_by(Gif.id)}
            Gif.update(rating="r").execute()
        return gifs[bad.id]

    with ThreadPoolExecutor(1) as thread:
        # Given a request that meets a damaged row, and somebody who keeps the error
        error = thread.submit(request).exception()
        assert isinstance(error, ValueError)

        # When another process mends the row
        assert booted.database.file is not None
        with closing(sqlite3.connect(booted.database.file)) as other, other:
            other.execute("UPDATE gif SET title = 'new', image = NULL WHERE id = ?", (bad.id,))

        # I expect the next request on that connection to see it, and to be able to write
        assert thread.submit(request).result() == "new"
    assert error.__traceback__


@on_sqlite
def test_a_job_that_left_a_row_alone_can_write(booted: Settings, damaged: tuple[Gif, list[Gif]]):
    assert booted.database.file is not None
    query = Gif.select()
    gc.disable()  # it would end the query sooner or later
    try:
        found = loaded(query)
        with closing(sqlite3.connect(booted.database.file)) as other, other:
            other.execute("UPDATE gif SET title = 'new'")
        with transaction(db):
            Gif.update(rating="r").execute()
    finally:
        gc.enable()
    assert len(found) == 3
    assert {title for (title,) in Gif.select(Gif.title).tuples()} == {"new"}


@on_sqlite
@pytest.mark.parametrize("column", ["id", "actor", "queue", "arguments", "group_key", "error"])
def test_jobs_are_sent_though_one_has_text_that_cannot_be_decoded(booted: Settings, column: str):
    with transaction(db):
        for _ in range(3):
            jobs.enqueue("send_welcome_email", "nobody")
    row = "rowid = (SELECT min(rowid) FROM outbox)"
    db.execute_sql(f"UPDATE outbox SET {column} = CAST(x'ff41' AS TEXT) WHERE {row}")

    jobs.relay()

    assert jobs.Job.select().where(jobs.Job.sendings > 0).count() == (2 if column == "id" else 3)


@on_sqlite
def test_a_list_of_jobs_goes_on_after_one_whose_id_cannot_be_decoded(booted: Settings):
    with transaction(db):
        for _ in range(5):
            jobs.enqueue("send_welcome_email", "nobody")
    row = "rowid = (SELECT min(rowid) FROM outbox)"
    db.execute_sql(f"UPDATE outbox SET id = CAST(x'ff41' AS TEXT) WHERE {row}")

    first, cursor = admin.page_of("waiting", "", 3)
    second, end = admin.page_of("waiting", cursor or "", 3)

    assert (len(first), len(second), end) == (3, 1, None)
