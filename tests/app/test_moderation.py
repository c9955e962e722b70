"""Moderators: what they hide and remove, what they may not see, the log of it, and reports."""

from datetime import timedelta
from typing import Any

import peewee
import pytest

from gifster.app import (
    accounts,
    library,
    lists,
    moderation,
    moderation_log,
    reports,
    search,
    tokens,
    trash,
)
from gifster.app.access import STRANGER, Reach, Viewer, may_see_gif
from gifster.app.accounts import leaving
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied, Invalid, NotFound
from gifster.app.models import Gif, User, now
from gifster.app.moderation_log import ModerationEntry
from gifster.app.reports import MOST_OPEN, Report, Verdict
from gifster.app.roles import Role, role_of, set_role, with_role
from gifster.app.settings import Settings
from gifster.app.sign_in import second_factor
from gifster.app.sign_in.tables import Passkey
from gifster.uploads.files.sources import cache_upload
from tests import images

MODERATED, ALL, OWN = Reach.MODERATED, Reach.ALL, Reach.OWN


def person(name: str, **values: Any) -> User:
    return User.create(email=f"{name}@example.org", name=name.title(), password_hash="x", **values)


@pytest.fixture
def people(booted: Settings) -> dict[str, User]:
    """Ann with a GIF, Bob, Mo who moderates, and Root who is an admin."""
    return {
        "ann": person("ann"),
        "bob": person("bob"),
        "mo": person("mo", is_moderator=True),
        "root": person("root", is_admin=True),
    }


def gif_of(user: User | None, title: str = "cat", **values: Any) -> Gif:
    gif = Gif.create(title=title, user=user, **values)
    search.put(gif, [])
    return gif


def fresh(gif: Gif) -> Gif:
    return Gif.get_by_id(gif.id)


def logged() -> list[tuple[str, str, str]]:
    found, _ = moderation_log.entries(limit=100)
    return [(entry.action, entry.moderator_name, entry.reason) for entry in reversed(found)]


def moderate(gif: Gif, action: str, mo: User, reason: str = "rude") -> Gif:
    return moderation.moderate(gif.id, action, mo, MODERATED, reason)


def test_a_hidden_gif_is_for_its_owner_and_moderators(people: dict[str, User]):
    ann, mo = people["ann"], people["mo"]
    gif = gif_of(ann)

    hidden = moderate(gif, "hide", mo)

    assert (hidden.visibility, hidden.hidden_from) == ("private", "public")
    assert lists.list_gifs(q="cat") == ([], None)
    for viewer, seen in [
        (STRANGER, False), (Viewer(people["bob"].id), False), (Viewer(ann.id), True),
        (Viewer(mo.id, MODERATED), True), (Viewer("x", ALL), True),
        (Viewer(None, Reach.OWNERLESS), False),
    ]:  # fmt: skip
        assert may_see_gif(fresh(gif), viewer) is seen, viewer
    assert moderation.why_hidden(fresh(gif)) == "rude"
    assert moderation.hidden() == ([hidden], None)

    # Hiding it again changes nothing, and showing it again undoes it
    moderate(gif, "hide", mo, "again")
    shown = moderate(gif, "unhide", mo, "sorry")
    assert (shown.visibility, shown.hidden_from) == ("public", None)
    assert [one.id for one in lists.list_gifs(q="cat")[0]] == [gif.id]
    assert logged() == [("hide", "Mo", "rude"), ("unhide", "Mo", "sorry")]
    with pytest.raises(Conflict):
        moderate(gif, "unhide", mo)
    assert [entry.changed for entry in moderation_log.entries()[0]] == [
        {"visibility": ["private", "public"], "hidden": [True, False]},
        {"visibility": ["public", "private"], "hidden": [False, True]},
    ]


def test_an_admin_who_takes_back_their_own_removed_gif_is_in_the_log(people: dict[str, User]):
    root = people["root"]
    gif = gif_of(root)
    moderate(gif, "remove", people["mo"])
    trash.take_back(gif.id, root, ALL, "no harm")

    assert logged() == [("remove", "Mo", "rude"), ("restore", "Root", "no harm")]

    # Without a moderator, what people do with their own GIFs is not in it
    own = gif_of(root)
    trash.throw_away(own.id, root, ALL)
    trash.take_back(own.id, root, ALL)
    assert len(logged()) == 2


