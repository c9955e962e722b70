"""Keeps the index in order: fills it with the GIFs of an older release, adds what an older web
process left out during an upgrade, and puts the GIFs that are used most in front. A recurring job
calls it."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from peewee import EXCLUDED, Tuple, fn

from gifster.app.access import listed
from gifster.app.database import db
from gifster.app.models import Gif, now
from gifster.app.search.facts import facts, of_tag, ratio, stored_image
from gifster.app.search.index import folded, put, tags_of, terms_of, words_of
from gifster.app.search.tables import SearchEntry, SearchFill, SearchTag, SearchTerm
from gifster.jobs import transaction
from gifster.uploads.columns.rows import locked_row, readable

#: So many GIFs are put into the index in a transaction, and then others may write (seconds).
BATCH, PAUSE_S = 500, 0.02
#: A GIF without an entry is looked for so long after its upload.
LEFT_OUT = timedelta(hours=2)


def fill(until: Callable[[], bool] = lambda: False) -> int:
    """Put GIFs into the index that were there before it, the oldest first: SQLite fills its pages
    only in this order. Returns how many.

    Parameters:
      until: stop when it returns true; the next call goes on from there.
    """
    count = 0
    while not until():
        with transaction(db):
            place = SearchFill.get_or_none()
        if place is None:
            break
        count += _fill_batch(place)
        time.sleep(PAUSE_S)
    return count


def is_filled() -> bool:
    """Whether all GIFs of an older release are in the index."""
    return SearchFill.get_or_none() is None


def _fill_batch(place: SearchFill) -> int:
    # As rows: with OR in its place, SQLite reads the index from its beginning.
    newer = Tuple(Gif.created_at, Gif.id) > (place.created_at, place.gif_id)
    oldest_first = Gif.select().where(listed() & newer).order_by(Gif.created_at, Gif.id)
    gifs = readable(oldest_first.limit(BATCH))
    indexed = _indexed(gifs)
    new = [gif for gif in gifs if gif.id not in indexed]
    tags = tags_of(new)
    added = [_entry(gif, tags[gif.id], place.id + n) for n, gif in enumerate(new)]
    with transaction(db):
        if SearchFill.delete().where(SearchFill.id == place.id).execute() and gifs:
            last = gifs[-1]
            SearchFill.create(
                id=place.id + len(new),
                created_at=Gif.created_at.db_value(last.created_at),
                gif_id=last.id,
            )
            # Some may have been changed, hidden or deleted meanwhile.
            wanted = _still_listed(new) - _indexed(new)
            _add([entry for entry in added if entry["gif"] in wanted], tags)
    return len(gifs)


def _still_listed(gifs: Sequence[Gif]) -> set[str]:
    """The ids of those GIFs that lists may show now. Nobody hides one of them before the end of the
    transaction."""
    there: Any = Gif.select(Gif.id).where(Gif.id.in_([gif.id for gif in gifs]) & listed())
    there = there.order_by(Gif.id).for_update("FOR SHARE") if db.obj.for_update else there
    return {gif_id for (gif_id,) in there.tuples()}


def _indexed(gifs: Sequence[Gif]) -> set[str]:
    """The ids of those GIFs that have an entry."""
    there: Any = SearchEntry.select(SearchEntry.gif).where(
        SearchEntry.gif.in_([gif.id for gif in gifs])
    )
    return {gif_id for (gif_id,) in there.tuples()}


def _entry(gif: Gif, tags: Sequence[str], entry_id: int) -> dict[str, Any]:
    stored, known = stored_image(gif), " ".join(facts(gif, tags))
    words = words_of(gif, tags)
    return {"id": entry_id, "gif": gif.id, "words": words, "facts": known, "ratio": ratio(stored)}


def _add(new: Sequence[dict[str, Any]], tags: dict[str, list[str]]) -> None:
    """Insert entries and count their terms."""
    if not new:
        return
    SearchEntry.insert_many(new).on_conflict_ignore().execute()
    terms = Counter(term for entry in new for term in terms_of(entry["words"]))
    names = Counter(name for entry in new for name in tags[entry["gif"]])
    upsert(SearchTerm, SearchTerm.term, [
        {"term": term, "count": count} for term, count in sorted(terms.items())
    ])  # fmt: skip
    upsert(SearchTag, SearchTag.token, sorted((
        {"token": of_tag(name), "name": name, "folded": folded(name), "count": count}
        for name, count in names.items()
    ), key=lambda row: row["token"]))  # fmt: skip


def upsert(table: Any, key: Any, values: Sequence[dict[str, Any]]) -> None:
    """Insert terms or tags, and add the counts of those that are there already."""
    for at in range(0, len(values), BATCH):
        insert = table.insert_many(values[at : at + BATCH])
        insert.on_conflict(
            conflict_target=[key], preserve=(), update={table.count: table.count + EXCLUDED.count}
        ).execute()


def add_left_out() -> int:
    """Put the newest GIFs into the index that have no entry: a web process of the release before
    has added them. Returns how many."""
    without = ~fn.EXISTS(SearchEntry.select(SearchEntry.id).where(SearchEntry.gif == Gif.id))
    recent = Gif.select().where(listed() & (Gif.created_at > now() - LEFT_OUT) & without)
    gifs = readable(recent.order_by(Gif.created_at).limit(BATCH))
    for gif in gifs:
        with transaction(db):
            present = locked_row(gif)  # somebody may have hidden it, or deleted it, meanwhile
            if present is not None:
                put(present)
    return len(gifs)
