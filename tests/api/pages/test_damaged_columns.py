"""One text of the database that is no UTF-8, or none of the values that a column has, whatever its
table: pages, lists and metrics show all the others."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from gifster import jobs
from gifster.app import collections, favourites, search, tokens
from gifster.app.access import Reach, Viewer
from gifster.app.accounts.tables import Export, Invitation
from gifster.app.database import db
from gifster.app.models import Finding, Gif, User, now
from gifster.app.moderation import hiding, reports
from gifster.app.search.tables import SearchQuery
from gifster.app.sign_in.tables import Identity, Passkey
from gifster.jobs.recurring import RecurringJob
from gifster.jobs.stats import ActorStats
from gifster.jobs.worker_rows import PausedQueue, Worker
from gifster.uploads.resumable.table import ResumableUpload
from tests.api.clients import Client
from tests.api.site import NOTHING, Site
from tests.api.stored_gifs import stored_gif
from tests.app.people import person
from tests.combinations import on_sqlite
from tests.machine import ALL_EXAMPLES

pytestmark = on_sqlite

NO_UTF8, NO_VALUE = "CAST(x'ff41' AS TEXT)", "'odd'"
#: Those that may have values of ours alone; the others have any text.
CHOSEN = {
    "image_state", "rating", "visibility", "hidden_from", "scope", "kind", "reason", "verdict",
    "action", "changes", "stage", "arguments", "rule", "facts", "words",
}  # fmt: skip
LISTS = {
    "stranger": ("/", "/?q=needle", "/tags", "/api/gifs", "/api/tags", "/feed.atom", "/metrics"),
    "ann": ("/mine", "/favourites", "/collections", "/trash", "/account", "/account/sign-in",
            "/api/tokens", "/api/uploads", "/api/collections"),
    "root": ("/moderation", "/moderation/hidden", "/moderation/log", "/api/reports", "/invitations",
             "/people", "/jobs", "/jobs?state=dead", "/jobs?state=running", "/api/jobs?state=dead",
             "/api/queues", "/api/workers", "/api/stats"),
}  # fmt: skip


def rows_of_all_tables() -> dict[str, User]:
    """Writes two rows into most tables, of which a test damages the first."""
    people = {
        name: person(name, confirmed_at=now(), is_admin=name == "root")
        for name in ("eve", "bob", "ann", "root")
    }
    gifs = [stored_gif(people[name], "Needle", [name]) for name in ("eve", "bob", "ann")]
    for user in people.values():
        tokens.create_token(user, "t")
        tokens.start_session(user, 1)
        Identity.create(issuer="https://i.example", subject=user.id, user=user)
        Passkey.create(user=user, credential=user.id, public_key=b"x", name="key")
        Export.create(user=user, finished_at=now(), expires_at=now() + timedelta(days=1))
        made = collections.create(user, "Cats")
        for position, gif in enumerate(gifs):
            collections.CollectionGif.create(collection=made, gif=gif, position=position)
            favourites.Favourite.create(user=user, gif=gif)
    for gif in gifs[:2]:
        reports.Report.create(gif=gif, user=people["bob"], reason="spam", text="bad")
        hidden, thrown = (stored_gif(people["ann"], "Other", ["x"]) for _ in range(2))
        hiding.moderate(hidden.id, "hide", people["root"], Reach.ALL, "rude")
        Gif.update(trashed_at=now()).where(Gif.id == thrown.id).execute()
        Invitation.create(
            made_by=people["root"], email="x@example.org", expires_at=now() + timedelta(days=1)
        )
    at = jobs.now()
    for n in (1, 2):
        Finding.create(kind=f"missing{n}", count=1)
        SearchQuery.create(words=f"needle {n}", heat=5.0)
        PausedQueue.create(queue=f"q{n}")
        Worker.create(id=f"w{n}", host="h", pid=n, threads=1, queues="q", started_at=at, seen_at=at)
        ActorStats.create(span_s=60, begin=60 * n, queue="q", actor="a", done=1, failed=0, ms=3)
        RecurringJob.create(name=f"r{n}", rule="every 5", next_at=at, last_at=at)
        job = {"actor": "a", "queue": "q", "arguments": [1], "send_at": at}
        jobs.Job.create(**job, error="e", traceback="t", failed_at=at)
        jobs.Job.create(**job, leased_by="w1", thread="1", started_at=at)
        ResumableUpload.create(
            id=f"{n}" * 24, rules="image", owner=f"user {people['ann'].id}", storage="cache",
            length=5, received=0, parts=[], metadata={}, stage="open", lives_s=9,
            expires_at=at + 500,
        )  # fmt: skip
    return people


def damages() -> Iterator[tuple[str, str, str]]:
    """Each table and column of texts, with what takes the place of one."""
    tables = "SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE TABLE \"%'"
    for (table,) in db.execute_sql(tables).fetchall():
        for _, column, kind, *_ in db.execute_sql(f'PRAGMA table_info("{table}")').fetchall():
            if "CHAR" in kind or kind == "TEXT":
                yield table, column, NO_UTF8
                if column in CHOSEN:
                    yield table, column, NO_VALUE


def test_lists_go_on(site: Site):
    people = rows_of_all_tables()
    clients: dict[str, Client] = {
        "stranger": site.stranger(),
        "ann": site.browser(people["ann"]),
        "root": site.program(people["root"]),
    }
    asked = [(clients[name], path) for name, paths in LISTS.items() for path in paths]
    assert {path: client("GET", path).status_code for client, path in asked} == dict.fromkeys(
        (path for _, path in asked), 200
    )
    db.execute_sql("PRAGMA foreign_keys = off")
    tried = list(damages())
    assert len(tried) > 100
    failed = []
    for number, (table, column, value) in enumerate(tried):
        filled = f'FROM "{table}" WHERE "{column}" IS NOT NULL'
        rows = f'SELECT rowid, quote("{column}") {filled} ORDER BY rowid LIMIT 1'
        for rowid, before in db.execute_sql(rows).fetchall():
            set_to = f'UPDATE "{table}" SET "{column}" = {{}} WHERE rowid = ?'
            db.execute_sql(set_to.format(value), (rowid,))
            every = 1 if ALL_EXAMPLES else 12
            failed += [
                (table, column, value, path, status)
                for client, path in asked[number % every :: every]
                if (status := client("GET", path).status_code) != 200
            ]
            db.execute_sql(set_to.format(before), (rowid,))
    assert failed == []


def test_a_damaged_fact_of_a_picture_keeps_nobody_from_the_others(site: Site):
    # Given a GIF with a flipped bit in what shows a blurred picture, and one in what finds others
    ann = person("ann")
    gif, other = (stored_gif(ann, "Needle", ["cat"]) for _ in range(2))
    stored = gif.image.stored.dump()
    damaged = stored | {"thumbhash": "1QcSHQRnh493V4dIh4eXh1h4kJU", "dhash": "0001000x00030004"}
    write_image(gif, damaged)
    for each in (gif, other):
        search.put(Gif.get_by_id(each.id), ["cat"])

    # I expect lists, searches, and its own page, to show it as one without these facts
    ask = site.stranger()
    for path in ("/", "/mine", "/v2/search?q=needle", "/v1/gifs/trending", "/feed.atom",
                 f"/gifs/{gif.id}", f"/api/gifs/{gif.id}", f"/gifs/{other.id}"):  # fmt: skip
        answer = (site.browser(ann) if path == "/mine" else ask)("GET", path)
        assert answer.status_code == 200, path
        assert gif.id in answer.text, path
    assert ask("GET", f"/api/gifs/{gif.id}").json()["similar"] == []


@pytest.mark.parametrize("is_version", [True, False])
@pytest.mark.parametrize(("name", "value"), [("key", "gifs/a?b/c"), ("storage", "stope")])
def test_a_damaged_name_of_a_file_keeps_nobody_from_the_other_gifs(
    site: Site, caplog: pytest.LogCaptureFixture, name: str, value: str, is_version: bool
):
    # Given a GIF whose row does not tell any more where a file of it is
    ann = person("ann")
    gif, other = (stored_gif(ann, title, ["cat"]) for title in ("Damaged", "Needle"))
    damaged = gif.image.stored.dump()
    (damaged["versions"]["thumb"] if is_version else damaged)[name] = value
    write_image(gif, damaged)
    for each in (gif, other):
        search.put(Gif.get_by_id(each.id), ["cat"])
    collections.add(collections.create(ann, "Cats").id, gif.id, Viewer(ann.id))

    # I expect lists to have the others, and the log to tell of it
    stranger, browser = site.stranger(), site.browser(ann)
    for path in ("/", "/api/gifs", "/mine", "/api/mine", f"/gifs/{other.id}", "/feed.atom"):
        answer = (browser if path.endswith("mine") else stranger)("GET", path)
        assert (answer.status_code, other.id in answer.text) == (200, True), path
    assert [one["id"] for one in stranger("GET", "/api/gifs").json()["items"]] == [other.id]
    assert f"table=gif id={gif.id}" in caplog.text
    # And what is about it alone to say so
    for path in ("/api/gifs/{}", "/gifs/{}", "/embed/{}"):
        assert stranger("GET", path.format(gif.id)).status_code == 503, path

    # It can still be thrown away
    assert browser("POST", f"/gifs/{gif.id}/trash", data=NOTHING).status_code == 303
    assert Gif.get_by_id(gif.id).trashed_at
    assert browser("GET", "/trash").status_code == 200


def write_image(gif: Gif, image: dict[str, Any]) -> None:
    sql = f"UPDATE gif SET image = {db.obj.param} WHERE id = {db.obj.param}"
    db.execute_sql(sql, [json.dumps(image), gif.id])
