"""Who may see a GIF: strangers, other users, its owner, admins; and which GIFs lists show."""

from typing import Any

import peewee
import pytest

from gifster.app import access, collections, library, lists, near_duplicates, search
from gifster.app.access import STRANGER, Reach, Viewer, may_see_gif
from gifster.app.accounts import leaving
from gifster.app.database import db
from gifster.app.errors import Denied, Invalid, NotFound
from gifster.app.models import FingerprintPart, Gif, User, fingerprint_parts, now
from gifster.app.settings import Settings
from tests import images
from tests.app.gifs import added
from tests.app.people import person

ANN, BOB = Viewer("ann000000000"), Viewer("bob000000000")
ADMIN = Viewer("root00000000", Reach.ALL)
#: Where anybody may write.
ANYBODY, MEMBER = Viewer(None, Reach.OWNERLESS), Viewer("bob000000000", Reach.OWNERLESS)
ALL = [STRANGER, ANYBODY, MEMBER, BOB, ANN, ADMIN]


@pytest.mark.parametrize(
    ("owner", "visibility", "trashed", "seen_by"),
    [
        ("ann000000000", "public", False, ALL),
        ("ann000000000", "unlisted", False, ALL),
        ("ann000000000", "private", False, [ANN, ADMIN]),
        ("ann000000000", "public", True, [ANN, ADMIN]),
        ("ann000000000", "private", True, [ANN, ADMIN]),
        (None, "public", False, ALL),
        (None, "unlisted", False, ALL),
        (None, "private", False, [ADMIN]),  # its owner's account is gone
        (None, "public", True, [ANYBODY, MEMBER, ADMIN]),  # who may change it
        (None, "private", True, [ADMIN]),
    ],
)
def test_the_rule(owner: str | None, visibility: str, trashed: bool, seen_by: list[Viewer]):
    gif = Gif(user=owner, visibility=visibility, trashed_at=now() if trashed else None)

    assert [viewer for viewer in ALL if may_see_gif(gif, viewer)] == seen_by


def users() -> tuple[User, User]:
    made = [person(name, id=viewer.user_id) for name, viewer in (("ann", ANN), ("bob", BOB))]
    return made[0], made[1]


def set_raw(table: str, column: str, value: str) -> None:
    """Write what a later release might."""
    db.execute_sql(f'UPDATE "{table}" SET "{column}" = {db.obj.param}', [value])


def test_a_word_that_is_none_of_ours_is_read_as_the_one_that_allows_least(booted: Settings):
    # Given a GIF with a rating that only a later release knows, which has written its entry, too
    ann, _ = users()
    gif = Gif.create(title="cat", user=ann)
    search.put(gif, [])
    set_raw("gif", "rating", "nc-17")
    set_raw("search_entry", "facts", "_rnc17 _kn")

    # Then it is for adults, and no search for anybody else finds it
    assert Gif.get_by_id(gif.id).rating == "r"
    assert [found.rating for found in lists.list_gifs(q="cat")[0]] == ["r"]
    assert lists.list_gifs(q="cat", rating="pg-13")[0] == []
    assert search.find("cat", search.Filter(ratings=frozenset({"g"}))).gifs == []

    # And with such a visibility it is private, as is a collection
    collections.create(ann, "cats")
    set_raw("gif", "visibility", "friends")
    set_raw("collection", "visibility", "friends")
    assert Gif.get_by_id(gif.id).visibility == "private"
    assert collections.collections_of(ann)[0].visibility == "private"
    with pytest.raises(NotFound):
        library.get_gif(gif.id, BOB)

    # And it goes with its owner, as nobody else has seen it
    leaving.leave(ann, with_gifs=False)
    leaving.remove(ann.id, with_gifs=False)
    assert Gif.select().count() == 0


def test_lists_show_public_gifs_outside_the_trash(booted: Settings):
    # Given one GIF of each kind
    ann, _ = users()
    shown = Gif.create(title="cat", user=ann)
    search.put(shown, [])
    for visibility, trashed_at in [("unlisted", None), ("private", None), ("public", now())]:
        search.put(
            Gif.create(title="cat", user=ann, visibility=visibility, trashed_at=trashed_at), []
        )

    # I expect lists to have the public one alone, also with a query and a cursor
    for query in ({}, {"q": "cat"}, {"limit": 1}):
        gifs, following = lists.list_gifs(**query)
        assert [gif.id for gif in gifs] == [shown.id]
        assert following is None


