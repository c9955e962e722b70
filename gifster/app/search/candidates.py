"""Reads entries that an expression finds, the newest first, on SQLite and PostgreSQL.

The cost does not grow with the number of hits. FTS5 walks the hits in the order of their ids and
stops. A GIN index gives all hits at once, so PostgreSQL is asked for those in the newest blocks of
ids, and then, if they are too few, for those in as many older ones as are needed.

Several frequent words that seldom go together would take either database through all of its index.
So both stop after a part of it, if they have found enough to begin with.
"""

from typing import NamedTuple

from gifster.app.search.expressions import (
    Expression,
    any_of,
    every,
    for_fts5,
    for_postgresql,
    matcher,
    term,
)
from gifster.app.search.tables import is_postgresql, rows

#: A block of PostgreSQL's has so many ids (see migration 0014).
BLOCK_BITS = 12
#: Up to so many hits, or three times as many as are wanted, are read at once.
FEW = 500
#: So many hits are enough to stop at the end of a window. A page of the gallery has 30.
ENOUGH = 50
#: A window of PostgreSQL's has so many blocks at most. With more it takes as long as all of the
#: index: each block is a word that is looked up for each hit.
MOST_BLOCKS = 32
#: SQLite looks at this part of all ids first.
PART = 4

END = 2**62


class Candidate(NamedTuple):
    """An entry, as it is ranked."""

    id: int
    gif_id: str
    words: str
    ratio: float
    heat: float


class Read(NamedTuple):
    """Entries that were found, and how far the index was read.

    Parameters:
      found: the newest first.
      end: entries with a lower id have not been looked at; 0 if there are none.
    """

    found: list[Candidate]
    end: int


def newest(found_by: Expression, below: int, most: int, likely: int) -> list[Candidate]:
    """The entries that an expression finds, the newest first.

    Parameters:
      below: only those with a lower id.
      most: how many at most.
      likely: about how many there are at most.
    """
    return some_of_newest(found_by, below, most, likely, enough=most).found


def some_of_newest(found_by: Expression, below: int, most: int, likely: int, enough: int) -> Read:
    """The same, but perhaps not all of them.

    Parameters:
      enough: if so many have been found, those that would take long to find may be left out.
    """
    top = newest_id() + 1 if below == END else below
    part = MOST_BLOCKS << BLOCK_BITS if is_postgresql() else top // PART
    found: list[Candidate] = []
    bottom, size = top, _first_window(top, most, likely)
    while bottom and len(found) < most and (len(found) < enough or top - bottom < part):
        low = _block_below(bottom, size)
        found += _between(found_by, low, bottom, most - len(found))
        bottom = low
        size = _next_window(top, bottom, len(found), most, enough)
    return Read(found, found[-1].id if len(found) == most else bottom)


