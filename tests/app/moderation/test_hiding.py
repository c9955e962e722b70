"""Moderators: what they hide and remove, and what they may not see."""

from typing import Any

import pytest

from gifster.app import library, lists, trash
from gifster.app.access import STRANGER, Reach, Viewer, may_see_gif
from gifster.app.errors import Conflict, Denied, Invalid, NotFound
from gifster.app.models import Gif, User, now
from gifster.app.moderation import hiding, log, reports
from gifster.app.moderation.log import ModerationEntry
from gifster.uploads.files.sources import cache_upload
from tests import images
from tests.app.gifs import cached
from tests.app.moderation.conftest import ALL, MODERATED, OWN, fresh, gif_of, logged, moderate


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
    assert hiding.why_hidden(fresh(gif)) == "rude"
    assert hiding.hidden() == ([hidden], None)

    # Hiding it again changes nothing, and showing it again undoes it
    moderate(gif, "hide", mo, "again")
    shown = moderate(gif, "unhide", mo, "sorry")
    assert (shown.visibility, shown.hidden_from) == ("public", None)
    assert [one.id for one in lists.list_gifs(q="cat")[0]] == [gif.id]
    assert logged() == [("hide", "Mo", "rude"), ("unhide", "Mo", "sorry")]
    with pytest.raises(Conflict):
        moderate(gif, "unhide", mo)
    assert [entry.changed for entry in log.entries()[0]] == [
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


@pytest.mark.parametrize("visibility", ["public", "unlisted", "private"])
def test_a_removed_gif_comes_back_as_it_was(people: dict[str, User], visibility: str):
    root = people["root"]
    gif = gif_of(people["ann"], visibility=visibility)

    hiding.moderate(gif.id, "remove", root, ALL, "spam")
    removed = fresh(gif)
    assert (removed.visibility, removed.hidden_from) == ("private", visibility)
    assert removed.trashed_at is not None

    back = hiding.moderate(gif.id, "restore", root, ALL, "no spam")
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


def test_no_moderator_changes_a_gif_that_is_made_private_at_the_same_moment(
    people: dict[str, User], monkeypatch: pytest.MonkeyPatch
):
    ann, mo, read = people["ann"], people["mo"], library.gif_to_change

    def read_slowly(*arguments: Any) -> Gif:
        found = read(*arguments)
        if arguments[1] == mo:
            library.edit_gif(found.id, ann, visibility="private")
        return found

    monkeypatch.setattr(library, "gif_to_change", read_slowly)
    for change in (
        lambda gif: library.edit_gif(gif.id, mo, title="dog", reach=MODERATED, reason="x"),
        lambda gif: library.replace_image(gif.id, mo, cached(), reach=MODERATED, reason="x"),
        lambda gif: library.delete_gif(gif.id, mo, MODERATED, "x"),
        lambda gif: trash.throw_away(gif.id, mo, MODERATED, "x"),
    ):
        gif = gif_of(ann)
        with pytest.raises(NotFound):
            change(gif)

        left = fresh(gif)
        assert (left.title, left.sha256, left.trashed_at) == ("cat", gif.sha256, None)
    assert logged() == []


def test_a_moderator_does_not_decide_about_their_own_gif(people: dict[str, User]):
    # Given a moderator's GIF, which somebody has reported and another moderator has removed
    mo, root = people["mo"], people["root"]
    gif, other = gif_of(mo), gif_of(mo)
    hiding.moderate(gif.id, "remove", root, ALL, "rude")
    reports.report(other.id, STRANGER, None, "spam")
    (report,), _ = reports.open_reports()

    for own in (
        lambda: moderate(gif, "unhide", mo),
        lambda: moderate(gif, "restore", mo),
        lambda: trash.take_back(gif.id, mo, MODERATED, "mine"),
        lambda: library.edit_gif(gif.id, mo, visibility="public", reach=MODERATED, reason="x"),
        lambda: reports.close(report.id, "dismissed", mo),
        lambda: reports.close_reports(other.id, "dismissed", mo),
    ):
        with pytest.raises(Denied) as refused:
            own()
        assert refused.value.code in ("own_gif", "gif_hidden")
    assert fresh(gif).hidden_from == "public"
    assert reports.count_open() == 1
    # Another one may, and an admin also about their own
    moderate(other, "hide", mo)
    hiding.moderate(gif.id, "restore", root, ALL, "fine")
    own = gif_of(root)
    for action in ("hide", "unhide"):
        hiding.moderate(own.id, action, root, ALL, "a try")


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
            hiding.moderate(gif.id, "hide", bob, reach, "mine now")
        assert fresh(gif).hidden_from is None


def test_what_nobody_owns_is_for_moderators(people: dict[str, User]):
    gif = gif_of(None)

    for user, reach in [(people["bob"], OWN), (None, Reach.NONE), (people["bob"], Reach.NONE)]:
        for change in (library.delete_gif, trash.throw_away):
            with pytest.raises(Denied) as refused:
                change(gif.id, user, reach)
            assert refused.value.code == "no_owner"
    library.delete_gif(gif.id, people["mo"], MODERATED, "spam")
