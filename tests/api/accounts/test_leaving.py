"""Taking all one's GIFs along, and leaving with or without them."""

import io
import re
import zipfile
from datetime import timedelta

import pytest

from gifster import jobs
from gifster.api.app import create_app
from gifster.app import accounts, library, tokens
from gifster.app.accounts import exports, leaving
from gifster.app.accounts.tables import Export
from gifster.app.models import Gif, User, now
from gifster.app.settings import Settings
from gifster.cli import doctor
from gifster.uploads import LocalStorage, StorageUnavailable
from gifster.uploads.config import configure, storage
from gifster.uploads.sweep import sweep
from tests.api.clients import Client
from tests.api.site import NOTHING, Site, is_done
from tests.api.stored_gifs import stored_gif
from tests.app.accounts.conftest import OLD

# Exports.


def run_export() -> None:
    job = jobs.Job.get(jobs.Job.actor == "make_export")
    exports.make(*job.arguments)
    job.delete_instance()


def test_a_user_takes_all_their_gifs_along(site: Site, ann: User):
    # Given GIFs of Ann's, a private one among them, one in her trash, and one of Bob's
    bob = accounts.sign_up("bob@example.org", OLD)
    mine = [stored_gif(ann, f"Needle {n}", ["haystack"]) for n in range(2)]
    Gif.update(visibility="private").where(Gif.id == mine[0].id).execute()
    thrown, other = stored_gif(ann, "Thrown", []), stored_gif(bob, "Other", [])
    Gif.update(trashed_at=now()).where(Gif.id == thrown.id).execute()
    browser = site.browser(ann)

    # When she asks for them
    asked = browser("POST", "/account/export", data=NOTHING)
    assert is_done(asked, "/account?done=export#export")
    assert "A worker packs your GIFs" in browser("GET", "/account").text
    assert jobs.Job.get(jobs.Job.actor == "make_export").group == "make_export"  # it blocks nobody
    twice = browser("POST", "/account/export", data=NOTHING)
    assert twice.status_code == 409
    run_export()

    # I expect a zip of her own GIFs, for her alone
    link = re.search('href="(/account/exports/[^"]*)"', browser("GET", "/account").text)[1]
    answer = browser("GET", link)
    assert answer.headers["content-disposition"].startswith('attachment; filename="gifster-')
    assert answer.headers["cache-control"] == "no-store"
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert {gif.id for gif in mine} == {name[:-4][-12:] for name in names if name.endswith("gif")}
    assert not any(gif.id in name for gif in (thrown, other) for name in names)
    part = browser("GET", link, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"PK\x03\x04")
    for client, status in ((site.browser(bob), 404), (site.stranger(), 401)):
        assert client("GET", link).status_code == status
    export = exports.of(ann)
    assert site.stranger()("GET", f"/media/{exports.key_of(export)}").status_code == 404

    # And it to be gone after a day
    Export.update(expires_at=now()).execute()
    assert browser("GET", link).status_code == 404
    accounts.forget_expired()
    assert Export.select().count() == 0
    assert not storage("cache").exists(exports.key_of(export))


def test_an_export_that_runs_twice_or_too_late_leaves_one_file_or_none(site: Site, ann: User):
    stored_gif(ann, "Needle", [])
    first = exports.ask(ann)
    exports.make(first.id)
    exports.make(first.id)
    assert storage("cache").exists(exports.key_of(first))

    # Another one takes the place of the first
    second = exports.ask(ann)
    assert not storage("cache").exists(exports.key_of(first))
    # And its user leaves while the worker packs
    Export.delete().execute()
    exports.make(second.id)
    assert not storage("cache").exists(exports.key_of(second))
    assert list(exports.FOLDER.glob("*")) == []


