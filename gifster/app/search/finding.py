"""Finds GIFs."""

from typing import Any

import peewee

from gifster.app.models import Gif, GifTag, Tag
from gifster.app.search.filters import ALL_RATINGS, Filter, Found
from gifster.app.texts import GIF_ID

ANY = Filter()


def find(  # noqa: PLR0913 each narrows the search
    q: str,
    filter: Filter = ANY,
    *,
    sort: str = "relevance",
    offset: int = 0,
    limit: int = 30,
    locale: str = "",
) -> Found:
    """The GIFs that the words of a search find.

    Parameters:
      q: the words, as `texts.query()` returns them.
      sort: `relevance`, `newest` or `popular`.
      offset: how many to leave out.
      limit: how many at most.
      locale: of the words, such as `de_CH`; empty if it is not known.
    """
    query = _filtered(filter)
    for word in q.split():
        tagged = GifTag.select(GifTag.gif).join(Tag).where(Tag.name.contains(word))
        query = query.where(Gif.title.contains(word) | Gif.id.in_(tagged))
    return _page(query, offset, limit)


def trending(filter: Filter = ANY, *, offset: int = 0, limit: int = 30) -> Found:
    """The GIFs that are used most now; the newest where nothing is used."""
    return _page(_filtered(filter), offset, limit)


def related(gif_id: str, filter: Filter = ANY, *, offset: int = 0, limit: int = 30) -> Found:
    """GIFs with the same tags as this one."""
    if not GIF_ID.fullmatch(gif_id):
        return Found([], 0, False)
    own = GifTag.select(GifTag.tag).where(GifTag.gif == gif_id)
    sharing = GifTag.select(GifTag.gif).where(GifTag.tag.in_(own))
    return _page(_filtered(filter).where(Gif.id.in_(sharing) & (Gif.id != gif_id)), offset, limit)


def _filtered(filter: Filter) -> peewee.Query:
    query = Gif.select().order_by(Gif.created_at.desc(), Gif.id.desc())
    if filter.tag:
        tagged = GifTag.select(GifTag.gif).join(Tag).where(Tag.name == filter.tag)
        query = query.where(Gif.id.in_(tagged))
    if filter.user:
        query = query.where(Gif.user == filter.user)
    if filter.ready:
        query = query.where(Gif.image.is_null(False))
    if "rating" in Gif._meta.fields and filter.ratings != ALL_RATINGS:
        query = query.where(Gif._meta.fields["rating"].in_(filter.ratings))
    return query


def _page(query: peewee.Query, offset: int, limit: int) -> Found:
    gifs = list(query.limit(limit + 1).offset(offset))
    total: Any = query.order_by().limit(1_001)
    return Found(gifs[:limit], total.count(), len(gifs) > limit)
