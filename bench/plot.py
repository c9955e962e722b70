"""A bar chart as SVG: a row for each side, a panel for each measure, at most three in a line.

A bar is as long as the median, and a thin line reaches from the lowest value to the highest.
"""

import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

PANELS, PANEL, ROW, HEAD, GAP = 3, 190, 26, 46, 24
#: Room for the number behind the longest bar (pixels), and the width of a letter.
NUMBER, LETTER = 60, 7.2
#: Bars and text have enough contrast on white and on black.
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#767676}.name{font-weight:600}"
    ".bar{fill:#9a9aa5}.ours{fill:#7c4dff}line{stroke:#767676;stroke-width:2}"
)
#: Names that begin with one of these are highlighted.
OURS = ("ours", "Gifster", "gifster")


class Measure(NamedTuple):
    """A panel: its title, the values of each side, their format, and where the bars begin."""

    title: str
    values: Mapping[str, Sequence[float]]
    form: str
    begin: float = 0.0


class Chart(NamedTuple):
    """A chart: its title, a name for each row, and a measure for each panel."""

    title: str
    names: Sequence[str]
    measures: Sequence[Measure]


def draw(path: Path, chart: Chart) -> None:
    """Write the chart as an SVG. A side without values in a panel has no bar there."""
    left = max(len(name) for name in chart.names) * LETTER + 16
    high = HEAD + len(chart.names) * ROW + 8
    lines = -(-len(chart.measures) // PANELS)
    width = left + min(PANELS, len(chart.measures)) * (PANEL + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {lines * high}"'
        ' role="img">',
        f"<title>{escape(chart.title)}</title><style>{STYLE}</style>",
    ]
    for number, measure in enumerate(chart.measures):
        line, column = divmod(number, PANELS)
        x, y = left + column * (PANEL + GAP), line * high
        parts.append(f'<text x="{x:.0f}" y="{y + HEAD - 20}">{escape(measure.title)}</text>')
        for row, name in enumerate(chart.names):
            at = y + HEAD + row * ROW
            if column == 0:
                parts.append(f'<text class="name" x="0" y="{at + 15}">{escape(name)}</text>')
            if values := measure.values.get(name):
                parts += _bar(name, values, measure, x, at)
    path.write_text("\n".join([*parts, "</svg>\n"]), "utf-8")


def _bar(name: str, values: Sequence[float], measure: Measure, x: float, y: int) -> list[str]:
    most = max(max(each) for each in measure.values.values() if each) - measure.begin
    scale = (PANEL - NUMBER) / (most or 1)
    least, median, greatest = (
        max(1.0, (value - measure.begin) * scale)
        for value in (min(values), statistics.median(values), max(values))
    )
    kind = "bar ours" if name.startswith(OURS) else "bar"
    parts = [f'<rect class="{kind}" x="{x:.0f}" y="{y + 3}" width="{median:.1f}" height="16"/>']
    if len(values) > 1:
        ends = f'x1="{x + least:.1f}" x2="{x + greatest:.1f}"'
        parts.append(f'<line {ends} y1="{y + 11}" y2="{y + 11}"/>')
    text = f"{statistics.median(values):{measure.form}}"
    return [*parts, f'<text x="{x + max(median, greatest) + 6:.1f}" y="{y + 15}">{text}</text>']
