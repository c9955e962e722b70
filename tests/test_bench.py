"""What `make bench` makes of measured rounds: the page, its tables and its charts."""

import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import __main__ as command
from bench import (
    accepting,
    distribution,
    figures,
    image_report,
    load,
    nodes,
    outbox,
    page,
    queue_recovery,
    queue_report,
    relay,
    rounds,
    storage,
    sweep,
    whole,
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


def test_uploads_have_a_row_for_each_size_and_number_of_connections():
    def found(rate: float) -> dict[str, float]:
        return {
            f"0.1 MB over {count}: {what}": value
            for count in accepting.CONNECTIONS
            for what, value in (("per second", rate), ("p50 ms", 3), ("p95 ms", 9), ("CPU ms", 2))
        }

    made = accepting.section(
        [{"Gifster": found(100), "the least": found(200)},
         {"Gifster": found(300), "the least": found(400)}]
    )  # fmt: skip

    assert (
        "| 0.1 | 8 | 200 (100 to 300) | 300 (200 to 400) | 0.62 (0.50 to 0.75) | 3.0 | 9.0 | "
        "2.00 (2.00 to 2.00) | 2.00 |"
    ) in made.text
    assert made.charts["rate"].measures[0].values["Gifster, 8 connections"] == [100, 300]


def test_queues_are_compared_with_ours_in_the_same_round():
    ours = {name: [2.0] for name in queue_report.FORMS} | {queue_report.START: [1.0, 2.0, 9.0]}
    huey = {name: [4.0] for name in queue_report.FORMS if name != queue_report.MANY}

    text = queue_report.section([{"ours": ours, "Huey": huey}]).text

    assert "| ours | 2 | 2 | 2 | 2.00 | 8.30 | 9.00 | 2.00 |" in text
    assert "| ours : Huey | 0.50 | 0.50 |  | 0.50 | 0.50 |" in text


def test_images_are_summed_by_kind_and_beside_gifsicle():
    def made(cpu: float, size: int, memory: float | None) -> dict[str, Any]:
        facts = {"kind": "film", "memory": memory, "bytes": [size, size], "ssim": [0.9, 0.95]}
        facts["original"] = 4096
        return {"cat": {"cpu": cpu, "wall": cpu, "others": {"mp4": 2048}, **facts}}

    first = {
        "ours": made(1, 2048, 50),
        "ours, all five": made(2, 2048, 60),
        "gifsicle": made(2, 1024, None),
    }
    second = {"ours": {"cat": {"cpu": 3, "wall": 3}}, "gifsicle": {"cat": {"cpu": 4, "wall": 4}}}

    text = image_report.section([first, second]).text

    assert "| film | ours | 2.00 (1.00 to 3.00) | 50 | 4 | 0.900 | 0.950 |" in text
    assert "| 0.62 (0.50 to 0.75) | 2.00 |" in text
    assert "| film | gifsicle | 3.00 (2.00 to 4.00) |  | 2 |" in text
    assert "| cat | 2.00 | 0.900, 0.900 | 0.950, 0.950 |" in text, "it has twice the bytes"


def test_images_are_held_against_their_goals():
    def made(cpu: float, sizes: list[int], ssim: list[float]) -> dict[str, Any]:
        facts = {"kind": "film", "memory": None, "others": {}, "original": 50_000}
        return {"cpu": cpu, "wall": cpu, "bytes": sizes, "ssim": ssim, **facts}

    found = {
        "ours": {
            "cat": made(1, [15_000, 60_000], [0.98, 0.96]),
            "dog": made(1, [10_000, 40_000], [0.98, 0.99]),
        },
        "ours, all versions": {"cat": {"cpu": 4, "wall": 4}, "dog": {"cpu": 6, "wall": 6}},
        "gifsicle": {
            "cat": made(2, [10_000, 40_000], [0.97, 0.97]),
            "dog": made(2, [20_000, 60_000], [0.97, 0.97]),
        },
    }

    text = image_report.section([found]).text

    assert "| CPU of ours : gifsicle | ≤ 0.75 | 0.50 |" in text
    assert "| CPU of ours, all versions : gifsicle | ≤ 1.8 | 2.50 |" in text
    assert "| ≤ 1.0 | 0.96 |" in text
    assert "1.3 times its bytes | 0 | 1: cat (1.50, SSIM +0.000) |" in text
    assert "| 0 | 1: cat (480: 0.960, 0.970) |" in text
    assert "| 0 | 1: cat (60000, 50000) |" in text


def test_the_whole_way_is_compared_in_rounds_that_have_both():
    def run(wall: float) -> dict[str, Any]:
        return {
            "accepted": 1.0, "shown": [1.0, wall / 2], "ready": [1.5, wall], "failed": 0,
            "versions": {"thumb": [1.0, wall / 2]}, "cpu": {"web": 1.0, "pictures": wall},
            "memory": {"web": 10**7, "pictures": 10**7, "all": 2 * 10**7},
        }  # fmt: skip

    peer = whole.PEER
    made = whole.section_beside(
        [{"Gifster, 2 versions": run(2), peer: run(20)}, {"Gifster, 2 versions": run(3)}]
    )

    assert f"| {peer} | 1.0 | 5.5 | 10.0 | 0.50 | 20.0 | 2 of 2 |" in made.text
    assert "| Gifster, 2 versions | 10.0 | 7.0 |" in made.text
    assert "| Gifster, 2 versions | 2.5 (2.0 to 3.0) |" not in made.text
    assert "2.5 (2.0 to 3.0)" in made.text


SMALL = [
    (
        distribution.section,
        {"sizes": {"gifster": {"packages": 12, "MB": 36.8}},
         "imports": [["pass", "gifster", [0.1]]]},
        ["| `gifster` | 12 | 36.8 |", "| `pass` | `gifster` | 0.100 |"],
    ),
    (
        relay.section,
        {"SQLite": {
            relay._took(300, 0): [0.1, 0.2], relay._took(300, 2): [0.3, 0.3],
            relay._rows(300, 0): [0.0], relay._rows(300, 2): [500.0],
        }},
        ["| SQLite | 300 | 0.15 (0.10 to 0.20) | 0.30 (0.30 to 0.30) | 2.00 | 500 |"],
    ),
    (
        outbox.section,
        {outbox.LEAST: {"per second": [100, 300]}, "ours": {"per second": [50]}},
        ["| ours | 50 | 0.25 |"],
    ),
    (
        queue_recovery.section,
        {"ours": {"s": 8.1, "waited, s": 60}, "Sidekiq": {"waited, s": 60}},
        ["| ours | 8.1 |", "| Sidekiq | not in 60 s |"],
    ),
    (
        image_report.rewriting,
        {"ours": {"cat": {"cpu": 2.0, "bytes": 88, "original": 100}},
         "gifsicle": {"cat": {"cpu": 1.0, "bytes": 80, "original": 100}}},
        ["| ours | 2.00 | 2.00 | 0.880 | 1.100 |", "cat (1.100)"],
    ),
    (
        image_report.growth,
        {"10 frames of 240×136": {"CPU s": 0.17, "MB": 100}},
        ["| 10 frames of 240×136 | 0.17 | 100 |"],
    ),
    (
        accepting.section_memory,
        {"Gifster": {"160 of 1.1 MB": 30, "160 took": 1.5},
         "the least": {"160 of 1.1 MB": 60, "160 took": 1.0}},
        ["| 160 of 1.1 MB | 30 | 60 | 0.5 | 1.5 | 1.0 |"],
    ),
    (
        accepting.section_reading,
        {"`GET /`": {"p50 ms": 4.3, "CPU ms": 3.9}},
        ["| `GET /` | 4.30 | 3.90 |"],
    ),
    (
        load.section_durability,
        {load.FSYNC: {"0.1 MB": 5}, load.OS: {"0.1 MB": 4}},
        ["| 0.1 MB | 5.0 | 4.0 | 0.80 |"],
    ),
    (
        load.section_load,
        {load.ALONE: {load.P95: 5}, load.TRICKLING: {load.P95: 10, "MB": 45}},
        [f"| {load.TRICKLING} | 10.0 | 2.00 | 45.0 |"],
    ),
    (
        nodes.section,
        {name: {
            "per_minute": 90.0, "uploads": 2, "connections": 9, "failed": 0,
            "cpu_ms": {"web": 4.25, "PostgreSQL": 5.8},
            "each": {"statements": statements, "transactions": 12.0, "commands": 13.7, "reads": 8},
            "idle_s": {"statements": statements, "transactions": 10, "commands": 6.6, "reads": 3},
            "idle_cpu_ms_s": {"PostgreSQL": 1.0, "Valkey": 0.5},
        } for name, statements in (("tiny, 1", 0.0), ("tiny, 1, counted", 35.9))},
        ["| tiny, 1 | 90 | 4.2 |", "| 1 | 35.9 | 12.0 | 13.7 | 8.0 | 35.9 | 10.0 | 6.6 |"],
    ),
    (
        storage.section,
        {"empty": {"open": 10, "upload": 5, "delete": 4},
         "full": {"open": 20, "upload": 5, "delete": 4, "files": 200_000}},
        ["| median call, µs | empty | 200,000 files | ratio |", "| open | 10 | 20 | 2.00 |"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("section", "found", "lines"), SMALL, ids=lambda each: "")
def test_a_section_is_made_from_what_a_round_found(section: Any, found: Any, lines: list[str]):
    text = section([found]).text

    assert [line for line in lines if line not in text] == []


def test_a_sweep_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweep, "COUNTS", [40])

    found = sweep.measure(Options())

    assert found["40"].keys() >= {"s", "MB", "orphans", "missing"}
    assert found["40"]["stuck"] == 1, "one row in twenty waits for a job that never comes"
    assert "| 40 | " in sweep.section([found]).text
