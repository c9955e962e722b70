"""What `make bench` makes of measured rounds: the page, its tables and its charts."""

import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import __main__ as command
from bench import (
    figures,
    page,
    rounds,
)
from bench.all import ALL, Benchmark
from bench.page import Section, Table
from bench.plot import Chart, Measure, draw
from bench.rounds import Options, Round, Unavailable

SPEED = Chart("Speed", ["ours", "other"], [Measure("s", {"ours": [1, 3], "other": [2]}, ".1f")])


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
    page.write("two", Section("text", {"speed": SPEED}), report)

    assert "text\n\n![Speed](images/bench-two-speed.svg)\n<!--" in report.read_text("utf-8")
    assert "Speed" in (report.parent / "images" / "bench-two-speed.svg").read_text("utf-8")


def test_a_section_that_the_page_does_not_have_is_an_error(report: Path):
    with pytest.raises(LookupError, match="no section 'three'"):
        page.write("three", Section("text"), report)


def test_a_table_is_markdown():
    table = Table("what", "s", "why", title="Times")
    table.add_row("ours", "1.0", "it is")

    assert str(table) == (
        "Times:\n\n| what | s | why |\n| --- | ---: | --- |\n| ours | 1.0 | it is |"
    )


def test_the_page_has_a_section_for_every_benchmark():
    assert sorted(page.names()) == sorted(ALL)


def test_a_chart_says_its_medians_and_draws_their_ranges(tmp_path: Path):
    names = ["ours", "other <1>", "absent"]
    values = {"ours": [1.0, 3.0, 4.0], "other <1>": [6.0], "absent": []}

    draw(tmp_path / "a.svg", Chart("Speed & more", names, [Measure("s", values, ".1f")] * 4))

    svg = ElementTree.parse(tmp_path / "a.svg").getroot()
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("3.0") == texts.count("6.0") == 4
    assert texts.count("other <1>") == 2, "each of two lines names the rows"
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}line"))) == 4, "one value has no range"
    assert svg.find("{http://www.w3.org/2000/svg}title").text == "Speed & more"


def test_figures_are_medians_with_the_lowest_and_the_highest():
    assert figures.spread([3.0, 1.0, 2.0], ".1f") == "2.0 (1.0 to 3.0)"
    assert figures.spread([1234.0], ",.0f") == "1,234"
    assert figures.spread([], ".1f") == figures.median([], ".1f") == ""


def test_ratios_are_those_of_rounds_that_have_both():
    found = [{"ours": {"s": 2}, "other": {"s": [3, 4, 9]}}, {"ours": {"s": 5}}, {"other": {"s": 1}}]

    assert figures.ratios(found, "ours", "s", "other") == [0.5]
    assert figures.samples(found, "ours", "s") == [2, 5]
    assert figures.sides(found) == ["ours", "other"]


def test_rounds_are_kept(tmp_path: Path):
    kept = [rounds.begin()._replace(found={"ours": {"s": 1.5}})]

    assert rounds.load("speed", tmp_path / "bench") == []
    rounds.save("speed", kept, tmp_path / "bench")

    assert rounds.load("speed", tmp_path / "bench") == kept


def test_a_sentence_says_how_rounds_were_measured():
    kept = [
        Round("2026-11-25", "2 cores (X), Python 3.11.7", 0.5, {"ours": {}, "other": {}}),
        Round("2026-11-26", "2 cores (X), Python 3.11.7", 12.0, {"ours": {}}),
    ]

    assert rounds.described(kept) == (
        "Two rounds, 2026-11-25 to 2026-11-26, on 2 cores (X), Python 3.11.7; "
        "the load before was 0.5 to 12.0."
    )
    assert rounds.described(kept[:1]).startswith("One round, 2026-11-25, on 2 cores")
    pieces = [kept[1], kept[1]._replace(found={"other": {}})]
    assert rounds.described(pieces).startswith("One round"), "each side was measured once"


