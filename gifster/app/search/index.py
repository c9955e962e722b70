"""Writes what GIFs are found by, in the transaction of their rows.

The words of an entry are those of the title, then of the tags, then of other texts, with a bar
between these parts.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from gifster.app import models
from gifster.app.models import Gif, GifTag, Tag
from gifster.app.search import analyser
from gifster.app.search.facts import OF_TAG, SHELVES, facts, kinds, of_tag, ratio, stored_image
from gifster.app.search.tables import SearchEntry, SearchTag, SearchTerm, marks, rows, run
from gifster.app.texts import Visibility
from gifster.jobs.statements import Statement, for_each_length
from gifster.uploads import StoredFile
from gifster.uploads.columns.rows import rows_of_each

BAR = "|"
#: Up to this count terms are counted exactly, and above it by chance (see `_by_chance`).
EXACT = 64
#: So many of the first words of a text count.
MOST_WORDS = 200


def put(gif: Gif, tags: Sequence[str] | None = None, *, is_new: bool = False) -> None:
    """Let a GIF be found by its present texts, tags and image, or not at all if lists may not show
    it. To be called in the transaction that changes any of them.

    Parameters:
      tags: None for those that it has in the database.
      is_new: whether this transaction has inserted it.
    """
    former = None if is_new else _entry_of(gif.id)
    if not is_listed(gif):
        if former is not None:
            _remove(former)
        return
    if tags is None:
        tags = tags_of([gif])[gif.id]
    words, known, stored = words_of(gif, tags), facts(gif, tags), stored_image(gif)
    named = dict(zip(map(of_tag, tags), tags, strict=True))
    if former is None:
        _ADD.execute(gif=gif.id, words=words, facts=" ".join(known), ratio=ratio(stored))
        _count(Counter(terms_of(words)), Counter(list(named)), named)
        return
    entry_id, former_words, former_facts = former
    known += [shelf for shelf in SHELVES if shelf in former_facts.split()]
    _CHANGE.execute(words=words, facts=" ".join(known), ratio=ratio(stored), id=entry_id)
    _count(
        _difference(terms_of(former_words), terms_of(words)),
        _difference(_tags_in(former_facts), named),
        named,
    )


def put_image(gif_id: str, stored: StoredFile) -> None:
    """Let a GIF be found by the image that has just been stored. To be called in that
    transaction."""
    former = _entry_of(gif_id)
    if former is None:
        return
    entry_id, words, former_facts = former
    rating, *others = former_facts.split()
    known = [rating, *kinds(stored), *(fact for fact in others if not fact.startswith("_k"))]
    _CHANGE.execute(words=words, facts=" ".join(known), ratio=ratio(stored), id=entry_id)


models.index_image = put_image


def remove(gif_id: str) -> None:
    """Let a GIF be found no more. To be called in the transaction that deletes or hides it."""
    former = _entry_of(gif_id)
    if former is not None:
        _remove(former)


def is_listed(gif: Gif) -> bool:
    """Whether lists and searches may show a GIF: what `access.listed()` is for rows."""
    return gif.visibility == Visibility.PUBLIC and gif.trashed_at is None


def words_of(gif: Gif, tags: Iterable[str]) -> str:
    """The words of a GIF's entry."""
    of_tags = [word for tag in tags for word in analyser.words(tag)]
    parts = [analyser.words(gif.title), of_tags, analyser.words(gif.alt_text)]
    title, tagged, text = (part[:MOST_WORDS] for part in parts)
    return " ".join([*title, BAR, *tagged, BAR, *text])


def terms_of(words: str) -> set[str]:
    """The different words of an entry."""
    return set(words.split(" ")) - {BAR}


def tags_of(gifs: Iterable[Gif]) -> dict[str, list[str]]:
    """The tags of each of these GIFs, in alphabetical order."""
    found: dict[str, list[str]] = {gif.id: [] for gif in gifs}
    for gif_id, name in tag_rows(list(found)):
        found[gif_id].append(name)
    return found


