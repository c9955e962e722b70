"""Walks through what a search finds: first the GIFs that have all of its words, then those that
have any.

Of each kind, some hundred candidates come first, ranked: the GIFs that are used most (those on the
shelf, see `popularity`) and the newest. The others follow, the newest first, so that a page far
behind costs no more than the first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gifster.app.search import candidates, popularity
from gifster.app.search.asking import Group, expression
from gifster.app.search.candidates import END, Candidate, Read
from gifster.app.search.expressions import Expression, but_not, term
from gifster.app.search.facts import SHELF, SHELVES, narrowed
from gifster.app.search.filters import Filter
from gifster.app.search.pool import Pool
from gifster.app.search.ranking import ranked

#: So many candidates are ranked, besides those on the shelf.
RANKED = 400
#: A place among them knows so many of those before it.
KNOWN = 3
SORTS = ("relevance", "newest", "popular")


@dataclass(frozen=True)
class Place:
    """Where a page begins.

    Parameters:
      words: "all" of the search, or "any".
      top: only older entries count, so that the pages of a search stay what they are while new
        GIFs come.
      ranked: how many of the ranked ones are on earlier pages.
      below: if not 0, all ranked ones are on earlier pages, and the newest one has a lower id.
      shelves: then, how many shelves the ranked ones came from.
      last: the ids of the last ranked ones on earlier pages. Of `ranked` some may be deleted since.
    """

    words: str = "all"
    top: int = END
    ranked: int = 0
    below: int = 0
    shelves: int = 0
    last: tuple[int, ...] = ()

    def start(self, best: Sequence[Candidate]) -> int:
        """How many of the ranked candidates are on earlier pages.

        Where the last ones are now tells how many before them have gone. One of them may also have
        moved: up, as it is used more, or far down, as it was edited.
        """
        at = {candidate.id: number for number, candidate in enumerate(best)}
        known = sorted(at[entry_id] for entry_id in self.last if entry_id in at)
        # If no others have gone
        expected = max(0, self.ranked - (len(self.last) - len(known)))
        if not known:
            return expected
        *others, last = known
        is_too_far = last >= expected + KNOWN
        if not others and is_too_far:
            return expected
        if others and last - others[-1] > KNOWN and (is_too_far or len(others) > 1):
            last = others[-1]
        return last + 1

    def behind(self, best: Sequence[Candidate], count: int) -> "Place":
        """The place behind so many of the ranked candidates."""
        last = best[max(0, count - KNOWN) : count]
        return replace(self, ranked=count, last=tuple(candidate.id for candidate in last))


@dataclass(frozen=True)
class Search:
    """What is searched for.

    Parameters:
      groups: what the words mean; empty for anything.
      filter: which GIFs may be found.
      sort: one of `SORTS`.
      without: the id of a GIF that is not found.
      alike: whether GIFs with many of the words are wanted, all or not.
      pool: the entries that are looked at; None for all of the index.
    """

    groups: Sequence[Group]
    filter: Filter
    sort: str
    without: str = ""
    alike: bool = False
    pool: Pool | None = None
    #: Those that have been looked at.
    heads: "dict[tuple[str, int], Head]" = field(default_factory=dict)

    def head(self, words: str, top: int) -> "Head":
        """The ranked candidates of a kind."""
        key = words, top
        if key not in self.heads:
            self.heads[key] = _head_of(self, words, top)
        return self.heads[key]

    def found_by(self, words: str) -> Expression:
        if not self.groups:
            return narrowed(None, self.filter)
        all_words = words == "all" and not self.alike
        wanted = narrowed(expression(self.groups, all_words=all_words), self.filter)
        if all_words or self.alike:
            return wanted
        return but_not(wanted, [expression(self.groups, all_words=True)])

    def likely(self, words: str) -> int:
        """About how many GIFs are found at most, as far as the words tell."""
        if not self.groups:
            return END
        counts = [group.count for group in self.groups]
        return min(counts) if words == "all" and not self.alike else sum(counts)

    def newest(self, found_by: Expression, below: int, most: int, words: str) -> Read:
        """Newest entries that an expression finds (`candidates.some_of_newest()`)."""
        if self.pool is not None:
            return self.pool.newest(found_by, below, most)
        enough = min(most, candidates.ENOUGH)
        return candidates.some_of_newest(found_by, below, most, self.likely(words), enough)

    def passes(self, found: Candidate) -> bool:
        """Whether a candidate passes what the index does not know."""
        low, high = self.filter.min_ratio, self.filter.max_ratio
        fits = self.takes_any_shape or low <= found.ratio <= high
        return fits and found.gif_id != self.without

    @property
    def takes_any_shape(self) -> bool:
        return (self.filter.min_ratio, self.filter.max_ratio) == (0, math.inf)

    def after(self, place: Place, is_empty: bool) -> Place | None:
        """Where the next page begins after the last GIF of a kind; None after the last kind.

        Parameters:
          is_empty: whether no GIF was of that kind.
        """
        has_any = place.words == "all" and len(self.groups) > 1 and not self.alike
        if has_any and (self.sort == "relevance" or is_empty):
            return Place("any", place.top)
        return None


@dataclass(frozen=True)
class Head:
    """The candidates that are ranked, the best first, and where the others begin.

    Parameters:
      below: 0 if there are no others.
      shelves: how many shelves have been looked at.
    """

    best: list[Candidate]
    below: int
    shelves: int

    def total(self, top: int) -> int:
        """How many GIFs are found, of those with an id below `top`. If there are others than the
        candidates, they are taken to be as frequent."""
        if not self.below:
            return len(self.best)
        return len(self.best) * top // max(1, top - self.below)


def _head_of(search: Search, words: str, top: int) -> Head:
    """The ranked candidates of a search."""
    if search.sort == "newest":
        return Head([], top, 0)
    found_by = search.found_by(words)
    used: list[Candidate] = []
    shelves = 0
    is_large = search.pool is None and search.likely(words) > RANKED
    if is_large and popularity.has_shelf():
        used = candidates.on_shelf(SHELF, popularity.SHELF_SIZE, found_by, top)
        shelves = 1
    newest, below = search.newest(_others(found_by, shelves), top, RANKED, words)
    kept = [found for found in [*used, *newest] if search.passes(found)]
    groups = search.groups if search.sort == "relevance" else ()
    best = ranked(kept, groups, top, popularity.now())
    return Head(best, below, shelves)


def _others(found_by: Expression, shelves: int) -> Expression:
    """Those that are not on the first shelves."""
    return but_not(found_by, [term(shelf) for shelf in SHELVES[:shelves]])


def walk(search: Search, place: Place, limit: int) -> tuple[list[Candidate], Place | None]:
    """A page of a search, and where the next one begins; None after the last one.

    Parameters:
      limit: how many at most.
    """
    found: list[Candidate] = []
    following: Place | None = place
    while following is not None and len(found) < limit:
        place, missing = following, limit - len(found)
        if not place.below:
            head = search.head(place.words, place.top)
            start = place.start(head.best)
            some = head.best[start : start + missing]
            following = place.behind(head.best, start + len(some))
            # More than there are: some have been deleted since, or somebody made the cursor up.
            if following.ranked >= len(head.best):
                following = _behind(search, following, head)
        else:
            some, following = _tail(search, place, missing)
        found += some
    return found, following


def _behind(search: Search, place: Place, head: Head) -> Place | None:
    """The place behind the ranked candidates."""
    if head.below:
        return replace(place, below=head.below, shelves=head.shelves, last=())
    return search.after(place, not head.best)


def _tail(search: Search, place: Place, limit: int) -> tuple[list[Candidate], Place | None]:
    """The next ones that are not ranked, and what comes after them. If few have the shape that the
    filter asks for, there may be fewer than `limit`."""
    rest = _others(search.found_by(place.words), place.shelves)
    most = limit if search.takes_any_shape else limit + 100
    read, end = search.newest(rest, place.below, most, place.words)
    is_empty = not read and place.below == place.top
    found: list[Candidate] = []
    for candidate in read:
        place = replace(place, below=candidate.id)
        found += [candidate] if search.passes(candidate) else []
        if len(found) == limit:
            return found, place
    return found, replace(place, below=end) if end else search.after(place, is_empty)
