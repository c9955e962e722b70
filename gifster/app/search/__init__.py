"""Finds GIFs by words, and the words that people look for.

Plain synchronous functions, as in `lists`, with a database connection around them. docs/search.md
says how GIFs are found and ranked.
"""

from gifster.app.search.filters import ALL_RATINGS, Filter, Found
from gifster.app.search.finding import find, related, trending
from gifster.app.search.index import put, remove
from gifster.app.search.popularity import searched, used
from gifster.app.search.terms import categories, complete, suggestions, trending_terms

__all__ = [
    "ALL_RATINGS",
    "Filter",
    "Found",
    "categories",
    "complete",
    "find",
    "put",
    "related",
    "remove",
    "searched",
    "suggestions",
    "trending",
    "trending_terms",
    "used",
]
