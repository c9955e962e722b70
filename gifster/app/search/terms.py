"""The words that people may mean: completions, related words, and what is searched for."""

from typing import Any

import peewee
from peewee import SQL, fn

from gifster.app.models import Gif, GifTag, Tag


def complete(prefix: str, *, limit: int = 10, locale: str = "") -> list[str]:
    """Tags and terms that begin so, the most frequent first."""
    query = Tag.select(Tag.name).where(Tag.name.startswith(prefix.lower()))
    return _names(query.join(GifTag).group_by(Tag.name).order_by(fn.COUNT(SQL("*")).desc()), limit)


def suggestions(q: str, *, limit: int = 10, locale: str = "") -> list[str]:
    """Tags that occur together with the words of a search, the most frequent first."""
    other = GifTag.alias()
    name = Tag.alias()
    query = (
        GifTag.select(name.name)
        .join(Tag)
        .switch(GifTag)
        .join(other, on=(other.gif == GifTag.gif) & (other.tag != GifTag.tag))
        .join(name, on=(name.id == other.tag))
        .where(Tag.name.in_(q.lower().split()))
        .group_by(name.name)
    )
    return _names(query.order_by(fn.COUNT(SQL("*")).desc(), name.name), limit)


def trending_terms(*, limit: int = 10, locale: str = "") -> list[str]:
    """What people search for now, the most frequent first."""
    return [name for name, _ in categories(limit=limit)]


def categories(*, limit: int = 30) -> list[tuple[str, Gif]]:
    """The most frequent tags, each with a GIF."""
    count = fn.COUNT(SQL("*"))
    query = (
        GifTag.select(Tag.name, fn.MAX(GifTag.gif))
        .join(Tag)
        .group_by(Tag.name)
        .order_by(count.desc(), Tag.name)
        .limit(limit)
    )
    rows: list[Any] = list(query.tuples())
    gifs = {gif.id: gif for gif in Gif.select().where(Gif.id.in_([row[1] for row in rows]))}
    return [(name, gifs[gif_id]) for name, gif_id in rows if gif_id in gifs]


def _names(query: peewee.Query, limit: int) -> list[str]:
    return [name for (name,) in query.limit(limit).tuples()]
