"""Finds GIFs by words, and the words that people look for.

Plain synchronous functions, as in `lists`, with a database connection around them. docs/search.md
says how GIFs are found and ranked.
"""

from gifster.app.search.asking import corrected
from gifster.app.search.filters import ALL_RATINGS, KINDS, Filter, Found
from gifster.app.search.finding import find, page, related, trending
from gifster.app.search.index import put, remove
from gifster.app.search.popularity import lately, searched, used
from gifster.app.search.terms import (
    categories,
    complete,
    frequent_tags,
    suggestions,
    trending_terms,
)
from gifster.app.search.upkeep import is_filled
from gifster.app.search.walking import SORTS

__all__ = [
    "ALL_RATINGS",
    "KINDS",
    "SORTS",
    "Filter",
    "Found",
    "categories",
    "complete",
    "corrected",
    "find",
    "frequent_tags",
    "is_filled",
    "lately",
    "page",
    "put",
    "related",
    "remove",
    "searched",
    "suggestions",
    "trending",
    "trending_terms",
    "used",
]
