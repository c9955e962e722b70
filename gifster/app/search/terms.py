"""The words that people may mean: completions, related words, and what is searched for."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from gifster.app.models import Gif
from gifster.app.search import analyser, candidates, popularity
from gifster.app.search.asking import Group, beginning, meant
from gifster.app.search.filters import Filter
from gifster.app.search.finding import gifs_of
from gifster.app.search.index import tag_rows, terms_of
from gifster.app.search.tables import rows
from gifster.app.search.walking import RANKED, Place, Search, walk

#: The tags of so many GIFs are counted for suggestions.
LOOKED_AT = 60
#: A search is trending if it has so many counts, after what has been forgotten.
TRENDING = 2.5
_LAST = "\U0010ffff"


def complete(prefix: str, *, limit: int = 10, locale: str = "") -> list[str]:
    """What people may be going to type: frequent searches, tags and words that begin so.

    Parameters:
      prefix: what has been typed. Only its last word is completed to a word; a search or a tag
        begins with all of it.
      locale: not used yet; clients send it.
    """
    pieces = analyser.asked(prefix)
    if not pieces:
        return []
    start = " ".join(piece.word for piece in pieces)
    # The index has no words of scripts without spaces, and emoji are complete.
    words = [] if pieces[-1].exact else _words(prefix, pieces[-1].word, limit, locale)
    found = dict.fromkeys([*_searches(start, limit), *_tags(start, limit), *words])
    return list(found)[:limit]


def _words(prefix: str, last: str, limit: int, locale: str) -> list[str]:
    """What has been typed, with its last word completed. The words before it are those that have
    been typed, without their typing errors. Each completion finds some GIF.

    Parameters:
      last: the last word, as the index has it.
    """
    before = [word for word in prefix.split() if analyser.asked(word)][:-1]
    if not before:
        return [word for word, _ in beginning(last, limit)]
    *groups, _ = meant(prefix, locale)
    for group in groups:
        before = [group.spelt if word.casefold() == group.word else word for word in before]
    all_groups = [*groups, Group(last, dict.fromkeys([w for w, _ in beginning(last)], 1.0))]
    search = Search(all_groups, Filter(), "newest")
    if not all(group.forms for group in all_groups):
        return []
    newest = candidates.newest(search.found_by("all"), candidates.END, RANKED, RANKED)
    counts = Counter(
        word for one in newest for word in terms_of(one.words) if word.startswith(last)
    )
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:limit]
    return [" ".join([*before, word]) for word in frequent]


def _searches(start: str, limit: int) -> list[str]:
    least = popularity.added(0, TRENDING, popularity.now())
    sql = (
        'SELECT "words" FROM "search_query" WHERE "words" >= ? AND "words" < ? AND "heat" >= ? '
        'ORDER BY "heat" DESC LIMIT ?'
    )
    return _still_public(words for (words,) in rows(sql, start, start + _LAST, least, limit))


def _still_public(searches: Iterable[str]) -> list[str]:
    """The searches all of whose words can still be read in the library. A GIF may have become
    private, or a moderator may have hidden it, since somebody searched for it."""
    counted = list(searches)
    public = popularity.public_words({word for words in counted for word in words.split()})
    return [words for words in counted if public.issuperset(words.split())]


def _tags(start: str, limit: int) -> list[str]:
    sql = (
        'SELECT "name" FROM "search_tag" WHERE "folded" >= ? AND "folded" < ? '
        'ORDER BY "count" DESC, "name" LIMIT ?'
    )
    return [name for (name,) in rows(sql, start, start + _LAST, limit)]


def suggestions(q: str, *, limit: int = 10, locale: str = "") -> list[str]:
    """The tags that the best GIFs of a search have, the most frequent first."""
    groups = meant(q, locale)
    if not groups:
        return []
    found, _ = walk(Search(groups, Filter(), "relevance"), Place(), LOOKED_AT)
    tags = [name for _, name in tag_rows([each.gif_id for each in found])]
    asked = {form for group in groups for form in group.forms}
    counts = Counter(name for name in tags if not asked >= set(analyser.words(name)))
    return [name for name, _ in sorted(counts.items(), key=lambda c: (-c[1], c[0]))][:limit]


def trending_terms(*, limit: int = 10, locale: str = "") -> list[str]:
    """What people search for now, then the most frequent tags."""
    least = popularity.added(0, TRENDING, popularity.now())
    sql = 'SELECT "words" FROM "search_query" WHERE "heat" >= ? ORDER BY "heat" DESC LIMIT ?'
    searches = _still_public(words for (words,) in rows(sql, least, limit))
    return list(dict.fromkeys([*searches, *(name for name, _ in frequent_tags(limit))]))[:limit]


def frequent_tags(limit: int, offset: int = 0) -> list[tuple[str, int]]:
    """The most frequent tags, each with the number of its GIFs; above 64 it is estimated."""
    sql = 'SELECT "name", "count" FROM "search_tag" ORDER BY "count" DESC, "name" LIMIT ? OFFSET ?'
    return rows(sql, limit, offset)


def categories(filter: Filter, *, limit: int = 30, offset: int = 0) -> list[tuple[str, Gif]]:
    """The most frequent tags, each with its newest GIF that passes a filter; without the tags that
    have none."""
    found = []
    for name, count in frequent_tags(limit, offset):
        search = Search((), replace(filter, tag=name), "newest")
        some = candidates.newest(search.found_by("all"), candidates.END, 1, count)
        found += [(name, one) for one in some]
    gifs = {gif.id: gif for gif in gifs_of([one for _, one in found], filter.ratings)}
    return [(name, gifs[one.gif_id]) for name, one in found if one.gif_id in gifs]
