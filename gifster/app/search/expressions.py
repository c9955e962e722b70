"""Expressions of words, as FTS5 and PostgreSQL want them. What a person types becomes only values
in quotes, whatever the characters are."""

from collections.abc import Sequence, Set
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


def matches(part: Expression | str, words: Set[str]) -> bool:
    """Whether an expression finds something with these words."""
    if isinstance(part, str):
        return part in words
    if part.how == "or":
        return any(matches(each, words) for each in part.parts)
    if part.how == "not":
        wanted, *unwanted = part.parts
        return matches(wanted, words) and not any(matches(each, words) for each in unwanted)
    return all(matches(each, words) for each in part.parts)