def test_sides_take_turns_in_another_order_in_every_second_round():
    assert Options(0).chosen(["a", "b", "c"]) == ["a", "b", "c"]
    assert Options(1, only=("c", "a")).chosen(["a", "b", "c"]) == ["c", "a"]
    with pytest.raises(SystemExit, match="none of d is one of a, b"):
        Options(only=("d",)).chosen(["a", "b"])


@pytest.fixture
def bench(report: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `python -m bench` with two benchmarks, `one` and `two`, and returns what it printed."""
    monkeypatch.chdir(report.parent)
    monkeypatch.setattr(page.write, "__defaults__", (report,))

    def missing(options: Options) -> None:
        raise Unavailable("it needs a peer")

    def section(found: list[Any]) -> Section:
        return Section(f"found {[tuple(each.values()) for each in found]}")

    benchmarks = {
        "one": Benchmark(lambda how: {"n": how.number, "quick": how.quick}, section, 1, 2),
        "two": Benchmark(missing, section, 1),
    }
    monkeypatch.setattr(command, "ALL", benchmarks)
    monkeypatch.setattr(command, "GROUPS", {"both": ["two", "one"]})

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        command.main()
        return capsys.readouterr().out

    return run


def test_rounds_are_measured_kept_and_written(bench: Any, report: Path):
    bench("one")
    assert "found [(0, False), (1, False)]\n\nTwo rounds" in report.read_text("utf-8")

    bench("--add", "--rounds", "1", "one")
    assert "found [(0, False), (1, False), (2, False)]\n\nThree" in report.read_text("utf-8")

    bench("--rounds", "1", "one")
    assert "found [(0, False)]\n\nOne round" in report.read_text("utf-8")


def test_what_was_interrupted_is_resumed(bench: Any, report: Path, monkeypatch: pytest.MonkeyPatch):
    # Given a round of an older commit, and the first of two of the present one
    monkeypatch.setattr(rounds, "present_code", lambda: "0ld")
    bench("--rounds", "1", "one")
    monkeypatch.setattr(rounds, "present_code", lambda: "n3w")
    rounds.save("one", [*rounds.load("one"), rounds.begin()._replace(found={"n": 0, "quick": 0})])

    # When all is measured that is missing
    bench("--resume", "both")

    # Then there are two rounds of the present commit, and a second time measures nothing
    assert [kept.code for kept in rounds.load("one")] == ["n3w", "n3w"]
    before = rounds.load("one")
    bench("--resume", "both")
    assert rounds.load("one") == before


def test_a_benchmark_that_fails_stops_no_other(
    bench: Any, report: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(options: Options) -> None:
        raise AssertionError

    broken = command.ALL["two"]._replace(measure=fail)
    monkeypatch.setitem(command.ALL, "two", broken)

    with pytest.raises(SystemExit, match="two failed"):
        bench("both")

    assert "found [(0, False), (1, False)]" in report.read_text("utf-8")


def test_the_page_is_made_again_from_what_is_kept(bench: Any, report: Path):
    bench("one")
    written = report.read_text("utf-8")
    report.write_text(written.replace("found", "lost"), "utf-8")

    bench("--draw", "one")

    assert report.read_text("utf-8") == written


def test_a_short_round_is_printed_and_not_kept(bench: Any, report: Path):
    before = report.read_text("utf-8")

    assert "found [(0, True)]" in bench("--quick", "one")

    assert report.read_text("utf-8") == before
    assert rounds.load("one") == []


def test_what_cannot_run_here_leaves_its_section_alone(bench: Any, report: Path):
    bench()

    assert "found [(0, False), (1, False)]" in report.read_text("utf-8")
    assert "kept\n<!-- /bench:two -->" in report.read_text("utf-8")


def test_an_unknown_name_is_an_error(bench: Any, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        bench("three")
    assert "no benchmark 'three': there are both, one, two" in capsys.readouterr().err
