"""Lists of GIFs: pages, searches, tags, states and counts.

Plain synchronous functions, as in `library`, with a database connection around them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import peewee
from peewee import SQL, fn

from gifster.app import originals, search, texts
from gifster.app.access import STRANGER, Viewer, listed, may_see_gif
from gifster.app.cursors import (
    MAX_LIMIT,
    bad_cursor,
    check_limit,
    newest_first,
    newest_page,
    page_of,
)
from gifster.app.edits import Edit
from gifster.app.errors import BadQuery, NotFound
from gifster.app.models import Gif, GifTag, Tag, User
from gifster.app.search.index import tags_of
from gifster.app.texts import GIF_ID
from gifster.jobs.statements import Statement, for_each_length
from gifster.jobs.wording import not_one_of, wrong
from gifster.uploads import StoredFile
from gifster.uploads.columns.rows import loaded_by, readable, rows_of_each

#: Defined in `cursors`, `access` and `search`, and imported from here.
__all__ = ["MAX_LIMIT", "listed", "tags_of"]


def list_gifs(  # noqa: PLR0913 each narrows the list
    *,
    q: str = "",
    tag: str = "",
    user: str = "",
    kind: str = "",
    rating: str = "",
    sort: str = "",
    cursor: str = "",
    limit: int = 30,
    locale: str = "",
    among: Sequence[str] | None = None,
) -> tuple[list[Gif], str | None]:
    """A page of GIFs, and the cursor of the next page.

    Parameters:
      q: words of titles, tags and alternative texts (see `search`); at most `texts.MAX_QUERY`
        characters.
      tag: a whole tag.
      user: the id of their owner.
      kind: one of `search.KINDS`.
      rating: the highest that they may have.
      sort: one of `search.SORTS`; by default `relevance` if there is a `q`, else `newest`.
      cursor: the one that the previous page came with; empty for the first page.
      limit: how many at most, 1 to 100.
      locale: of the words of `q`, such as `de_CH`, if it is known.
      among: the ids of the GIFs that the list may have, some thousands at most; None for any.

    Returns:
      the GIFs, and the cursor; it is None on the last page.

    Raises:
      BadQuery: one of these is invalid, or `q` or `tag` is too long or has control characters.
    """
    check_limit(limit)
    q, tag = texts.query(q), texts.asked_tag(tag)
    asked = _filter(tag, user, kind, rating)
    sort = _one_of("sort", sort, search.SORTS) or ("relevance" if q else "newest")
    everything = asked == search.Filter() and not q and sort != "popular"
    if among is None and (everything or (tag and not q and not search.is_filled())):
        return _newest_page(tag, cursor, limit)
    order = "newest" if sort == "relevance" and not q else sort
    try:
        return search.page(
            q, asked, sort=order, cursor=cursor, limit=limit, locale=locale, among=among
        )
    except ValueError:
        raise bad_cursor(cursor) from None


def _filter(tag: str, user: str, kind: str, rating: str) -> search.Filter:
    ratings = [each.value for each in texts.Rating]
    _one_of("rating", rating, ratings)
    if user and not GIF_ID.fullmatch(user):
        raise BadQuery("user_invalid", wrong("user", user, "the id of a user"))
    allowed = frozenset(ratings[: ratings.index(rating) + 1] if rating else ratings)
    return search.Filter(tag, user, _one_of("type", kind, search.KINDS), allowed)


def _one_of(name: str, value: str, values: Sequence[str]) -> str:
    if value and value not in values:
        raise BadQuery(f"{name}_invalid", not_one_of(name, value, values))
    return value


def _newest_page(tag: str, cursor: str, limit: int) -> tuple[list[Gif], str | None]:
    if not (tag or cursor):
        found = loaded_by(_NEWEST, lambda: _newest(limit + 1), most=limit + 1)
        return page_of(found, limit, Gif.created_at, Gif.id)
    query: Any = Gif.select().where(listed())
    if tag:
        query = query.where(Gif.id.in_(tagged(Tag.name == tag)))
    return newest_page(query, Gif.created_at, Gif.id, cursor, limit)


def _newest(most: Any) -> Any:
    return newest_first(Gif.select().where(listed()), Gif.created_at, Gif.id, "", most)


#: The first page, which most people see.
_NEWEST = Statement(_newest)


def count_by_state() -> dict[str, int]:
    """How many GIFs there are in each state."""
    query: Any = Gif.select(Gif.image_state, fn.COUNT(SQL("*"))).group_by(Gif.image_state)
    return dict(query.tuples())


def get_gifs(gif_ids: Sequence[str], viewer: Viewer = STRANGER) -> list[Gif]:
    """The GIFs with these ids, in any order. Ids of no GIF, of GIFs in the trash and of those that
    the viewer may not see are left out."""
    possible = [gif_id for gif_id in gif_ids if GIF_ID.fullmatch(gif_id)]
    found = Gif.select().where(Gif.id.in_(possible) & Gif.trashed_at.is_null())
    return [gif for gif in readable(found) if may_see_gif(gif, viewer)]


class Standing(NamedTuple):
    """How far a GIF is, and who may know it.

    Attributes:
      state: its `image_state`.
      image: the SHA-256 of its original; None until that is stored.
      shown: that of what others get in its place (see `originals`); None until that is stored.
      user_id, visibility, in_trash, is_hidden: as `access.may_see()` takes them.
    """

    state: str
    image: str | None
    shown: str | None
    user_id: str | None
    visibility: str
    in_trash: bool
    is_hidden: bool


def standings(gif_ids: Sequence[str]) -> dict[str, Standing]:
    """How far each of these GIFs is. Ids of no GIF, and of rows that cannot be read, are left
    out."""
    found = rows_of_each(_standing_rows, Gif, gif_ids)
    return {
        gif_id: Standing(
            state,
            stored and stored.sha256,
            _shown_sha256(stored, edit),
            user_id,
            visibility,
            trashed_at is not None,
            hidden_from is not None,
        )
        for gif_id, state, stored, edit, user_id, visibility, trashed_at, hidden_from in found
    }


def _standing_rows(gif_ids: Sequence[str]) -> list[Any]:
    of_people = (Gif.user, Gif.visibility, Gif.trashed_at, Gif.hidden_from)
    query: Any = Gif.select(Gif.id, Gif.image_state, Gif.image, Gif.edit, *of_people)
    return list(query.where(Gif.id.in_(gif_ids)).tuples())


def _shown_sha256(stored: StoredFile | None, edit: Edit | None) -> str | None:
    found = None if stored is None else originals.picture(stored, edit, original=False)
    return None if found is None else found.file.sha256


def uploader(user_id: str) -> User:
    """The user with this id.

    Raises:
      NotFound: there is none.
    """
    user: User | None = User.get_or_none(User.id == user_id)
    if user is None:
        raise NotFound("user_not_found", f"There is no user {user_id[:40]}.")
    return user


def uploaders_of(gifs: Sequence[Gif]) -> dict[str, str]:
    """The names of the users who own these GIFs, by their ids."""
    owners = sorted({gif.user_id for gif in gifs if gif.user_id})
    return dict(rows_of_each(_names, User, owners))


_names = for_each_length(
    lambda ids: User.select(User.id, User.name).where(User.id.in_(ids)).tuples()
)


def tagged(condition: peewee.Expression) -> peewee.Query:
    """The ids of the GIFs with a tag that meets a condition, such as `Tag.name == "cat"`."""
    return GifTag.select(GifTag.gif).join(Tag).where(condition)
