"""Gives each parameter and attribute a line of its own in the reference.

Our docstrings describe those that belong together in one line: `width, height: in pixels`. Griffe
would read `height` as the type of `width,`. So each gets the whole text.
"""

import re
from typing import Any

import griffe

#: `      width, height: in pixels`, and the lines that continue it, which are indented further.
_SHARED = re.compile(
    r"^(?P<indent> +)(?P<names>\w+(?:, \w+)+): (?P<text>.*(?:\n(?P=indent) +.*)*)", re.MULTILINE
)


def one_name_a_line(docstring: str) -> str:
    """The docstring with a line for each name."""

    def lines(found: re.Match[str]) -> str:
        names = found["names"].split(", ")
        return "\n".join(f"{found['indent']}{name}: {found['text']}" for name in names)

    return _SHARED.sub(lines, docstring)


class SharedLines(griffe.Extension):
    """Does so in all docstrings that Griffe reads."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = one_name_a_line(obj.docstring.value)
