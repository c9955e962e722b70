"""The docs, whose code the tests run."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of code: its language, what follows the language in the first line, and the code."""

    language: str
    label: str
    code: str


def blocks(text: str) -> list[Block]:
    """All blocks of code of a page."""
    return [Block(*found) for found in FENCE.findall(text)]


def python_blocks(text: str) -> list[str]:
    """The code of those blocks that are Python, and no file."""
    return [code for language, label, code in blocks(text) if (language, label) == ("python", "")]
