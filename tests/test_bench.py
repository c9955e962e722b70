"""The page of results, and the benchmarks whose tables and charts `make bench` writes into it."""

import importlib
from pathlib import Path

import pytest

from bench import page
from bench.page import Chart, Section, Table
from bench.plot import Measure


@pytest.fixture
def report(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    path = tmp_path / "performance.md"
    path.write_text(
        "# Page\n\n<!-- bench:one -->\nold\n<!-- /bench:one -->\n\nprose\n\n"
        "<!-- bench:two -->\nkept\n<!-- /bench:two -->\n",
        "utf-8",
    )
    return path


def test_a_section_is_replaced_and_everything_else_stays(report: Path):
    before = report.read_text("utf-8")

    page.write("one", Section("new \\1\n"), report)

    assert report.read_text("utf-8") == before.replace("old", "new \\1")
    assert page.names(report) == ["one", "two"]


def test_charts_are_drawn_beside_the_page(report: Path):
    chart = Chart("Speed", ["ours", "other"], [Measure("s", {"ours": 1, "other": 2}, ".1f")])

    page.write("two", Section("text", {"speed": chart}), report)

    assert "text\n\n![Speed](images/bench-two-speed.svg)\n<!--" in report.read_text("utf-8")
    assert "Speed" in (report.parent / "images" / "bench-two-speed.svg").read_text("utf-8")


def test_a_section_that_the_page_does_not_have_is_an_error(report: Path):
    with pytest.raises(LookupError, match="no section 'three'"):
        page.write("three", Section("text"), report)


def test_a_table_is_markdown():
    table = Table("what", "s", title="Times")
    table.add_row("ours", "1.0")

    assert str(table) == "Times:\n\n| what | s |\n| --- | ---: |\n| ours | 1.0 |"


def test_every_section_of_the_page_has_a_benchmark():
    assert page.names() != []
    for name in page.names():
        assert callable(importlib.import_module(f"bench.{name}").measure)