def test_what_commands_do_with_accounts_is_in_the_log(people: dict[str, User]):
    bob = people["bob"]
    Passkey.create(user=bob, credential="a", public_key=b"\0\1", name="Key")
    second_factor.remove_all(bob, noted=True)
    accounts.disable(bob)
    accounts.disable(bob)  # changes nothing
    accounts.enable(bob)
    leaving.leave(bob, with_gifs=False, by_command=True)
    leaving.leave(people["ann"], with_gifs=False)  # by herself

    found = [(entry.action, entry.subject, entry.changed) for entry in
             reversed(moderation_log.entries()[0])]  # fmt: skip
    assert found == [
        ("factor-off", "Bob", {"factors": [1, 0]}),
        ("disable", "Bob", {"disabled": [False, True]}),
        ("enable", "Bob", {"disabled": [True, False]}),
        ("leave", "Bob", {"gifs": ["", "kept"]}),
    ]


@pytest.mark.parametrize("visibility", ["public", "unlisted", "private"])
def test_a_removed_gif_comes_back_as_it_was(people: dict[str, User], visibility: str):
    root = people["root"]
    gif = gif_of(people["ann"], visibility=visibility)

    moderation.moderate(gif.id, "remove", root, ALL, "spam")
    removed = fresh(gif)
    assert (removed.visibility, removed.hidden_from) == ("private", visibility)
    assert removed.trashed_at is not None

    back = moderation.moderate(gif.id, "restore", root, ALL, "no spam")
    assert (back.visibility, back.hidden_from, back.trashed_at) == (visibility, None, None)


def test_its_owner_cannot_undo_it_but_may_delete_it(people: dict[str, User]):
    ann, mo = people["ann"], people["mo"]
    gif = gif_of(ann)
    moderate(gif, "remove", mo)

    for undo in (
        lambda: library.edit_gif(gif.id, ann, visibility="public"),
        lambda: library.edit_gif(gif.id, ann, visibility="unlisted"),
        lambda: trash.take_back(gif.id, ann),
    ):
        with pytest.raises(Denied) as refused:
            undo()
        assert refused.value.code == "gif_hidden"
    assert fresh(gif).visibility == "private"
    # A form sends the visibility that is there
    library.edit_gif(gif.id, ann, title="better", visibility="private")
    assert fresh(gif).title == "better"
    library.delete_gif(gif.id, ann)
    assert [action for action, *_ in logged()] == ["remove"]


def test_no_edit_at_the_same_moment_shows_a_hidden_gif(
    people: dict[str, User], monkeypatch: pytest.MonkeyPatch
):
    # Given an edit by the owner that has read the GIF, and a moderator who hides it before the
    # edit writes
    ann, gif, read = people["ann"], gif_of(people["ann"]), library.gif_to_change

    def read_slowly(*arguments: Any) -> Gif:
        found = read(*arguments)
        if found.hidden_from is None and arguments[1] == ann:
            moderate(gif, "hide", people["mo"])
        return found

    monkeypatch.setattr(library, "gif_to_change", read_slowly)
    with pytest.raises(Denied):
        library.edit_gif(gif.id, ann, title="dog", visibility="unlisted")

    assert (fresh(gif).visibility, fresh(gif).title) == ("private", "cat")


def test_no_moderator_gets_to_see_a_gif_that_is_made_private_at_the_same_moment(
    people: dict[str, User], monkeypatch: pytest.MonkeyPatch
):
    # Given a moderator who hides a GIF, and its owner who makes it private before that is written
    ann, mo, gif, read = people["ann"], people["mo"], gif_of(people["ann"]), library.gif_to_change

    def read_slowly(*arguments: Any) -> Gif:
        found = read(*arguments)
        if arguments[1] == mo:
            library.edit_gif(gif.id, ann, visibility="private")
        return found

    monkeypatch.setattr(library, "gif_to_change", read_slowly)
    with pytest.raises(NotFound):
        moderate(gif, "hide", mo)

    with pytest.raises(NotFound):
        library.get_gif(gif.id, Viewer(mo.id, MODERATED))


