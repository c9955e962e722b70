"""Ranks candidates: by the words that they have, then by use and freshness. It is done here, so
that both databases rank alike."""

import math
from collections.abc import Sequence

from gifster.app.search.asking import NAME, Group
from gifster.app.search.candidates import Candidate
from gifster.app.search.index import BAR

#: What a word is worth in the title, in a tag and in another text.
TITLE, TAGS, TEXT = 10.0, 5.0, 1.0
#: A word of a long title says less (for each word of it).
LENGTH = 0.03
#: What it adds if neighbours in the search are so in the title, and if nothing else is there.
NEIGHBOURS, WHOLE = 0.15, 0.3
#: What each doubling of the use adds, and what being the newest adds, of a title's word.
USE, FRESH = 0.08, 0.02


def ranked(
    candidates: Sequence[Candidate], groups: Sequence[Group], all_gifs: int, now_heat: float
) -> list[Candidate]:
    """Candidates, the best first.

    Parameters:
      all_gifs: how many there are in the index.
      now_heat: what a single use counts now (see `popularity.now()`).
    """
    if not groups:
        return sorted(candidates, key=lambda c: (c.heat, c.id), reverse=True)
    places: dict[str, list[tuple[int, float]]] = {}
    for number, group in enumerate(groups):
        rarity = 1 + math.log(1 + all_gifs / (1 + group.count))
        for form, worth in group.forms.items():
            places.setdefault(form, []).append((number, worth * rarity))
        for name in group.names:
            places.setdefault(name, []).append((number, NAME * rarity / len(group.names)))
    newest = max((c.id for c in candidates), default=1)

    def score(candidate: Candidate) -> tuple[float, int]:
        words = _worth(candidate.words, places, len(groups))
        use = math.log2(1 + 2 ** min(60.0, candidate.heat - now_heat)) if candidate.heat else 0.0
        return words * (1 + USE * use) + FRESH * TITLE * candidate.id / newest, candidate.id

    return sorted(candidates, key=score, reverse=True)


def _worth(words: str, places: dict[str, list[tuple[int, float]]], asked: int) -> float:
    """What the words of an entry are worth for a search."""
    title, tags, text = words.split(BAR)
    best = [0.0] * asked
    before, neighbours, length = -2, 0, 0
    for word in title.split():
        length += 1
        here = -2
        if word in places:
            for number, worth in places[word]:
                best[number] = max(best[number], worth * TITLE)
                here = number
                neighbours += number == before + 1
        before = here
    shortness = 1 / (1 + LENGTH * length)
    best = [worth * shortness for worth in best]
    for part, part_worth in ((tags, TAGS), (text, TEXT)):
        for word in part.split():
            if word in places:
                for number, worth in places[word]:
                    best[number] = max(best[number], worth * part_worth)
    total = sum(best) * (1 + NEIGHBOURS * neighbours)
    return total * (1 + WHOLE) if length == asked and all(best) else total
