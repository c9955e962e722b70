"""The sentences about a wrong value, in one wording: what is wrong, with the value; what to use.

They are for people, in the errors of `admin` and of an application's own API.
"""

from collections.abc import Iterable

#: How much of a value a message shows (characters).
_SHOWN = 40


def wrong(name: str, value: object, use: str) -> str:
    """The sentence about a wrong value, such as "limit is 500: use 1 to 100."

    Parameters:
      value: a number or a text, which is `shown()`.
      use: which values are right.
    """
    return f"{name} is {shown(value)}: use {use}."


def not_one_of(name: str, value: str, choices: Iterable[str]) -> str:
    """The sentence about a value that is not one of the choices, such as "span is 'year': use hour,
    day or month.\""""
    return wrong(name, value, alternatives(choices))


def alternatives(choices: Iterable[str]) -> str:
    """The choices in a sentence: "hour, day or month"."""
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


def shown(value: object) -> str:
    """A value as a sentence shows it: a text in quotes, cut, its control characters escaped."""
    if not isinstance(value, str):
        return str(value)[:_SHOWN]
    return repr(str(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]}…")
