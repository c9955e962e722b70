"""What a search means: for each of its words, the words of the index that may be meant.

A word means itself, the words with the same stem, and, if it is the last one, those that begin with
it. If the index has none of these, it means the words that differ in one typing error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gifster.app.search import analyser
from gifster.app.search.expressions import Expression, any_of, every, term
from gifster.app.search.stems import languages, stems
from gifster.app.search.tables import is_postgresql, marks, rows

#: So many words of a search count.
MOST_WORDS = 16
#: A word means so many others at most, the most frequent ones.
MOST_FORMS = 20
#: Of the words that begin alike, so many are looked at.
MOST_ALIKE = 200
#: How much less it is worth if a GIF has another form than the one that was asked for.
EXACT, STEM, PREFIX, NAME, TYPO = 1.0, 0.8, 0.6, 0.7, 0.5
#: A typing error is forgiven in words of at least so many characters.
SHORTEST_TYPO = 3
_LAST = "\U0010ffff"
#: The letters that a typing error may have brought or taken away, by script. Accents are gone.
_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "абвгдежзиклмнопрстуфхцчшщъыьэюя",
    "αβγδεζηθικλμνξοπρσςτυφχψω",
    "אבגדהוזחטיךכלםמןנסעףפץצקרשת",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهويةىءأإآ",
)


@dataclass(frozen=True)
class Group:
    """What one word of a search may mean.

    Parameters:
      word: as it was asked for.
      forms: words of the index, each with what it is worth, from 0 to 1.
      names: the words of an emoji's name, which together mean the same.
      count: about how many GIFs have any of the forms.
    """

    word: str
    forms: dict[str, float]
    names: tuple[str, ...] = ()
    count: int = 0

    @property
    def corrected(self) -> list[str]:
        """The words without its typing error, if it can only be one, the most frequent first."""
        return [form for form, worth in self.forms.items() if worth == TYPO]

    @property
    def spelt(self) -> str:
        """The most frequent of these; else the word itself."""
        return next(iter(self.corrected), self.word)

    @property
    def expression(self) -> Expression:
        forms = [term(form) for form in self.forms]
        return any_of([*forms, every([term(n) for n in self.names])] if self.names else forms)


def meant(q: str, locale: str = "", *, whole: bool = False) -> list[Group]:
    """The groups of a search, in the order of its words.

    Parameters:
      q: what was typed.
      locale: see `stems.languages()`.
      whole: whether the last word is complete.
    """
    pieces = list(dict.fromkeys(analyser.asked(q)))[:MOST_WORDS]
    of = languages(locale)
    # The others come with the words that begin alike.
    alone = [p.word for p in pieces if p.exact or len(p.word) < 3]
    exact = _counts(alone + [name for p in pieces for name in p.names])
    found = []
    for piece in pieces:
        is_last = piece is pieces[-1] and not whole
        if piece.exact:
            found.append(_exact(piece, exact))
        else:
            found.append(_forms(piece.word, of, is_last, exact))
    return found


def corrected(q: str, locale: str = "") -> dict[str, list[str]]:
    """The words of a search that no GIF has, each with those that are searched for in its place.

    Parameters:
      q, locale: as `meant()` takes them.
    """
    return {each.word: each.corrected for each in meant(q, locale) if each.corrected}


def one_each(words: Sequence[str]) -> list[Group]:
    """Groups of words of the index, without other forms."""
    counts = _counts(words)
    return [Group(word, {word: EXACT}, (), counts.get(word, 0)) for word in words]


def _exact(piece: analyser.Piece, counts: dict[str, int]) -> Group:
    names = piece.names if len(piece.names) > 1 else ()
    forms = {piece.word: EXACT} | dict.fromkeys(piece.names if not names else (), NAME)
    count = sum(counts.get(form, 0) for form in forms)
    return Group(
        piece.word, forms, names, count + min((counts.get(n, 0) for n in names), default=0)
    )


def _forms(word: str, of: tuple[str, ...], is_last: bool, exact: dict[str, int]) -> Group:
    own = stems(word, of) if len(word) > 2 else []
    alike = _alike(word, own, is_last)
    forms: dict[str, float] = {word: EXACT}
    counts = {word: exact.get(word, 0)}
    for other, count in alike:
        if other == word:
            counts[word] = count
            continue
        if len(forms) > MOST_FORMS:
            break
        same = own and any(a == b for a, b in zip(own, stems(other, of), strict=True))
        if same or (is_last and other.startswith(word)):
            forms[other] = STEM if same else PREFIX
            counts[other] = count
    if not any(counts.values()) and len(word) >= SHORTEST_TYPO:
        for other, count in _without_error(word):
            forms[other], counts[other] = TYPO, count
    return Group(word, forms, (), sum(counts.values()))


def _alike(word: str, own: Sequence[str], is_last: bool) -> list[tuple[str, int]]:
    """The words of the index that begin like a word or its stems, the most frequent first."""
    if len(word) < 3:
        return beginning(word) if is_last else []
    start = word[: max(3, min(_shared(word, stem) for stem in own) - 1)]
    return beginning(start, first=word)


def _shared(word: str, stem: str) -> int:
    """How many characters two words have in common at their beginning."""
    pairs = enumerate(zip(word, stem, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(word), len(stem)))


def beginning(start: str, most: int = MOST_ALIKE, first: str = "") -> list[tuple[str, int]]:
    """The words of the index that begin so, the most frequent first, each with its count.

    Parameters:
      first: a word that comes first, however frequent it is.
    """
    select = 'SELECT "term", "count" FROM "search_term" WHERE '
    if len(start) < 3:
        sql = f'{select} substr("term", 1, {len(start)}) = ? ORDER BY "count" DESC LIMIT ?'
        return rows(sql, start, most)
    sql = f'{select} "term" >= ? AND "term" < ? ORDER BY "term" = ? DESC, "count" DESC LIMIT ?'
    return rows(sql, start, start + _LAST, first, most)


def _without_error(word: str) -> list[tuple[str, int]]:
    """The words of the index that are one typing error away from a word, the most frequent first:
    with a letter more, less or another one, or with two neighbours exchanged (Damerau, 1964)."""
    letters = next((a for a in _ALPHABETS if any(c in a for c in word)), "")
    parts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    near = {start + end[1:] for start, end in parts if end}
    near |= {start + end[1] + end[0] + end[2:] for start, end in parts if len(end) > 1}
    near |= {start + letter + end[1:] for start, end in parts if end for letter in letters}
    near |= {start + letter + end for start, end in parts for letter in letters}
    found = _counts(sorted(near - {"", word}))
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:3]


def _counts(terms: Sequence[str]) -> dict[str, int]:
    """The counts of those of some words that the index has."""
    if is_postgresql():
        sql = 'SELECT "term", "count" FROM "search_term" WHERE "term" = ANY(?)'
        return dict(rows(sql, list(terms))) if terms else {}
    found: dict[str, int] = {}
    for at in range(0, len(terms), 500):  # of so many SQLite takes the values
        some = terms[at : at + 500]
        found |= dict(
            rows(
                f'SELECT "term", "count" FROM "search_term" WHERE "term" IN ({marks(len(some))})',
                *some,
            )
        )
    return found


def expression(groups: Sequence[Group], *, all_words: bool) -> Expression:
    """The expression that finds all words of a search, or any of them."""
    parts = [group.expression for group in groups]
    return every(parts) if all_words else any_of(parts)