def test_a_moderator_does_not_decide_about_their_own_gif(people: dict[str, User]):
    # Given a moderator's GIF, which somebody has reported and another moderator has removed
    mo, root = people["mo"], people["root"]
    gif, other = gif_of(mo), gif_of(mo)
    moderation.moderate(gif.id, "remove", root, ALL, "rude")
    reports.report(other.id, STRANGER, None, "spam")
    (report,), _ = reports.open_reports()

    for own in (
        lambda: moderate(gif, "unhide", mo),
        lambda: moderate(gif, "restore", mo),
        lambda: trash.take_back(gif.id, mo, MODERATED, "mine"),
        lambda: library.edit_gif(gif.id, mo, visibility="public", reach=MODERATED, reason="x"),
        lambda: reports.close(report.id, "dismissed", mo),
        lambda: moderation.close_reports(other.id, "dismissed", mo),
    ):
        with pytest.raises(Denied) as refused:
            own()
        assert refused.value.code in ("own_gif", "gif_hidden")
    assert fresh(gif).hidden_from == "public"
    assert reports.count_open() == 1
    # Another one may, and an admin also about their own
    moderate(other, "hide", mo)
    moderation.moderate(gif.id, "restore", root, ALL, "fine")
    own = gif_of(root)
    for action in ("hide", "unhide"):
        moderation.moderate(own.id, action, root, ALL, "a try")


def test_moderators_do_not_see_what_others_keep_private(people: dict[str, User]):
    ann, mo = people["ann"], people["mo"]
    private = gif_of(ann, visibility="private")
    thrown = gif_of(ann, visibility="private", trashed_at=now())
    orphan = gif_of(None, visibility="private")

    for gif in (private, thrown, orphan):
        with pytest.raises(NotFound):
            library.get_gif(gif.id, Viewer(mo.id, MODERATED))
        for change in (
            lambda gif=gif: library.edit_gif(gif.id, mo, title="x", reach=MODERATED, reason="x"),
            lambda gif=gif: library.delete_gif(gif.id, mo, MODERATED, "x"),
            lambda gif=gif: moderate(gif, "hide", mo),
        ):
            with pytest.raises(NotFound):
                change()
    # Their own ones they do
    own = gif_of(mo, visibility="private")
    assert library.get_gif(own.id, Viewer(mo.id, MODERATED)) == own
    library.edit_gif(own.id, mo, title="mine", visibility="public", reach=MODERATED)
    assert logged() == []


def test_moderators_show_no_more_of_others_gifs_than_these_do(people: dict[str, User]):
    mo = people["mo"]
    unlisted, public = gif_of(people["ann"], visibility="unlisted"), gif_of(people["ann"])

    for gif, visibility in [(unlisted, "public"), (unlisted, "private"), (public, "private")]:
        with pytest.raises(Denied) as refused:
            library.edit_gif(gif.id, mo, visibility=visibility, reach=MODERATED, reason="x")
        assert refused.value.code == "owners_choice"
    library.edit_gif(public.id, mo, visibility="unlisted", reach=MODERATED, reason="x")
    assert fresh(public).visibility == "unlisted"


def test_a_moderator_gives_a_reason_for_each_change(people: dict[str, User]):
    mo, gif = people["mo"], gif_of(people["ann"])
    cached = cache_upload(library.Gif.image.uploader, images.gif((20, 10)), "a.gif")
    changes = [
        ("edit", lambda why: library.edit_gif(gif.id, mo, title="dog", tags=["b", "a"],
                                              reach=MODERATED, reason=why)),
        ("replace", lambda why: library.replace_image(gif.id, mo, cached, None, MODERATED,
                                                      reason=why)),
        ("trash", lambda why: trash.throw_away(gif.id, mo, MODERATED, why)),
        ("restore", lambda why: trash.take_back(gif.id, mo, MODERATED, why)),
        ("hide", lambda why: moderate(gif, "hide", mo, why)),
        ("delete", lambda why: library.delete_gif(gif.id, mo, MODERATED, why)),
    ]  # fmt: skip
    for action, change in changes:
        for nothing in ("", "  ", "\u200b"):
            with pytest.raises(Invalid) as refused:
                change(nothing)
            assert refused.value.code == "reason_missing", action
        change(f"because\n{action}")

    assert logged() == [(action, "Mo", f"because {action}") for action, _ in changes]
    edited = ModerationEntry.get(ModerationEntry.action == "edit")
    assert edited.changed == {"title": ["cat", "dog"], "tags": ["", "a, b"]}
    assert (edited.gif_id, edited.user_id, edited.subject) == (gif.id, people["ann"].id, "cat")


def test_an_admins_script_needs_no_reason_and_is_in_the_log(people: dict[str, User]):
    gif = gif_of(people["ann"])

    library.edit_gif(gif.id, people["root"], title="dog", reach=ALL)
    library.edit_gif(gif.id, people["root"], title="dog", reach=ALL)  # changes nothing
    library.delete_gif(gif.id, people["root"], ALL)

    assert logged() == [("edit", "Root", ""), ("delete", "Root", "")]


