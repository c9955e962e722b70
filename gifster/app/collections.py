"""Collections: a user's named and ordered lists of GIFs, public, unlisted or private.

A collection shows nothing that its reader may not see anyway. A public one leaves out unlisted GIFs
of others, too, which would be found through it.
"""

from collections.abc import Sequence
from typing import Any

import peewee
from peewee import SQL, Tuple, fn

from gifster.app import library, texts
from gifster.app.access import OPEN, Reach, Viewer, seen_by, shown_to
from gifster.app.cursors import check_limit, page_of, read_cursor
from gifster.app.database import db
from gifster.app.errors import Denied, NotFound
from gifster.app.models import (
    BaseModel,
    ChoiceField,
    Gif,
    GifTag,
    MomentField,
    Tag,
    User,
    new_id,
    now,
)
from gifster.app.texts import GIF_ID, Visibility
from gifster.jobs import transaction
from gifster.jobs.statements import Statement
from gifster.uploads.columns.rows import loaded, locked_row, readable

#: How many a user may have, and how many GIFs each.
MOST, MOST_GIFS = 500, 2_000


class Collection(BaseModel):
    id = peewee.CharField(12, primary_key=True, default=new_id)
    user = peewee.ForeignKeyField(User, on_delete="CASCADE")
    user_id: str
    name = peewee.CharField(100)
    visibility = ChoiceField(Visibility, Visibility.PRIVATE, max_length=8, default="public")
    created_at: Any = MomentField(default=now)


class CollectionGif(BaseModel):
    collection = peewee.ForeignKeyField(Collection, on_delete="CASCADE")
    gif = peewee.ForeignKeyField(Gif, on_delete="CASCADE")
    gif_id: str
    #: The order; there may be gaps.
    position = peewee.BigIntegerField()

    class Meta:
        primary_key = peewee.CompositeKey("collection", "gif")
        indexes = ((("collection", "position"), False),)


def create(user: User, name: str, visibility: str = Visibility.PUBLIC) -> Collection:
    """A new, empty collection.

    Parameters:
      name: 1 to `texts.MAX_NAME` characters.
      visibility: one of `texts.Visibility`.

    Raises:
      Invalid: the name or the visibility is invalid.
      Denied: the user has `MOST` collections already.
    """
    name, visibility = texts.collection_name(name), texts.visibility(visibility)
    with transaction(db):
        locked_row(user)  # two requests at once cannot share the last place
        if Collection.select().where(Collection.user == user).count() >= MOST:
            raise Denied(
                "too_many_collections",
                f"You have {MOST} collections, which is the most. Delete one first.",
            )
        made: Collection = Collection.create(user=user, name=name, visibility=visibility)
    return made


def get(collection_id: str, viewer: Viewer) -> Collection:
    """The collection with that id.

    Raises:
      NotFound: there is none, or it is private and somebody else's.
    """
    possible = GIF_ID.fullmatch(collection_id)
    found = Collection.get_or_none(Collection.id == collection_id) if possible else None
    if found is None or (found.visibility not in OPEN and not _is_theirs(found, viewer)):
        raise _not_found(collection_id)
    collection: Collection = found
    return collection


def _not_found(collection_id: str) -> NotFound:
    return NotFound("collection_not_found", f"There is no collection {collection_id[:40]}.")


def may_change(collection: Collection, viewer: Viewer) -> bool:
    """Whether somebody may change a collection: its user and admins may."""
    return _is_theirs(collection, viewer)


def _is_theirs(collection: Collection, viewer: Viewer) -> bool:
    return viewer.reach is Reach.ALL or collection.user_id == viewer.user_id


def get_to_change(collection_id: str, viewer: Viewer) -> Collection:
    """The same for somebody who is going to change it.

    Raises:
      NotFound: as `get()`.
      Denied: it is somebody else's.
    """
    collection = get(collection_id, viewer)
    if not may_change(collection, viewer):
        raise Denied("not_yours", "This collection belongs to somebody else.")
    return collection


def edit(
    collection_id: str,
    viewer: Viewer,
    *,
    name: str | None = None,
    visibility: str | None = None,
    first: Sequence[str] | None = None,
) -> Collection:
    """The collection with another name, visibility or order; None leaves each as it is.

    Parameters:
      first: the ids of the GIFs that come first, in their order. The others follow in the order
        that they have. Ids of other GIFs change nothing.

    Raises:
      NotFound, Denied: as `get_to_change()`; also if it is deleted at the same moment.
      Invalid: the name or the visibility is invalid.
    """
    collection = get_to_change(collection_id, viewer)
    with transaction(db):
        if locked_row(collection) is None:
            raise _not_found(collection_id)
        if name is not None:
            collection.name = texts.collection_name(name)
            collection.save(only=[Collection.name])
        if visibility is not None:
            collection.visibility = texts.visibility(visibility)
            collection.save(only=[Collection.visibility])
        if first is not None:
            _arrange(collection, first)
    return collection