def test_an_export_that_nobody_wants_any_more_leaves_no_zip(
    site: Site, ann: User, monkeypatch: pytest.MonkeyPatch
):
    # Given a worker that has written the zip of a user who leaves, and cannot delete it
    stored_gif(ann, "Needle", [])
    export = exports.ask(ann)
    upload = LocalStorage.upload

    def leaves(self: LocalStorage, *of: object) -> None:
        upload(self, *of)
        Export.delete().execute()

    def is_away(self: LocalStorage, key: str) -> None:
        raise StorageUnavailable("the bucket does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "upload", leaves)
        patched.setattr(LocalStorage, "delete", is_away)
        with pytest.raises(StorageUnavailable):
            exports.make(export.id)
    assert storage("cache").exists(exports.key_of(export))

    # When the job is tried again
    exports.make(export.id)

    assert not storage("cache").exists(exports.key_of(export))


@pytest.mark.parametrize("how", ["leave", "ask"])
def test_a_zip_that_a_worker_ends_while_it_is_forgotten_goes_too(
    site: Site, ann: User, monkeypatch: pytest.MonkeyPatch, how: str
):
    # Given a worker that is so slow that its export is given up, and ends it after all
    stored_gif(ann, "Needle", [])
    export = exports.ask(ann)
    Export.update(created_at=now() - exports.GIVEN_UP).execute()
    delete = LocalStorage.delete

    def delete_and_end(self: LocalStorage, key: str) -> None:
        delete(self, key)
        if key == exports.key_of(export):
            monkeypatch.setattr(LocalStorage, "delete", delete)
            exports.make(export.id)

    # When it does so after the file was looked for, and before its row is gone
    monkeypatch.setattr(LocalStorage, "delete", delete_and_end)
    if how == "leave":
        leaving.leave(ann, with_gifs=True)
        leaving.remove(ann.id, with_gifs=True)
    else:
        exports.ask(ann)

    # I expect no zip of all GIFs to stay, which nobody would know of
    assert not storage("cache").exists(exports.key_of(export))


def test_nobody_waits_for_an_export_whose_job_is_dead(site: Site, ann: User):
    # Given an export that Ann waits for, whose job has used up its retries
    browser = site.browser(ann)
    browser("POST", "/account/export", data=NOTHING)
    dead = exports.of(ann)
    exports.give_up(dead.id)

    # I expect her to be able to ask once more
    assert "Pack my GIFs" in browser("GET", "/account").text
    assert is_done(browser("POST", "/account/export", data=NOTHING), "/account?done=export#export")

    # And a dead job that somebody retries to change nothing
    exports.make(dead.id)
    assert exports.of(ann).finished_at is None
    assert not storage("cache").exists(exports.key_of(dead))

    # And one that is done to stay
    exports.make(exports.of(ann).id)
    exports.give_up(exports.of(ann).id)
    assert exports.of(ann).expires_at > now()


def test_what_a_killed_worker_left_of_a_zip_goes(
    booted: Settings, ann: User, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    # Given a worker that was killed while it sent the zip to a bucket
    bucket = request.getfixturevalue("s3_server").storage(f"half{ann.id}".lower())
    configure({"cache": bucket, "store": storage("store")}, secret="s" * 32)
    client, mine = bucket._connected(), f"exports/{ann.id}.zip"
    for key in (mine, "of-others.zip"):
        client.create_multipart_upload(Bucket=bucket.bucket, Key=key)
    exports.FOLDER.mkdir(parents=True)
    part = exports.FOLDER / "a.part"
    part.touch()

    def is_away(_: object) -> None:
        raise StorageUnavailable("access denied")

    def unfinished() -> list[str]:
        answer = client.list_multipart_uploads(Bucket=bucket.bucket)
        return [upload["Key"] for upload in answer.get("Uploads", ())]

    # I expect nothing to happen while a worker may still be at it, or if nobody may look
    accounts.forget_expired()
    with monkeypatch.context() as patched:
        patched.setattr(type(bucket), "_unfinished", is_away)
        accounts.forget_expired()
    assert part.exists()
    assert sorted(unfinished()) == [mine, "of-others.zip"]

    # And both to go later, without an export that anybody asks for
    monkeypatch.setattr(exports, "GIVEN_UP", timedelta(seconds=-60))
    accounts.forget_expired()
    assert not part.exists()
    assert unfinished() == ["of-others.zip"]


def test_an_export_whose_worker_never_came_back_is_made_anew(booted: Settings, ann: User):
    first = exports.ask(ann)
    Export.update(created_at=now() - exports.GIVEN_UP).execute()
    # A zip that the worker wrote, before it could say so
    zipped = booted.cache.root / exports.key_of(first)
    zipped.parent.mkdir(parents=True)
    zipped.write_bytes(b"PK")

    assert exports.ask(ann).id != first.id
    assert not zipped.exists()
    Export.update(created_at=now() - exports.GIVEN_UP).execute()
    accounts.forget_expired()
    assert Export.select().count() == 0


def test_an_export_lies_in_a_bucket_if_the_cache_does(
    site: Site, ann: User, request: pytest.FixtureRequest
):
    # Given machines that share a bucket, and no disk
    bucket = request.getfixturevalue("s3_server").storage("exports")
    configure({"cache": bucket, "store": storage("store")}, secret="s" * 32)
    stored_gif(ann, "Needle", [])
    other = create_app(site.settings)

    export = exports.ask(ann)
    exports.make(export.id)

    # I expect another machine to serve it, also a part of it
    secret = tokens.start_session(ann, 1)
    elsewhere = Client(other, site.loop, {"Cookie": f"gifster_session={secret}"})
    answer = elsewhere("GET", f"/account/exports/{export.id}")
    assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None
    accounts.forget_expired()
    assert bucket.exists(exports.key_of(export))
    Export.update(expires_at=now()).execute()
    accounts.forget_expired()
    assert not bucket.exists(exports.key_of(export))


def test_the_sweep_leaves_an_export_alone(booted: Settings, ann: User):
    stored_gif(ann, "Needle", [])
    export = exports.ask(ann)
    exports.make(export.id)

    sweep(repair=True, min_age_s=0)

    assert storage("cache").exists(exports.key_of(export))


# Leaving.


def run_leave() -> None:
    job = jobs.Job.get(jobs.Job.actor == "remove_account")
    leaving.remove(*job.arguments)
    leaving.remove(*job.arguments)  # a second time does no harm
    job.delete_instance()


def library_of(ann: User) -> dict[str, Gif]:
    """Ann's GIFs: one for each that has another end."""
    gifs = {name: stored_gif(ann, name, ["tag"]) for name in ("public", "private", "trashed")}
    Gif.update(visibility="private").where(Gif.id == gifs["private"].id).execute()
    Gif.update(trashed_at=now()).where(Gif.id == gifs["trashed"].id).execute()
    return gifs


def test_leaving_with_all_gifs(site: Site, ann: User):
    library_of(ann)
    bob = accounts.sign_up("bob@example.org", OLD)
    other = stored_gif(bob, "other", [])
    browser, program = site.browser(ann), site.program(ann)
    assert "Your 3 GIFs" in browser("GET", "/account/leave").text

    form = {"gifs": "delete", "present": OLD}
    assert is_done(browser("POST", "/account/leave", data=form), "/login?done=left")

    # At once she is out, and her name and address are gone
    assert browser("GET", "/account").status_code == 401
    assert program("GET", "/api/tokens").status_code == 401
    gone = User.get_by_id(ann.id)
    assert (gone.name, gone.password_hash, "@" in gone.email) == ("", "", False)
    assert accounts.sign_up("ann@example.org", OLD).id != ann.id
    # And soon everything
    run_leave()
    assert User.get_or_none(User.id == ann.id) is None
    assert [gif.id for gif in Gif.select()] == [other.id]


def test_leaving_without_the_gifs(site: Site, ann: User):
    gifs = library_of(ann)

    form = {"gifs": "keep", "present": OLD}
    site.browser(ann)("POST", "/account/leave", data=form)
    run_leave()

    [kept] = Gif.select()
    assert (kept.id, kept.user_id) == (gifs["public"].id, None)
    found = site.stranger()("GET", "/api/gifs?q=public").json()["items"]
    assert [gif["id"] for gif in found] == [kept.id]
    assert site.stranger()("GET", f"/api/gifs?user={ann.id}").json()["items"] == []


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"gifs": "delete", "present": "wrong"}, 403),
        ({"gifs": "delete"}, 403),
        ({"gifs": "sell", "present": OLD}, 422),
        ({"present": OLD}, 422),
    ],
)
def test_leaving_takes_the_password_and_a_choice(
    site: Site, ann: User, form: dict[str, str], status: int
):
    answer = site.browser(ann)("POST", "/account/leave", data=form)

    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert User.get_by_id(ann.id).disabled_at is None


