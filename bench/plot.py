"""A bar chart as SVG, with a row for each engine and a column for each measure."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

LEFT, COLUMN, ROW, TOP, GAP = 130, 190, 26, 46, 24
#: Bars and text are readable on white and on black.
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#777}.name{fill:#888;font-weight:600}"
    ".bar{fill:#9a9aa5}.ours{fill:#7c4dff}"
)


class Measure(NamedTuple):
    """A column: its title, each engine's value, the number format, and where the bars begin."""

    title: str
    values: Mapping[str, float]
    form: str
    begin: float = 0.0


def bars(path: Path, title: str, names: Sequence[str], measures: Sequence[Measure]) -> None:
    """Write the chart. Names that begin with "ours" are highlighted."""
    width = LEFT + len(measures) * (COLUMN + GAP)
    height = TOP + len(names) * ROW + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
    ]
    for row, name in enumerate(names):
        y = TOP + row * ROW + 15
        parts.append(f'<text class="name" x="0" y="{y}">{escape(name)}</text>')
    for column, measure in enumerate(measures):
        x = LEFT + column * (COLUMN + GAP)
        parts.append(f'<text x="{x}" y="{TOP - 20}">{escape(measure.title)}</text>')
        most = max(measure.values.values()) - measure.begin
        for row, name in enumerate(names):
            value, y = measure.values[name], TOP + row * ROW
            # Leave room for the number after the longest bar.
            length = max(1.0, (value - measure.begin) / most * (COLUMN - 60))
            kind = "bar ours" if name.startswith("ours") else "bar"
            parts += [
                f'<rect class="{kind}" x="{x}" y="{y + 3}" width="{length:.1f}" height="16"/>',
                f'<text x="{x + length + 6:.1f}" y="{y + 15}">{value:{measure.form}}</text>',
            ]
    path.write_text("\n".join([*parts, "</svg>\n"]))
