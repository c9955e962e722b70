"""The page of results, docs/performance.md: what a benchmark hands over, and where it goes.

A section of the page that `python -m bench` writes lies between `<!-- bench:NAME -->` and
`<!-- /bench:NAME -->`. What is written around the markers stays as it is.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bench.plot import Chart, draw

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
SECTION = re.compile(r"<!-- bench:(\w+) -->\n(.*?)<!-- /bench:\1 -->", re.DOTALL)


class Table:
    """A table in Markdown. The first column and words are on the left, numbers on the right.

    Parameters:
      columns: the heads.
      title: a line above the table.
    """

    def __init__(self, *columns: str, title: str = "") -> None:
        self._columns, self._title = columns, title
        self._rows: list[tuple[str, ...]] = []

    def add_row(self, *cells: str) -> None:
        self._rows.append(cells)

    def __str__(self) -> str:
        words = [
            any(cell[:1].isalpha() or cell[:1] == "`" for cell in column)
            for column in zip(*self._rows, strict=True)
        ]
        marks = [
            "---" if number == 0 or is_words else "---:" for number, is_words in enumerate(words)
        ]
        lines = (f"| {' | '.join(row)} |" for row in (self._columns, marks, *self._rows))
        title = f"{self._title}:\n\n" if self._title else ""
        return title + "\n".join(lines)


class Section(NamedTuple):
    """What a benchmark has found: Markdown, and charts by a word for each."""

    text: str
    charts: Mapping[str, Chart] = {}


def names(page: Path = PAGE) -> list[str]:
    """The sections of the page, in their order."""
    return [match[1] for match in SECTION.finditer(page.read_text("utf-8"))]


def write(name: str, section: Section, page: Path = PAGE) -> None:
    """Replace a section of the page, and draw its charts beside it.

    Raises:
      LookupError: the page has no such section.
    """
    if name not in names(page):
        raise LookupError(f"{page} has no section {name!r}: write <!-- bench:{name} --> into it")
    parts = [section.text.strip()]
    for word, chart in section.charts.items():
        path = page.parent / "images" / f"bench-{name}-{word}.svg"
        draw(path, chart)
        parts.append(f"![{chart.title}](images/{path.name})")
    content = "\n\n".join(parts)
    text = SECTION.sub(
        lambda match: (
            f"<!-- bench:{name} -->\n{content}\n<!-- /bench:{name} -->"
            if match[1] == name
            else match[0]
        ),
        page.read_text("utf-8"),
    )
    page.write_text(text, "utf-8")