@pytest.mark.parametrize("reach", [Reach.NONE, Reach.OWN, Reach.OWNERLESS])
def test_nobody_else_moderates(people: dict[str, User], reach: Reach):
    bob = people["bob"]
    for gif in (gif_of(people["ann"]), gif_of(bob), gif_of(None)):
        with pytest.raises(Denied):
            moderation.moderate(gif.id, "hide", bob, reach, "mine now")
        assert fresh(gif).hidden_from is None


def test_what_nobody_owns_is_for_moderators(people: dict[str, User]):
    gif = gif_of(None)

    for user, reach in [(people["bob"], OWN), (None, Reach.NONE), (people["bob"], Reach.NONE)]:
        for change in (library.delete_gif, trash.throw_away):
            with pytest.raises(Denied) as refused:
                change(gif.id, user, reach)
            assert refused.value.code == "no_owner"
    library.delete_gif(gif.id, people["mo"], MODERATED, "spam")


def test_a_change_that_fails_is_not_in_the_log(
    people: dict[str, User], monkeypatch: pytest.MonkeyPatch
):
    gif = gif_of(people["ann"])

    def broken(*_: Any) -> None:
        raise peewee.OperationalError("the disk is full")

    monkeypatch.setattr(search, "put", broken)
    with pytest.raises(peewee.OperationalError):
        moderate(gif, "hide", people["mo"])
    assert fresh(gif).hidden_from is None
    assert logged() == []


def test_the_log_outlives_the_gif_and_the_people(people: dict[str, User]):
    ann, mo = people["ann"], people["mo"]
    gif = gif_of(ann, title="c" * 200, alt_text="a" * 1000)
    long = '"\\\U0001f600' * 300
    library.edit_gif(gif.id, mo, alt_text=long, tags=[f"{n:050}" for n in range(20)],
                     reach=MODERATED, reason="r" * 1000)  # fmt: skip
    library.delete_gif(gif.id, mo, MODERATED, "x")
    ann.delete_instance()
    mo.delete_instance()

    (deleted, edited), following = moderation_log.entries(gif_id=gif.id)
    assert following is None
    assert (edited.moderator_id, edited.moderator_name) == (None, "Mo")
    assert edited.subject == "c" * 200
    assert all(len(value) <= 300 for pair in edited.changed.values() for value in pair)
    assert deleted.action == "delete"


def test_pages_of_the_log_and_its_end(people: dict[str, User]):
    gifs = [gif_of(people["ann"]) for _ in range(5)]
    for gif in gifs:
        moderate(gif, "hide", people["mo"])
    seen, cursor = [], ""
    while cursor is not None:
        found, cursor = moderation_log.entries(cursor=cursor, limit=2)
        seen += [entry.gif_id for entry in found]
    assert sorted(seen) == sorted(gif.id for gif in gifs)

    ModerationEntry.update(at=now() - timedelta(days=731)).where(
        ModerationEntry.gif_id == gifs[0].id
    ).execute()
    assert moderation.forget_old() == (1, 0)
    assert ModerationEntry.select().count() == 4


def test_roles_are_derived_and_logged(people: dict[str, User]):
    roles = {name: role_of(user) for name, user in people.items()}
    assert roles == {"ann": "member", "bob": "member", "mo": "moderator", "root": "admin"}
    # An admin of the release before, and one who was a moderator
    assert role_of(User(is_admin=True, is_moderator=True)) is Role.ADMIN
    assert Role.ADMIN.covers(Role.MODERATOR)
    assert not Role.MEMBER.covers(Role.MODERATOR)

    set_role(people["bob"], Role.MODERATOR, people["root"], "helps")
    set_role(people["bob"], Role.MODERATOR, people["root"])
    assert with_role(Role.MODERATOR) == [people["bob"], people["mo"]]
    set_role(people["bob"], Role.MEMBER)
    assert with_role(Role.MEMBER) == [people["ann"], people["bob"]]
    assert logged() == [("role", "Root", "helps"), ("role", "", "")]
    people["bob"].delete_instance()
    with pytest.raises(NotFound):
        set_role(people["bob"], Role.ADMIN)


def test_the_first_admin_is_in_the_log_too(people: dict[str, User]):
    for is_admin, change in ((True, ["member", "admin"]), (False, ["admin", "member"])):
        accounts.set_admin("ann@example.org", is_admin)
        entry = ModerationEntry.select().order_by(ModerationEntry.at.desc()).get()
        assert (entry.user_id, entry.changed) == (people["ann"].id, {"role": change})


