"""Finds GIFs, a page at a time."""

import base64
import binascii
import functools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gifster.app.access import listed
from gifster.app.damaged_text import whole
from gifster.app.models import Gif
from gifster.app.search import candidates
from gifster.app.search.asking import Group, meant, one_each
from gifster.app.search.candidates import Candidate
from gifster.app.search.filters import Filter, Found
from gifster.app.search.index import BAR
from gifster.app.search.pool import Pool
from gifster.app.search.tables import SearchEntry
from gifster.app.search.walking import RANKED, Place, Search, walk
from gifster.jobs.statements import Statement
from gifster.uploads.columns.rows import loaded_by, read_or_logged

ANY = Filter()
#: A page that is further behind begins here.
MOST_OFFSET = 5_000
#: So many words make GIFs related.
COMMON_WORDS = 8
#: A cursor has the fields of its place.
_CURSOR = re.compile(
    r"(all|any)\.([0-9]{1,18})\.([0-9]{1,5})\.([0-9]{1,18})\.([0-3])((?:\.[0-9]{1,18}){0,3})"
)


def find(  # noqa: PLR0913 each narrows the search
    q: str,
    filter: Filter = ANY,
    *,
    sort: str = "relevance",
    offset: int = 0,
    limit: int = 30,
    locale: str = "",
    cursor: str = "",
) -> Found:
    """The GIFs that a search finds.

    Parameters:
      q: the words, as `texts.query()` returns them. If it is empty, all GIFs are found.
      sort: one of `SORTS`.
      offset: how many to leave out, up to `MOST_OFFSET`.
      limit: how many at most.
      locale: of the words, such as `de_CH`; empty if it is not known.
      cursor: in the place of an offset, that of the page before (`Found`). GIFs that come or go
        between the two move no other.

    Raises:
      ValueError: the cursor is invalid.
    """
    groups = meant(q, locale)
    if q.strip() and not groups:
        return Found([], 0)
    return _found(Search(groups, filter, sort), offset, limit, cursor)


def page(  # noqa: PLR0913 each narrows the search
    q: str,
    filter: Filter,
    *,
    sort: str,
    cursor: str,
    limit: int,
    locale: str = "",
    among: Sequence[str] | None = None,
) -> tuple[list[Gif], str | None]:
    """A page of a search, and the cursor of the next one; None on the last page.

    Parameters:
      among: the ids of the GIFs that may be found, some thousands at most; None for any.
      cursor: the one of the page before; empty for the first page. GIFs that come or go between
        the two move no other.

    Raises:
      ValueError: the cursor is invalid.
    """
    place = _place(cursor)
    groups = meant(q, locale)
    if q.strip() and not groups:
        return [], None
    pool = None if among is None else Pool(among)
    search = Search(groups, filter, sort, pool=pool)
    found, following = walk(search, place, limit)
    return gifs_of(found, filter.ratings), _cursor(search, following) or None


def _place(cursor: str) -> Place:
    """Where a page begins."""
    return read_cursor(cursor) if cursor else Place(top=candidates.newest_id() + 1)


def _cursor(search: Search, following: Place | None) -> str:
    """The cursor of the next page; empty if there is none."""
    if following is None or not walk(search, following, 1)[0]:
        return ""
    return write_cursor(following)


def write_cursor(place: Place) -> str:
    """A place as a cursor."""
    fields = (place.words, place.top, place.ranked, place.below, place.shelves, *place.last)
    return base64.urlsafe_b64encode(".".join(map(str, fields)).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Place:
    """The place of a cursor.

    Raises:
      ValueError: it is none of `write_cursor()`.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars="-_", validate=True).decode("ascii")
    except binascii.Error:
        text = ""
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise ValueError(cursor)
    words, top, ranked, below, shelves, last = found.groups()
    known = tuple(map(int, last.split(".")[1:]))
    return Place(words, int(top), int(ranked), int(below), int(shelves), known)


def _found(search: Search, offset: int, limit: int, cursor: str = "") -> Found:
    place, offset = _place(cursor), 0 if cursor else min(offset, MOST_OFFSET)
    found, following = walk(search, place, offset + limit)
    gifs = gifs_of(found[offset:], search.filter.ratings)
    total = max(_total(search, place.top), len(found))
    return Found(gifs, total, _cursor(search, following))


def _total(search: Search, top: int) -> int:
    ranked = replace(search, sort="relevance", heads={}) if search.sort == "newest" else search
    total = ranked.head("all", top).total(top)
    if total < RANKED and ranked.after(Place(), not total) is not None:
        total += ranked.head("any", top).total(top)
    return total


def trending(filter: Filter = ANY, *, offset: int = 0, limit: int = 30, cursor: str = "") -> Found:
    """The GIFs that are used most now, then the newest. The parameters are those of `find()`."""
    return _found(Search((), filter, "popular"), offset, limit, cursor)


def related(gif_id: str, filter: Filter = ANY, *, offset: int = 0, limit: int = 30) -> Found:
    """GIFs that have the rarest words in common with this one."""
    groups = _rarest_words(gif_id)
    if not groups:
        return Found([], 0)
    return _found(Search(groups, filter, "relevance", gif_id, alike=True), offset, limit)


def _rarest_words(gif_id: str) -> list[Group]:
    entry = SearchEntry.get_or_none(SearchEntry.gif == gif_id)
    if entry is None:
        return []
    # An entry that is damaged may have fewer parts.
    title, tags, *_ = [*entry.words.split(BAR), "", ""]
    groups = one_each([*dict.fromkeys([*tags.split(), *title.split()])])
    shared = [group for group in groups if group.count > 1]
    return sorted(shared, key=lambda group: group.count)[:COMMON_WORDS]


def gifs_of(found: Sequence[Candidate], ratings: frozenset[str]) -> list[Gif]:
    """The GIFs of some candidates, in their order, without those that cannot be read.

    Parameters:
      ratings: those that are allowed. The index does not know that a rating which is none of ours
        counts as the highest.
    """
    ids = whole(candidate.gif_id for candidate in found)
    gifs = {gif.id: gif for gif in _read(ids) if gif.rating in ratings} if ids else {}
    return [gifs[gif_id] for gif_id in ids if gif_id in gifs]


def _read(ids: list[str]) -> list[Gif]:
    named = {f"id_{number}": gif_id for number, gif_id in enumerate(ids)}
    found = loaded_by(_with_ids(len(ids)), lambda: _listed_among(ids), **named)
    return read_or_logged(Gif, found)


def _listed_among(ids: list[str]) -> Any:
    return Gif.select().where(Gif.id.in_(ids) & listed())


@functools.lru_cache(128)
def _with_ids(count: int) -> Statement:
    return Statement(
        lambda **ids: _listed_among(list(ids.values())),
        [f"id_{number}" for number in range(count)],
    )