def tag_rows(gif_ids: Sequence[str]) -> list[tuple[str, str]]:
    """The ids of GIFs, each with one of its tags."""
    return rows_of_each(_tag_rows, GifTag, gif_ids)


_tag_rows = for_each_length(
    lambda ids: (
        GifTag.select(GifTag.gif, Tag.name)
        .join(Tag)
        .where(GifTag.gif.in_(ids))
        .order_by(Tag.name)
        .tuples()
    )
)


def _tags_in(known: str) -> set[str]:
    return {fact for fact in known.split() if fact.startswith(OF_TAG)}


#: They run with each upload.
_ADD = Statement(
    lambda gif, words, facts, ratio: SearchEntry.insert(
        gif=gif, words=words, facts=facts, ratio=ratio, heat=0
    )
)
_CHANGE = Statement(
    lambda words, facts, ratio, id: SearchEntry.update(words=words, facts=facts, ratio=ratio).where(
        SearchEntry.id == id
    )
)
_OF_GIF = Statement(
    lambda gif: SearchEntry.select(SearchEntry.id, SearchEntry.words, SearchEntry.facts).where(
        SearchEntry.gif == gif
    )
)


def _entry_of(gif_id: str) -> tuple[int, str, str] | None:
    return _OF_GIF.row(gif=gif_id)


def _remove(former: tuple[int, str, str]) -> None:
    entry_id, words, known = former
    SearchEntry.delete().where(SearchEntry.id == entry_id).execute()
    _count(_difference(terms_of(words), ()), _difference(_tags_in(known), ()), {})


def _difference(former: Iterable[str], now: Iterable[str]) -> Counter[str]:
    """By how much the counts of terms change: by 1 or -1."""
    changes = Counter(set(now))
    changes.subtract(set(former))
    return Counter({term: change for term, change in changes.items() if change})


def _count(terms: Counter[str], tags: Counter[str], named: dict[str, str]) -> None:
    """Count terms and tags up or down.

    Parameters:
      named: the tags by their facts.
    """
    new = _counted("search_term", "term", terms)
    if new:
        SearchTerm.insert_many(
            [(term, 1) for term in new], [SearchTerm.term, SearchTerm.count]
        ).on_conflict_ignore().execute()
    new = _counted("search_tag", "token", tags)
    if new:
        added = [
            {"token": token, "name": named[token], "folded": folded(named[token]), "count": 1}
            for token in new
        ]
        SearchTag.insert_many(added).on_conflict_ignore().execute()


def folded(tag: str) -> str:
    """A tag as completions look for it."""
    return " ".join(piece.word for piece in analyser.asked(tag))[:200]


def _counted(table: str, key: str, changes: Counter[str]) -> list[str]:
    """Count the terms of a table that are there already; returns the new ones.

    All transactions change rows in alphabetical order, so that no two wait for each other.
    """
    if not changes:
        return []
    wanted = sorted(changes)
    found = rows(
        f'SELECT "{key}", "count" FROM "{table}" WHERE "{key}" IN ({marks(len(wanted))})', *wanted
    )
    counts = dict(found)
    for term in (term for term in wanted if term in counts):
        step = _by_chance(counts[term])
        if step and counts[term] + changes[term] * step > 0:
            change = f'UPDATE "{table}" SET "count" = "count" + ? WHERE "{key}" = ?'
            run(change, changes[term] * step, term)
        elif step:
            run(f'DELETE FROM "{table}" WHERE "{key}" = ?', term)
    return [term for term in wanted if term not in counts and changes[term] > 0]


def _by_chance(count: int, random: Callable[[], float] = random.random) -> int:
    """How much a term counts more or less: with a chance of 1 in n, it is n (R. Morris, "Counting
    large numbers of events in small registers", 1978).

    So a frequent term is seldom written, and uploads do not wait for each other's counts.
    """
    step = max(1, count // EXACT)
    return step if step == 1 or random() * step < 1 else 0
