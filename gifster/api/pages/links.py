"""The links from a page of a list to those before and after it.

A cursor leads forward alone, in any order of a list. So each link has the cursors of the pages on
the way there, and a page that somebody goes back to is the one that they came through.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

#: So many pages lead back one by one, and then to the first page. A link has some 40 bytes for
#: each.
MOST_BACK = 40
_BETWEEN = "~"


def page_links(
    asked: Mapping[str, str], cursor: str, way: str, following: str | None
) -> tuple[str | None, str | None]:
    """The queries of the page before this one, empty for the first page, and of the one after it;
    each None if there is no such page.

    Parameters:
      asked: what the list is of, such as `q`.
      cursor: of this page; empty for the first one.
      way: the cursors before it, from its own link.
      following: the cursor of the page after it.
    """
    query = {name: value for name, value in asked.items() if value}
    before = way.split(_BETWEEN) if way else []
    newer = older = None
    if cursor:
        newer = _encoded(query, before[-1] if before else "", before[:-1])
    if following:
        older = _encoded(query, following, [*before, cursor] if cursor else [])
    return newer, older


def _encoded(query: Mapping[str, str], cursor: str, before: list[str]) -> str:
    places = {"cursor": cursor, "way": _BETWEEN.join(before[-MOST_BACK:])}
    return urlencode({**query, **{name: value for name, value in places.items() if value}})