def test_the_only_admin_stays(site: Site, ann: User):
    User.update(is_admin=True).execute()
    form = {"gifs": "keep", "present": OLD}
    assert site.browser(ann)("POST", "/account/leave", data=form).status_code == 409

    User.create(email="root@example.org", name="Root", password_hash="", is_admin=True)
    assert site.browser(ann)("POST", "/account/leave", data=form).status_code == 303


def test_an_upload_that_comes_while_its_user_leaves_is_theirs_to_go(site: Site, ann: User):
    leaving.leave(ann, with_gifs=True)
    late = stored_gif(ann, "late", [])
    run_leave()
    assert Gif.get_or_none(Gif.id == late.id) is None

    # And once the account is gone it is refused
    with pytest.raises(library.Conflict, match="deleted"):
        stored_gif(ann, "later", [])


def test_a_bucket_that_is_away_holds_up_no_gifs_of_who_leaves(
    booted: Settings, ann: User, monkeypatch: pytest.MonkeyPatch
):
    # Given Ann, who has GIFs and an export, and leaves while the cache does not answer
    library_of(ann)
    export = exports.ask(ann)
    exports.make(export.id)
    leaving.leave(ann, with_gifs=True)

    def is_away(self: LocalStorage, key: str) -> None:
        raise StorageUnavailable("the bucket does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "delete", is_away)
        with pytest.raises(StorageUnavailable):
            leaving.remove(ann.id, True)

    # I expect her GIFs to be gone, and the rest as soon as the cache answers
    assert Gif.select().count() == 0
    leaving.remove(ann.id, True)
    assert User.get_or_none(User.id == ann.id) is None
    assert not storage("cache").exists(exports.key_of(export))


def test_an_account_is_removed_in_steps_whatever_becomes_of_a_job(booted: Settings, ann: User):
    # Given Ann, who leaves, and a job that takes two GIFs at a time
    gifs = library_of(ann)
    leaving.leave(ann, with_gifs=False)
    leaving.remove(ann.id, False, most=2)
    assert {gif.id for gif in Gif.select()} == {gifs["public"].id}
    of_it = jobs.Job.select().where(jobs.Job.actor == leaving.ACTOR)
    assert of_it.count() == 2  # the next one; the row of the first goes when that is done
    assert leaving.go_on() == 0

    # When both are given up after days, and somebody deletes them
    jobs.Job.update(failed_at=1.0).where(jobs.Job.actor == leaving.ACTOR).execute()
    assert leaving.go_on() == 1
    jobs.Job.delete().execute()
    assert doctor._accounts().startswith("1 account waits, which its user has left, to be removed")
    User.update(disabled_at=now() - timedelta(days=2)).execute()
    with pytest.raises(RuntimeError, match="says why remove_account fails"):
        doctor._accounts()
    assert leaving.go_on() == 1

    # I expect it to go on as she wished, and to end
    [job] = of_it.clone()
    assert job.arguments == [ann.id, False]
    run_leave()
    assert User.get_or_none(User.id == ann.id) is None
    assert Gif.get_by_id(gifs["public"].id).user_id is None
    assert leaving.go_on() == 0
    assert doctor._accounts() == "nobody waits for the end of their account"


def test_who_left_with_an_earlier_release_goes_as_they_wished(booted: Settings, ann: User):
    leaving.leave(ann, with_gifs=True)
    User.update(leaves_gifs=None).execute()
    jobs.Job.update(failed_at=1.0).execute()

    assert leaving.go_on() == 1

    assert jobs.Job.get(jobs.Job.failed_at.is_null()).arguments == [ann.id, True]


def test_a_job_that_names_somebody_who_did_not_leave_removes_nothing(booted: Settings, ann: User):
    stored_gif(ann, "Needle", [])

    leaving.remove(ann.id, True)
    leaving.remove("nobody", True)

    assert User.get_by_id(ann.id) == ann
    assert Gif.select().count() == 1


def test_what_a_moderator_takes_out_of_the_trash_meanwhile_stays(
    booted: Settings, ann: User, monkeypatch: pytest.MonkeyPatch
):
    # Given two GIFs in the trash of Ann, who leaves without her GIFs, and a moderator who takes one
    # back while the other one is deleted
    both = [stored_gif(ann, name, []) for name in "ab"]
    Gif.update(trashed_at=now()).execute()
    leaving.leave(ann, with_gifs=False)
    delete, deleted = library.delete, []

    def meanwhile(gif: Gif) -> None:
        if not deleted:
            Gif.update(trashed_at=None).where(Gif.id != gif.id).execute()
        deleted.append(gif.id)
        delete(gif)

    monkeypatch.setattr(library, "delete", meanwhile)
    run_leave()

    # I expect that one to stay, without an owner
    [kept] = Gif.select()
    assert (kept.user_id, {kept.id, *deleted}) == (None, {gif.id for gif in both})
    assert len(deleted) == 1
