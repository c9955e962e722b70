"""Makes words of texts, for the index and for searches, the same on every database.

Words are in NFKC and without case and accents. Emoji are words, and so are their names (Unicode's
CLDR, by `emoji`). Scripts without spaces between words give single characters and pairs of them.
"""

import itertools
import re
import unicodedata
from typing import NamedTuple

#: A longer word is cut (characters).
LONGEST = 40
#: What `unicodedata` does not take apart.
_LETTERS = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "\u0131": "i",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
    }
)
#: Accents, and the vowel points of Hebrew and Arabic, which people leave out.
_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u064b-\u065f\u0670]")
_APOSTROPHES = re.compile("(?<=[^\\W_])['\u2019\u02bc](?=[^\\W_])")
_ASCII_WORDS = re.compile("[a-z0-9]+")
#: What may begin an emoji, or be one.
_MAYBE_EMOJI = re.compile("[#*0-9]\ufe0f?\u20e3|[\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff]")
#: Variation selectors and skin tones.
_LOOKS = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
#: Thai, Lao, Burmese and Khmer; Japanese and Chinese.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003134f"
)
_RUNS = re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}]+")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")


class Piece(NamedTuple):
    """A part of a search.

    Parameters:
      word: as the index has it.
      names: the words of an emoji's name.
      exact: whether no other form of the word is meant.
    """

    word: str
    names: tuple[str, ...] = ()
    exact: bool = False


def fold(text: str) -> str:
    """A text without case and accents, in NFKC."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text).casefold()
    text = _ACCENTS.sub("", unicodedata.normalize("NFD", text)).translate(_LETTERS)
    return unicodedata.normalize("NFKC", text)


def words(text: str) -> list[str]:
    """The words of a text for the index, in their order."""
    found: list[str] = []
    for piece in _pieces(text):
        found += _characters(piece.word) if _IS_UNSPACED.match(piece.word) else [piece.word]
        found += piece.names
    return found


def asked(text: str) -> list[Piece]:
    """The words of a search, in their order."""
    found: list[Piece] = []
    for piece in _pieces(text):
        if _IS_UNSPACED.match(piece.word):
            found += [Piece(word, exact=True) for word in _asked_pairs(piece.word)]
        else:
            found.append(piece)
    return found


def _pieces(text: str) -> list[Piece]:
    if text.isascii():
        plain = _APOSTROPHES.sub("", text.lower())
        return [Piece(word[:LONGEST]) for word in _ASCII_WORDS.findall(plain)]
    found: list[Piece] = []
    for part, names in _without_emoji(text):
        if names:
            found.append(Piece(part, names, exact=True))
            continue
        for word in _words(_APOSTROPHES.sub("", fold(part))):
            found += [Piece(run[:LONGEST]) for run in _RUNS.findall(word)]
    return found


def _words(folded: str) -> list[str]:
    """Letters, digits and the marks that belong to them: in many scripts these are vowels."""
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in folded)
    return [word for word in "".join(kept).split() if any(c.isalnum() for c in word)]


def _without_emoji(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """The emoji of a text, each with the words of its names, and what is between them."""
    if not _MAYBE_EMOJI.search(text):
        return [(text, ())]
    import emoji  # noqa: PLC0415 its table takes 10 ms and some MB

    found: list[tuple[str, tuple[str, ...]]] = []
    end = 0
    for each in emoji.emoji_list(text):
        found.append((text[end : each["match_start"]], ()))
        found.append(_named(each["emoji"], emoji.EMOJI_DATA))
        end = each["match_end"]
    return [*found, (text[end:], ())]


def _named(sign: str, known: dict[str, dict[str, str | list[str]]]) -> tuple[str, tuple[str, ...]]:
    plain = _LOOKS.sub("", sign) or sign  # a skin tone alone
    facts = known.get(plain) or known.get(f"{plain}\ufe0f") or known.get(sign) or {}
    names = [facts.get("en", ""), *facts.get("alias", [])]
    of_names = _ASCII_WORDS.findall(fold(" ".join(map(str, names))).replace("\u2019", ""))
    return plain[:LONGEST], tuple(dict.fromkeys(of_names)) or (plain[:LONGEST],)


def _characters(run: str) -> list[str]:
    return [*run, *_pairs(run)]


def _asked_pairs(run: str) -> list[str]:
    return _pairs(run) or [run]


def _pairs(run: str) -> list[str]:
    return [first + second for first, second in itertools.pairwise(run)]
