"""Counts how often GIFs are used and words are searched for, and forgets it by halves.

A count is kept as its logarithm, and what counts is weighted by its time: a use of today counts
twice as much as one of `HALF_LIFE_S` ago (G. Cormode and others, "Forward decay", 2009). So counts
of different times can be compared as they are, and no row changes only because time goes by.

Requests only count in memory. A thread writes that into the database every `WRITE_EVERY_S`, so a
process that is killed loses as much.
"""

import hashlib
import logging
import math
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TypeVar

from gifster import jobs
from gifster.app.database import db
from gifster.app.search import analyser, candidates
from gifster.app.search.expressions import any_of, term
from gifster.app.search.facts import SHELF, SHELVES
from gifster.app.search.tables import (
    SearchEntry,
    SearchQuery,
    SearchTerm,
    marks,
    rows,
    run,
)
from gifster.app.texts import GIF_ID
from gifster.jobs import transaction
from gifster.jobs.database_errors import is_database_error

_T = TypeVar("_T")

logger = logging.getLogger("gifster.search")

HALF_LIFE_S = 14 * 86_400
WRITE_EVERY_S = 15.0
#: In memory, until they are written: so many GIFs and searches, and so many counts of clients.
MOST_WAITING, MOST_CLIENTS = 5_000, 50_000
#: One client counts once in this time, for each GIF and each search.
CLIENT_S = 3600
#: So many searches are remembered.
MOST_QUERIES = 10_000
#: How many GIFs the shelf has (see `facts`).
SHELF_SIZE = 1_024
#: How long a process remembers whether any GIF is on the shelf (seconds).
LOOK_EVERY_S = 60.0
#: So many entries change in a transaction.
BATCH = 200


def now(moment: float | None = None) -> float:
    """What one use counts now, as a logarithm."""
    return (jobs.now() if moment is None else moment) / HALF_LIFE_S


def added(heat: float, count: float, at: float) -> float:
    """A count after so many more uses.

    Parameters:
      heat: the count before, as it is kept; 0 for none.
      at: what a use counts now.
    """
    before = 2 ** max(-1000.0, heat - at) if heat else 0.0
    return at + math.log2(before + count)