def test_others_private_gifs_are_not_there(booted: Settings):
    ann, bob = users()
    gif = Gif.create(title="cat", user=ann, visibility="private")

    assert library.get_gif(gif.id, ANN) == gif
    assert library.get_gif(gif.id, ADMIN) == gif
    for viewer in (STRANGER, BOB, MEMBER):
        with pytest.raises(NotFound):
            library.get_gif(gif.id, viewer)
    for change in (
        lambda: library.edit_gif(gif.id, bob, title="mine"),
        lambda: library.delete_gif(gif.id, bob),
        lambda: library.gif_to_change(gif.id, None, Reach.OWNERLESS),
    ):
        with pytest.raises(NotFound):  # not `Denied`, which says that it is there
            change()
    unlisted = Gif.create(title="cat", user=ann, visibility="unlisted")
    with pytest.raises(Denied):
        library.edit_gif(unlisted.id, bob, title="mine")


def test_nobody_makes_a_gif_private_that_nobody_owns(booted: Settings):
    gif = Gif.create(title="cat")

    with pytest.raises(Invalid) as refused:
        library.edit_gif(gif.id, None, visibility="private", reach=Reach.OWNERLESS)
    assert refused.value.code == "private_needs_owner"
    library.edit_gif(gif.id, None, visibility="private", reach=Reach.ALL)  # an admin may
    assert Gif.get_by_id(gif.id).visibility == "private"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("alt_text", "a" * 1001, "alt_text_too_long"),
        ("alt_text", "a\0b", "alt_text_invalid"),
        ("rating", "x", "rating_invalid"),
        ("rating", "G", "rating_invalid"),
        ("rating", "", "rating_invalid"),
        ("visibility", "secret", "visibility_invalid"),
    ],
)
def test_impossible_values_are_refused(booted: Settings, field: str, value: str, code: str):
    gif = Gif.create(title="cat")

    with pytest.raises(Invalid) as refused:
        library.edit_gif(gif.id, None, **{field: value})

    assert refused.value.code == code
    assert Gif.get_by_id(gif.id) == gif


def test_duplicates_that_somebody_may_not_see_are_not_mentioned(booted: Settings):
    # Given Ann's private GIF, and later Bob's public one of the same file
    ann, bob = users()
    stored = (
        '{"storage": "store", "key": "a/b.gif", "filename": "b.gif", "content_type": "image/gif",'
        ' "bytes": 1, "sha256": "5a", "width": 1, "height": 1, "frames": 1, "duration_ms": 0,'
        ' "loop": null, "versions": {}, "dhash": "0001000200030004"}'
    )

    def gif(user: User, **values: Any) -> Gif:
        made = Gif.create(title="cat", user=user, sha256="5a", image_state="ready", **values)
        db.execute_sql(f"UPDATE gif SET image = '{stored}' WHERE id = '{made.id}'")
        for part in fingerprint_parts("0001000200030004"):
            FingerprintPart.create(gif=made, part=part)
        return Gif.get_by_id(made.id)

    private = gif(ann, visibility="private")
    public = gif(bob)

    # I expect that Ann alone hears of hers
    for user_id, seen in ((None, False), (bob.id, False), (ann.id, True)):
        expected = private.id if seen else None
        assert near_duplicates.oldest_copy(public, user_id) == expected
        assert near_duplicates.oldest_copies([public], user_id).get(public.id) == expected
        near = near_duplicates.near_duplicates_of(public, user_id=user_id)
        assert near == ([private] if seen else [])
    # and hers, that Bob's is not older
    assert near_duplicates.oldest_copy(private, ann.id) is None
    assert near_duplicates.oldest_copies([private, public]) == {}


def test_the_first_page_reads_an_index_of_the_listed_gifs(booted: Settings):
    rows = [{"title": "a", "visibility": "private"} for _ in range(500)]
    Gif.insert_many(rows).execute()
    sql, _ = lists._newest(31).sql()
    if isinstance(db.obj, peewee.PostgresqlDatabase):
        db.execute_sql("ANALYZE gif")
        plan = db.execute_sql(f"EXPLAIN {sql}", [31]).fetchall()
    else:
        plan = db.execute_sql(f"EXPLAIN QUERY PLAN {sql}", [31]).fetchall()

    assert "gif_listed" in str(plan)
    assert "sort" not in str(plan).lower()
    assert "TEMP B-TREE" not in str(plan)


def test_a_visibility_that_is_none_of_ours_is_private(booted: Settings):
    ann, bob = person("Ann"), person("Bob")
    gif = added(images.gif(), user=ann)
    made = collections.create(ann, "Cats")
    Gif.update(visibility="publik").execute()
    collections.Collection.update(visibility="publik").execute()

    for viewer in (STRANGER, Viewer(bob.id), Viewer(bob.id, Reach.MODERATED)):
        assert not access.may_see_gif(Gif.get_by_id(gif.id), viewer)
        assert not Gif.select().where(access.seen_by(viewer)).exists()
        with pytest.raises(NotFound):
            collections.get(made.id, viewer)
    assert access.may_see_gif(Gif.get_by_id(gif.id), Viewer(ann.id))
    assert not access.is_for_everybody(Gif.get_by_id(gif.id))
