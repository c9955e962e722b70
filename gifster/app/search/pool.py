"""The entries of some GIFs that a search looks at alone, such as those of a collection.

They are few, so they are read and matched here. A database would look up their words in all of the
index first, which takes FTS5 seconds for frequent ones.
"""

from collections.abc import Sequence
from functools import cached_property

from gifster.app.search.candidates import Candidate, Read
from gifster.app.search.expressions import Expression, matcher
from gifster.app.search.tables import is_postgresql, marks, rows

#: Of so many SQLite takes the values at once.
AT_ONCE = 500


class Pool:
    """The entries of some GIFs.

    Parameters:
      gif_ids: their ids, some thousands at most. GIFs that lists do not show have no entry.
    """

    def __init__(self, gif_ids: Sequence[str]) -> None:
        self._gif_ids = gif_ids

    def newest(self, found_by: Expression, below: int, most: int) -> Read:
        """Those that an expression finds, the newest first.

        Parameters:
          below: only those with a lower id.
          most: how many at most.
        """
        found: list[Candidate] = []
        matches = matcher(found_by)
        for candidate, words in self._entries:
            if candidate.id < below and matches(words):
                found.append(candidate)
                if len(found) == most:
                    return Read(found, candidate.id)
        return Read(found, 0)

    @cached_property
    def _entries(self) -> list[tuple[Candidate, str]]:
        select = (
            'SELECT "id", "gif_id", "words", "ratio", "heat", "facts" FROM "search_entry" '
            'WHERE "gif_id" '
        )
        if is_postgresql():
            # A list of them takes psycopg 4 ms longer.
            read = rows(f"{select} = ANY(string_to_array(?, ' '))", " ".join(self._gif_ids))
        else:
            read = []
            for at in range(0, len(self._gif_ids), AT_ONCE):
                some = self._gif_ids[at : at + AT_ONCE]
                read += rows(f"{select} IN ({marks(len(some))})", *some)
        read.sort(reverse=True)
        return [(Candidate(*row), f" {row[2]} {facts} ") for *row, facts in read]