class Counts:
    """What has been counted in this process and is not in the database yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: Counter[str] = Counter()
        self._searched: Counter[str] = Counter()
        self._clients: set[bytes] = set()
        self._clients_since = time.monotonic()
        self._writer: threading.Thread | None = None
        #: Nobody else can tell from what is in memory who a client is.
        self._salt = secrets.token_bytes(16)

    def used(self, gif_id: str, client: str) -> None:
        """Count a use of a GIF."""
        self._count(self._used, gif_id, client)

    def searched(self, words: str, client: str) -> None:
        """Count a search."""
        self._count(self._searched, words, client)

    def _count(self, counter: Counter[str], what: str, client: str) -> None:
        mark = hashlib.blake2b(f"{client}\0{what}".encode(), key=self._salt, digest_size=8).digest()
        with self._lock:
            if time.monotonic() - self._clients_since > CLIENT_S:
                self._clients.clear()
                self._clients_since = time.monotonic()
            known = mark in self._clients or len(self._clients) >= MOST_CLIENTS
            if known or (what not in counter and len(counter) >= MOST_WAITING):
                return
            self._clients.add(mark)
            counter[what] += 1
            if self._writer is None or not self._writer.is_alive():
                self._writer = threading.Thread(
                    target=self._write_soon, daemon=True, name="popularity"
                )
                with suppress(RuntimeError):  # no more threads now: the next count tries again
                    self._writer.start()

    def _write_soon(self) -> None:
        time.sleep(WRITE_EVERY_S)
        with self._lock:
            self._writer = None  # the next count starts another one
        try:
            with db.connection_context():
                self.write()
        except Exception as error:
            if not is_database_error(error):
                raise
            logger.warning("counts of uses and searches are lost: %s", " ".join(str(error).split()))

    def write(self) -> None:
        """Write what has been counted."""
        with self._lock:
            used, self._used = self._used, Counter()
            searched, self._searched = self._searched, Counter()
        if used:
            _write_uses(used)
        if searched:
            _write_searches(searched)


COUNTS = Counts()


def used(gif_id: str, q: str = "", *, client: str = "") -> None:
    """Count that somebody shared or copied a GIF. It takes some microseconds, and needs no database
    connection.

    Parameters:
      q: the search that had found it.
      client: who; each counts once an hour. It is kept nowhere. All who are not named are one
        client.
    """
    if GIF_ID.fullmatch(gif_id):
        COUNTS.used(gif_id, client)
    if q:
        searched(q, client=client)


def lately(gif_id: str) -> int:
    """About how often a GIF is used now: a use of `HALF_LIFE_S` ago counts as half of one."""
    entry = SearchEntry.get_or_none(SearchEntry.gif == gif_id)
    return round(2 ** (entry.heat - now())) if entry is not None and entry.heat else 0


def searched(q: str, *, client: str = "") -> None:
    """Count a search that had results. Nobody can tell later who has searched.

    Parameters:
      client: as `used()` takes it.
    """
    words = " ".join(piece.word for piece in analyser.asked(q[:200]))
    if words and len(words) <= 200:
        COUNTS.searched(words, client)


def _write_uses(counts: Counter[str]) -> None:
    at = now()
    for some in _batches(sorted(counts)):
        with transaction(db):
            found = rows(
                f'SELECT "id", "gif_id", "heat" FROM "search_entry" '
                f'WHERE "gif_id" IN ({marks(len(some))}) ORDER BY "id"',
                *some,
            )
            for entry_id, gif_id, heat in found:
                more = added(heat, counts[gif_id], at)
                run('UPDATE "search_entry" SET "heat" = ? WHERE "id" = ?', more, entry_id)


def _write_searches(counts: Counter[str]) -> None:
    """Write the counts of searches whose words are all in titles, tags and texts that anybody may
    read. What only somebody has typed is shown to nobody else."""
    at = now()
    for some in _batches(sorted(counts)):
        public = public_words({word for words in some for word in words.split()})
        with transaction(db):
            before = dict(
                rows(
                    f'SELECT "words", "heat" FROM "search_query" WHERE "words" IN '
                    f"({marks(len(some))})",
                    *some,
                )
            )
            for words in some:
                if set(words.split()) <= public:
                    heat = added(before.get(words, 0), counts[words], at)
                    SearchQuery.insert(words=words, heat=heat).on_conflict(
                        conflict_target=[SearchQuery.words], update={SearchQuery.heat: heat}
                    ).execute()


def public_words(words: set[str]) -> set[str]:
    """Those of some words that the titles, tags and texts have that anybody may read now."""
    found = set()
    for some in _batches(sorted(words)):
        known: Any = SearchTerm.select(SearchTerm.term).where(SearchTerm.term.in_(some))
        found |= {term for (term,) in known.tuples()}
    return found


def forget_queries() -> int:
    """Forget the searches that are the least frequent now, if there are too many."""
    too_old = rows(
        'SELECT "heat" FROM "search_query" ORDER BY "heat" DESC LIMIT 1 OFFSET ?', MOST_QUERIES
    )
    if not too_old:
        return 0
    with transaction(db):
        return int(run('DELETE FROM "search_query" WHERE "heat" <= ?', too_old[0][0]).rowcount)


_shelf: tuple[bool, float] = (False, -math.inf)


def has_shelf() -> bool:
    """Whether any GIF is on the shelf. It is looked up once a minute."""
    global _shelf  # noqa: PLW0603 a guess that each process makes
    found, at = _shelf
    if time.monotonic() - at > LOOK_EVERY_S:
        found = bool(rows('SELECT 1 FROM "search_entry" WHERE "heat" > 0 LIMIT 1'))
        _shelf = found, time.monotonic()
    return found


def put_on_shelf() -> int:
    """Give the GIFs that are used most the fact that searches ask for first. Returns how many come
    or go."""
    order = 'SELECT "id" FROM "search_entry" WHERE "heat" > 0 ORDER BY "heat" DESC LIMIT ?'
    wanted = {entry_id: SHELF for (entry_id,) in rows(order, SHELF_SIZE)}
    there = {
        entry_id: next(fact for fact in reversed(facts.split()) if fact in SHELVES)
        for entry_id, facts in candidates.facts_of(any_of([term(shelf) for shelf in SHELVES]))
    }
    moved = sorted(i for i in wanted.keys() | there.keys() if wanted.get(i) != there.get(i))
    for some in _batches(moved):
        with transaction(db):
            for entry in (
                SearchEntry.select().where(SearchEntry.id.in_(some)).order_by(SearchEntry.id)
            ):
                facts = [fact for fact in entry.facts.split() if fact not in SHELVES]
                facts += [wanted[entry.id]] if entry.id in wanted else []
                SearchEntry.update(facts=" ".join(facts)).where(
                    SearchEntry.id == entry.id
                ).execute()
    global _shelf  # noqa: PLW0603 see above
    _shelf = False, -math.inf
    return len(moved)


def _batches(values: list[_T]) -> Iterator[list[_T]]:
    for at in range(0, len(values), BATCH):
        yield values[at : at + BATCH]