def _arrange(collection: Collection, first: Sequence[str]) -> None:
    within = CollectionGif.select().where(CollectionGif.collection == collection)
    rows = list(within.order_by(CollectionGif.position, CollectionGif.gif))
    present = {row.gif_id: row.position for row in rows}
    wanted = dict.fromkeys([*(gif_id for gif_id in first if gif_id in present), *present])
    for position, gif_id in enumerate(wanted):
        if present[gif_id] != position:
            _MOVE.execute(collection=collection.id, gif=gif_id, position=position)


_MOVE = Statement(
    lambda collection, gif, position: CollectionGif.update(position=position).where(
        (CollectionGif.collection == collection) & (CollectionGif.gif == gif)
    )
)


def delete(collection_id: str, viewer: Viewer) -> None:
    """Delete a collection. Its GIFs stay.

    Raises:
      NotFound, Denied: as `get_to_change()`.
    """
    get_to_change(collection_id, viewer).delete_instance()


def add(collection_id: str, gif_id: str, viewer: Viewer) -> None:
    """Put a GIF at the end of a collection. Doing it twice changes nothing.

    Raises:
      NotFound: there is no such collection or GIF, or they may not see it.
      Denied: the collection is somebody else's, or has `MOST_GIFS` GIFs already.
    """
    collection = get_to_change(collection_id, viewer)
    gif = library.get_gif(gif_id, viewer)
    with transaction(db):
        if locked_row(collection) is None:
            raise _not_found(collection_id)
        if locked_row(gif) is None:
            raise library.gif_not_found(gif_id)
        within = CollectionGif.select().where(CollectionGif.collection == collection)
        if within.where(CollectionGif.gif == gif).exists():
            return
        if within.count() >= MOST_GIFS:
            raise Denied(
                "collection_full",
                f"The collection has {MOST_GIFS:,} GIFs, which is the most. Make another one.",
            )
        last = within.select(fn.COALESCE(fn.MAX(CollectionGif.position), -1)).scalar()
        CollectionGif.create(collection=collection, gif=gif, position=last + 1)


def remove(collection_id: str, gif_id: str, viewer: Viewer) -> None:
    """Take a GIF out of a collection, if it is in it.

    Raises:
      NotFound, Denied: as `get_to_change()`.
    """
    collection = get_to_change(collection_id, viewer)
    CollectionGif.delete().where(
        CollectionGif.collection == collection, CollectionGif.gif == gif_id
    ).execute()


def collections_of(user: User) -> list[Collection]:
    """All collections of a user, by name."""
    found = readable(
        Collection.select()
        .where(Collection.user == user)
        .order_by(fn.LOWER(Collection.name), Collection.id)
    )
    for collection in found:
        collection.user = user  # which would be asked for once for each
    return found


def with_gif(user: User, gif_id: str) -> set[str]:
    """The ids of a user's collections that have a GIF."""
    query: Any = (
        CollectionGif.select(CollectionGif.collection)
        .join(Collection)
        .where(Collection.user == user, CollectionGif.gif == gif_id)
        .tuples()
    )
    return {collection_id for (collection_id,) in query}


def sizes(collections: Sequence[Collection], viewer: Viewer) -> dict[str, int]:
    """How many GIFs of each of these collections somebody sees."""
    found = {collection.id: 0 for collection in collections}
    for is_public in (True, False):
        some = [c for c in collections if (c.visibility == Visibility.PUBLIC) is is_public]
        query: Any = (
            CollectionGif.select(CollectionGif.collection, fn.COUNT(SQL("*")))
            .join(Gif)
            .where(CollectionGif.collection.in_(some) & _seen_in(is_public, viewer))
            .group_by(CollectionGif.collection)
            .tuples()
        )
        found |= dict(query) if some else {}
    return found


def _seen_in(is_public: bool, viewer: Viewer) -> Any:
    """The condition of the GIFs of a collection that somebody sees."""
    return shown_to(viewer.user_id or "") if is_public else seen_by(viewer)


def ids_in(collection: Collection) -> list[str]:
    """The ids of all its GIFs, also of those that its reader may not see."""
    query: Any = CollectionGif.select(CollectionGif.gif).where(
        CollectionGif.collection == collection
    )
    return [gif_id for (gif_id,) in query.tuples()]


def gifs_in(
    collection: Collection, viewer: Viewer, *, tag: str = "", cursor: str = "", limit: int = 30
) -> tuple[list[Gif], str | None]:
    """A page of a collection's GIFs in their order, and the cursor of the next page.

    Parameters:
      tag: only GIFs with this tag; empty for all.

    Raises:
      BadQuery: the tag, the limit or the cursor is invalid.
    """
    check_limit(limit)
    tag = texts.asked_tag(tag)
    position, gif_id = CollectionGif.position, CollectionGif.gif
    query: Any = (
        CollectionGif.select(CollectionGif, Gif)
        .join(Gif)
        .where(CollectionGif.collection == collection)
        .where(_seen_in(collection.visibility == Visibility.PUBLIC, viewer))
        .order_by(position, gif_id)
        .limit(limit + 1)
    )
    if tag:
        tagged = GifTag.select(GifTag.gif).join(Tag).where(Tag.name == tag)
        query = query.where(Gif.id.in_(tagged))
    if cursor:
        query = query.where(Tuple(position, gif_id) > read_cursor(cursor))
    rows, following = page_of(loaded(query), limit, position, gif_id)
    return [row.gif for row in rows], following
