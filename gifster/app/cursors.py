"""Pages of lists that are ordered by a moment, the newest first, and their cursors.

A cursor names the last item of a page: when it was, and its id. So GIFs that come or go between two
pages do no harm.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, TypeVar

from peewee import Tuple

from gifster.app.errors import BadQuery
from gifster.app.texts import GIF_ID
from gifster.jobs.wording import wrong
from gifster.uploads.columns.rows import loaded, read_or_logged

MAX_LIMIT = 100
#: What a database's largest integer can hold.
_MAX_MOMENT = 2**63 - 1
_CURSOR = re.compile(rf"([0-9]{{1,19}})\.({GIF_ID.pattern})")

T = TypeVar("T")


def check_limit(limit: int) -> None:
    """Raise `BadQuery` unless a list may have so many items."""
    if not 1 <= limit <= MAX_LIMIT:
        raise BadQuery("limit_invalid", wrong("limit", limit, f"1 to {MAX_LIMIT}"))


def write_cursor(moment: int, gif_id: str) -> str:
    """The cursor of the page after this item.

    Parameters:
      moment: as the database has it.
    """
    return base64.urlsafe_b64encode(f"{moment}.{gif_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[int, str]:
    """The moment and the id in a cursor; raises `BadQuery` for one that no page came with."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars="-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    found = _CURSOR.fullmatch(text)
    if found is None or int(found[1]) > _MAX_MOMENT:
        raise bad_cursor(cursor)
    return int(found[1]), found[2]


def bad_cursor(cursor: str) -> BadQuery:
    """The error about a cursor that no page came with."""
    return BadQuery("cursor_invalid", wrong("cursor", cursor, "`next` of the page before"))


def newest_page(
    query: Any, moment: Any, its_id: Any, cursor: str, limit: int
) -> tuple[list[Any], str | None]:
    """A page of the records of a query, the newest first, and the cursor of the next page; None on
    the last page.

    A record that cannot be read, as its JSON is damaged, is left out and logged. It has its place:
    the next page begins after it.

    Parameters:
      moment, its_id: the columns of the query's model.

    Raises:
      BadQuery: the limit or the cursor is invalid.
    """
    check_limit(limit)
    found = loaded(newest_first(query, moment, its_id, cursor, limit + 1))
    return page_of(found, limit, moment, its_id)


def page_of(
    found: list[tuple[Any, Any]], limit: int, place: Any, its_id: Any
) -> tuple[list[Any], str | None]:
    """The records of a page that can be read, and the cursor of the next page; None on the last
    page. The log names the others.

    Parameters:
      found: what `loaded()` found for the page, and one more if there is one.
      place, its_id: the columns of the order.
    """
    model = place.model
    shown = read_or_logged(model, found[:limit])
    if len(found) <= limit:
        return shown, None
    pk, last = found[limit - 1]
    if isinstance(last, Exception):
        here = model._meta.primary_key == pk
        last = model.select(place, its_id).where(here).get()
    return shown, write_cursor(
        place.db_value(last.__data__[place.name]), last.__data__[its_id.name]
    )


def newest_first(query: Any, moment: Any, its_id: Any, cursor: str, most: int) -> Any:
    """A query with an order and a limit, and from a cursor on.

    Parameters:
      moment, its_id: the columns.
      most: how many rows.
    """
    if cursor:
        # As rows: with OR in its place, SQLite reads the index from its beginning.
        query = query.where(Tuple(moment, its_id) < read_cursor(cursor))
    return query.order_by(moment.desc(), its_id.desc()).limit(most)


def page(
    items: list[T], limit: int, key: Callable[[T], tuple[int, str]]
) -> tuple[list[T], str | None]:
    """The items of a page, and the cursor of the next one; None on the last page.

    Parameters:
      items: those of the page, and one more if there is one.
      key: the moment and the id of an item.
    """
    if len(items) <= limit:
        return items, None
    return items[:limit], write_cursor(*key(items[limit - 1]))