def test_a_row_of_the_release_before_has_a_role(booted: Settings):
    # Given a process that knows nothing of the new columns
    no = "false" if isinstance(db.obj, peewee.PostgresqlDatabase) else "0"
    db.execute_sql(
        'INSERT INTO "user" (id, email, name, password_hash, is_admin, created_at) '
        f"VALUES ('ann', 'ann@example.org', 'Ann', 'x', {no}, 1)"
    )
    db.execute_sql(
        "INSERT INTO gif (id, user_id, title, bytes, created_at, image_processing) "
        f"VALUES ('gif', 'ann', 'cat', 1, 1, {no})"
    )
    assert role_of(User.get_by_id("ann")) is Role.MEMBER
    assert Gif.get_by_id("gif").hidden_from is None


# Reports


def test_readers_report_what_they_see(people: dict[str, User]):
    ann, bob = people["ann"], people["bob"]
    gif = gif_of(ann)
    private = gif_of(ann, visibility="private")

    reports.report(gif.id, STRANGER, None, "spam")
    reports.report(gif.id, Viewer(bob.id), bob, "rights", "That\nis me")
    reports.report(gif.id, Viewer(bob.id), bob, "other", "Still there")  # it is open already
    with pytest.raises(NotFound):
        reports.report(private.id, Viewer(bob.id), bob, "spam")
    for reason, text, code in [
        ("rude", "", "reason_invalid"), ("", "", "reason_invalid"),
        ("spam", "a" * 1001, "reason_too_long"), ("spam", "a\0b", "reason_invalid"),
    ]:  # fmt: skip
        with pytest.raises(Invalid) as refused:
            reports.report(gif.id, STRANGER, None, reason, text)
        assert refused.value.code == code

    (newer, older), _ = reports.open_reports()
    assert (newer.user, newer.reason, newer.text) == (bob, "rights", "That is me")
    assert (older.user, older.reason, older.text) == (None, "spam", "")
    assert reports.count_open() == 2


def test_a_crowd_of_reports_about_a_gif_is_no_more_than_some(people: dict[str, User]):
    gif = gif_of(people["ann"])
    for _ in range(MOST_OPEN + 5):
        reports.report(gif.id, STRANGER, None, "spam")
    assert reports.count_open() == MOST_OPEN


def test_a_report_is_closed_once(people: dict[str, User]):
    gif, mo = gif_of(people["ann"]), people["mo"]
    reports.report(gif.id, STRANGER, None, "spam")
    (report,), _ = reports.open_reports()

    for verdict in ("", "open", "RESOLVED"):
        with pytest.raises(Invalid):
            reports.close(report.id, verdict, mo)
    closed = reports.close(report.id, "dismissed", mo, "it is a cat")
    assert closed.verdict == Verdict.DISMISSED
    with pytest.raises(Conflict):
        reports.close(report.id, "resolved", mo)
    for missing in ("x" * 12, "", "a\0b", "ab"):
        with pytest.raises(NotFound):
            reports.close(missing, "resolved", mo)
    assert reports.open_reports() == ([], None)
    assert logged() == [("dismiss", "Mo", "it is a cat")]

    Report.update(closed_at=now() - timedelta(days=181)).execute()
    assert moderation.forget_old() == (0, 1)


def test_hiding_a_gif_resolves_its_reports(people: dict[str, User]):
    gif, other = gif_of(people["ann"]), gif_of(people["ann"])
    for one in (gif, gif, other):
        reports.report(one.id, STRANGER, None, "spam")

    moderate(gif, "hide", people["mo"])

    (left,), _ = reports.open_reports()
    assert left.gif == other
    assert logged() == [("hide", "Mo", "rude"), ("resolve", "Mo", "rude")]
    moderation.close_reports(other.id, "dismissed", people["mo"])
    assert reports.count_open() == 0
    with pytest.raises(NotFound):
        moderation.close_reports("a\0", "dismissed", people["mo"])


def test_reports_go_with_their_gif_and_outlive_who_reported_it(people: dict[str, User]):
    gif, bob = gif_of(people["ann"]), people["bob"]
    reports.report(gif.id, Viewer(bob.id), bob, "spam")
    tokens.log_out_everywhere(bob)
    bob.delete_instance()
    assert reports.open_reports()[0][0].user is None
    library.delete_gif(gif.id, people["ann"])
    assert Report.select().count() == 0
