"""Foreign text in a line of a log or of a terminal.

It must not begin a line of its own, which could look like one of ours, and must not write to the
terminal.
"""


def escaped(text: str) -> str:
    """A text whose control characters are written as their numbers, such as `\\u001b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
