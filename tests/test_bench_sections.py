"""The sections of the page of measurements: what each makes of the rounds that were measured."""

from pathlib import Path
from typing import Any

import pytest

from bench import (
    accepting,
    backlogs,
    distribution,
    image_report,
    library,
    load,
    nodes,
    outbox,
    queue_recovery,
    queue_report,
    relay,
    storage,
    sweep,
    whole,
)
from bench.rounds import Options
from tests.combinations import only_in_ci


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
        facts |= {"original": 4096, "colors": [[1.5, 4, size / 2**16], [0.5, 3, 0]]}
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
    assert "| ours | 1.00 | 3.5 | 1.56 |" in text
    assert "gifsicle: cat (1.56 %, 0.78 %)." in text


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
        backlogs.section,
        {"SQLite, few": {"jobs": [2_000], "the page's list of dead jobs": [1.0, 3.0]},
         "SQLite, many": {"jobs": [100_000], "the page's list of dead jobs": [4.0, 6.0]}},
        ["| SQLite | jobs | 2,000 | 100,000 |  |",
         "| SQLite | the page's list of dead jobs | 2.00 | 5.00 | 2.5 |"],
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


@only_in_ci("2 s: it makes files and sweeps them")
def test_a_sweep_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweep, "COUNTS", [40])

    found = sweep.measure(Options())

    assert found["40"].keys() >= {"s", "MB", "orphans", "missing"}
    assert found["40"]["stuck"] == 1, "one row in twenty waits for a job that never comes"
    assert "| 40 | " in sweep.section([found]).text


@only_in_ci("some seconds: it makes a library of a thousand GIFs, and reads lists and pages of it")
def test_the_calls_of_a_library_are_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(library, "FOLDER", tmp_path)

    found = library.measure(Options(quick=True, only=("SQLite 1,000",)))

    assert found["SQLite 1,000"].keys() == {*library.CALLS, "bytes"}
    assert "| the gallery as HTML | " in library.section([found]).text
