"""Expressions of words, as FTS5 and PostgreSQL want them. What a person types becomes only values
in quotes, whatever the characters are."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Expression:
    """A word, or expressions that are joined.

    Parameters:
      how: "term", "and", "or", or "not": the first part, but none of the others.
      parts: of a word, only the word.
    """

    how: str
    parts: "tuple[Expression | str, ...]"


def term(word: str) -> Expression:
    return Expression("term", (word,))


def every(parts: Sequence[Expression]) -> Expression:
    """GIFs that all of the expressions find, of which there is at least one."""
    return parts[0] if len(parts) == 1 else Expression("and", tuple(parts))


def any_of(parts: Sequence[Expression]) -> Expression:
    """GIFs that any of the expressions finds, of which there is at least one."""
    return parts[0] if len(parts) == 1 else Expression("or", tuple(parts))


def but_not(wanted: Expression, unwanted: Sequence[Expression]) -> Expression:
    """GIFs that one expression finds, and none of the others."""
    return Expression("not", (wanted, *unwanted)) if unwanted else wanted


def for_fts5(part: Expression | str) -> str:
    """An expression for SQLite's `MATCH` (https://sqlite.org/fts5.html, 3)."""
    if isinstance(part, str):
        return '"' + part.replace('"', '""') + '"'
    if part.how == "not":
        wanted, *unwanted = map(for_fts5, part.parts)
        return f"({wanted} NOT ({' OR '.join(unwanted)}))"
    joined = f" {part.how.upper()} ".join(map(for_fts5, part.parts))
    return f"({joined})"


def for_postgresql(part: Expression | str) -> str:
    """An expression as the text of a `tsquery` (PostgreSQL's documentation, 8.11.2)."""
    if isinstance(part, str):
        return "'" + part.replace("\\", "\\\\").replace("'", "''") + "'"
    if part.how == "not":
        wanted, *unwanted = map(for_postgresql, part.parts)
        return f"({wanted} & !({' | '.join(unwanted)}))"
    sign = " & " if part.how == "and" else " | "
    return f"({sign.join(map(for_postgresql, part.parts))})"


def matcher(part: Expression | str) -> Callable[[str], bool]:
    """A function that tells whether an expression finds something with some words. It is made once
    for thousands of them.

    It takes the words as a text, each with a space before and behind it: to make a set of them
    takes longer than to look into the text.
    """
    if isinstance(part, str):
        word = f" {part} "
        return lambda words: word in words
    if part.how == "or" and all(_is_term(each) for each in part.parts):
        any_word = re.compile(f" (?:{'|'.join(re.escape(_word(each)) for each in part.parts)}) ")
        return lambda words: any_word.search(words) is not None
    first, *others = map(matcher, part.parts)
    if part.how == "or":
        return lambda words: first(words) or any(each(words) for each in others)
    if part.how == "not":
        return lambda words: first(words) and not any(each(words) for each in others)
    return lambda words: first(words) and all(each(words) for each in others)


def _is_term(part: Expression | str) -> bool:
    return isinstance(part, str) or part.how == "term"


def _word(part: Expression | str) -> str:
    return part if isinstance(part, str) else _word(part.parts[0])