def _first_window(top: int, most: int, likely: int) -> int:
    """How many ids to look at first."""
    if likely <= max(FEW, 3 * most):
        return top
    if not is_postgresql():
        return top // PART
    # As large as it must be if hits are spread evenly; the newest block is seldom full.
    return max(1, min(most * top // likely, MOST_BLOCKS << BLOCK_BITS))


def _next_window(top: int, bottom: int, found: int, most: int, enough: int) -> int:
    """How many ids to look at next, now that it is known how frequent hits really are: of two
    words, few GIFs may have both."""
    size = MOST_BLOCKS << BLOCK_BITS
    if not is_postgresql() or found * (top - bottom + size) // (top - bottom) < enough:
        return bottom
    missing = most - found
    return min(missing * (top - bottom) // found * 5 // 4, size)


def _block_below(top: int, count: int) -> int:
    """The first id of a block, with at least so many ids from there to below `top`."""
    return max(0, (top - count) >> BLOCK_BITS << BLOCK_BITS)


#: As in migration 0014.
LEXEMES = (
    "array_to_tsvector(string_to_array("
    "\"words\" || ' ' || \"facts\" || ' _w' || (\"id\" >> 12)::text, ' '))"
)


def _between(found_by: Expression, bottom: int, top: int, most: int) -> list[Candidate]:
    """The newest entries with ids from `bottom` to below `top`."""
    if not is_postgresql():
        sql = (
            "SELECT e.id, e.gif_id, e.words, e.ratio, e.heat FROM "
            "(SELECT rowid FROM search_fts WHERE search_fts MATCH ? AND rowid >= ? AND rowid < ? "
            "ORDER BY rowid DESC LIMIT ?) AS f JOIN search_entry AS e ON e.id = f.rowid "
            "ORDER BY e.id DESC"
        )
        return [Candidate(*row) for row in rows(sql, for_fts5(found_by), bottom, top, most)]
    # A condition of its own: in one expression, each id of the blocks would be looked up.
    wanted = [found_by]
    if bottom:
        blocks = range(bottom >> BLOCK_BITS, ((top - 1) >> BLOCK_BITS) + 1)
        wanted.append(any_of([term(f"_w{block}") for block in blocks]))
    # Without OFFSET 0 the planner may read all entries in the order of their ids, and without the
    # sum all of the index of their ids. If it knew the query, it would look into its statistics of
    # all words, for longer than the search takes.
    matched = " AND ".join([f"({LEXEMES}) @@ (SELECT ?::tsquery)"] * len(wanted))
    sql = (
        'SELECT id, gif_id, words, ratio, heat FROM (SELECT * FROM "search_entry" '
        f"WHERE {matched} AND id + 0 < ? OFFSET 0) AS found ORDER BY id DESC LIMIT ?"
    )
    return [Candidate(*row) for row in rows(sql, *map(for_postgresql, wanted), top, most)]


def on_shelf(shelf: str, size: int, found_by: Expression, below: int) -> list[Candidate]:
    """The entries on a shelf that an expression finds.

    Parameters:
      size: how many the shelf has, and those before it.
      below: only those with a lower id.
    """
    found_by = every([term(shelf), found_by])
    # They lie all over the index, which is slower than to look at each.
    hottest = 'SELECT * FROM "search_entry" WHERE heat > 0 ORDER BY heat DESC LIMIT ?'
    if not is_postgresql():
        matches = matcher(found_by)
        sql = f"SELECT id, gif_id, words, ratio, heat, facts FROM ({hottest}) WHERE id < ?"
        read = rows(f"{sql} ORDER BY id DESC", size, below)
        return [Candidate(*row) for *row, facts in read if matches(f" {row[2]} {facts} ")]
    sql = (
        f"SELECT id, gif_id, words, ratio, heat FROM ({hottest}) AS used "
        f"WHERE ({LEXEMES}) @@ (SELECT ?::tsquery) AND id < ? ORDER BY id DESC"
    )
    return [Candidate(*row) for row in rows(sql, size, for_postgresql(found_by), below)]


def newest_id() -> int:
    """The highest id that any entry has; 0 of none."""
    return int(rows('SELECT coalesce(max("id"), 0) FROM "search_entry"')[0][0])


def by_heat(most: int, offset: int = 0) -> list[Candidate]:
    """The entries that are used most now."""
    sql = (
        'SELECT "id", "gif_id", "words", "ratio", "heat" FROM "search_entry" WHERE "heat" > 0 '
        'ORDER BY "heat" DESC LIMIT ? OFFSET ?'
    )
    return [Candidate(*row) for row in rows(sql, most, offset)]


def facts_of(found_by: Expression) -> list[tuple[int, str]]:
    """The id and the facts of all entries that an expression finds."""
    if is_postgresql():
        where, value = f"({LEXEMES}) @@ ?::tsquery", for_postgresql(found_by)
    else:
        where = '"id" IN (SELECT rowid FROM search_fts WHERE search_fts MATCH ?)'
        value = for_fts5(found_by)
    return rows(f'SELECT "id", "facts" FROM "search_entry" WHERE {where}', value)
