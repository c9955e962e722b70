"""Cleans text from outside, so that it can be stored, and for one line that people read: a title, a
tag, a person's name, a file name.

It needs only Unicode's data, and refuses nothing itself: `is_text` and `has_controls` check,
`one_line` cleans, and the caller decides what to refuse.
"""

import re
import unicodedata

#: The longest text for `one_line` (characters). The time of Unicode's normalization grows with the
#: square of a run of combining marks: 32,000 of them take 0.8 s.
LONGEST = 2_000

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17)
)
_CONTROLS = re.compile(f"[\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff{_NONCHARACTERS}]")
#: White space of any width, and line ends.
_SPACES = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
#: Unicode's default ignorable code points that change nothing in a line, or that change their
#: surroundings: soft hyphen, zero width space, embeddings, overrides and isolates, annotations,
#: tags. Direction marks (U+200E, U+200F, U+061C) stay: they affect only their neighbours.
_IGNORABLE = (
    "\u00ad\u200b\u202a-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
#: The flags of England, Scotland, Wales and the like contain tags (UTS 51, ED-14a).
_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]+\U000e007f"
_FLAG_OR_IGNORABLE = re.compile(f"({_FLAG})|[{_IGNORABLE}]")
_JOINERS = re.compile("[\u200c\u200d]+")
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_STRAY_SELECTOR = re.compile(f"(?:^|(?<=[ {_SELECTORS}]))[{_SELECTORS}]+")
_DIRECTION_MARKS = re.compile("[\u061c\u200e\u200f]")
#: Hangul fillers, the blank of Braille, the Mongolian separator: letters and signs without ink.
_BLANKS = frozenset("\u115f\u1160\u17b4\u17b5\u180e\u2800\u3164\uffa0")
_VIRAMA = 9  # canonical combining class
_SKIN_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))


def is_text(text: str) -> bool:
    """Whether a database and UTF-8 can hold the text: it has no NUL, which PostgreSQL refuses, and
    no lone surrogate, which is not a character."""
    return _NO_TEXT.search(text) is None


def has_controls(text: str) -> bool:
    """Whether the text has control characters other than white space, lone surrogates or
    noncharacters. Nobody types or pastes these."""
    return _CONTROLS.search(text) is not None


def one_line(text: str) -> str:
    """The text as people see it, in one line: in NFC, without control characters and invisible
    characters, with single plain spaces for white space of any kind.

    Zero width joiners and non-joiners stay where they have an effect: within emoji, in scripts
    whose letters join, and beside a virama (after RFC 5892, A.1 and A.2, and UTS 51). Embeddings,
    overrides and isolates of bidirectional text go: they reorder the text around them.

    Parameters:
      text: at most `LONGEST` characters.

    Raises:
      ValueError: it is longer.
    """
    if len(text) > LONGEST:
        raise ValueError(f"{len(text):,} characters are more than {LONGEST:,}")
    text = _SPACES.sub(" ", _CONTROLS.sub("", text))
    text = _FLAG_OR_IGNORABLE.sub(lambda found: found[1] or "", text)
    text = _JOINERS.sub(_needed_joiner, text)
    text = _STRAY_SELECTOR.sub("", _SPACES.sub(" ", text).strip(" "))
    return unicodedata.normalize("NFC", text).strip(" ")


def without_marks(text: str) -> str:
    """The text without direction marks, for comparing texts such as tags."""
    return _DIRECTION_MARKS.sub("", text)


def is_visible(text: str) -> bool:
    """Whether the text has anything to see: a letter, a digit, a sign. A name needs more than
    fillers and joiners."""
    return any(
        unicodedata.category(char)[0] in "LNPS" or unicodedata.category(char) in ("Co", "Cn")
        for char in text
        if char not in _BLANKS
    )


def _needed_joiner(found: re.Match[str]) -> str:
    text, joiner = found.string, found[0][0]
    before, after = _base(text[: found.start()]), text[found.end() : found.end() + 1]
    virama = text[found.start() - 1 : found.start()] + after
    if any(unicodedata.combining(char) == _VIRAMA for char in virama):
        return joiner
    if before and unicodedata.bidirectional(before) in ("AL", "R"):
        return joiner
    emoji = joiner == "\u200d" and _is_emoji(before) and _is_emoji(after)
    return joiner if emoji else ""


def _base(text: str) -> str:
    """The last character, not counting marks, variation selectors and skin tones."""
    for char in reversed(text):
        if not unicodedata.category(char).startswith("M") and char not in _SKIN_TONES:
            return char
    return ""


def _is_emoji(char: str) -> bool:
    """Roughly: arrows count too, and so do emoji that are newer than Python's Unicode."""
    return bool(char) and char > "\x7f" and unicodedata.category(char) in ("So", "Sm", "Cn")
