"""The sentences about a wrong value, in one wording: what is wrong, with the value; what to use.

They are for people, in the errors of `admin` and of an application's own API.
"""

import json
from collections.abc import Iterable

#: How much of a value a message shows (characters).
_SHOWN = 40


def wrong(name: str, value: object, use: str) -> str:
    """The sentence about a wrong value, such as "limit is 500: use 1 to 100."

    Parameters:
      value: a text, a number, or another value of JSON, which is `shown()`.
      use: which values are right.
    """
    return f"{name} is {shown(value)}: use {use}."


def missing(name: str, send: str) -> str:
    """The sentence about a value that is not there, such as "q is missing: send the words to search
    for."

    Parameters:
      send: what to send.
    """
    return f"{name} is missing: send {send}."


def unknown(name: str, choices: Iterable[str]) -> str:
    """The sentence about a field that nothing reads, such as "There is no field 'tag': send title
    or tags."

    Parameters:
      choices: the fields that there are.
    """
    return f"There is no field {shown(name)}: send {alternatives(choices)}."


def not_one_of(name: str, value: str, choices: Iterable[str]) -> str:
    """The sentence about a value that is not one of the choices, such as "span is 'year': use hour,
    day or month.\""""
    return wrong(name, value, alternatives(choices))


def alternatives(choices: Iterable[str]) -> str:
    """The choices in a sentence: "hour, day or month"."""
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


def shown(value: object) -> str:
    """A value as a sentence shows it: a text in quotes, with its control characters escaped;
    another value as JSON writes it. Both are cut."""
    if isinstance(value, str):
        return repr(_cut(str(value)))
    is_json = value is None or isinstance(value, bool | list | dict)
    return _cut(json.dumps(value, ensure_ascii=False) if is_json else str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
