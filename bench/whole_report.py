"""The tables and the chart of `bench.whole`."""

import statistics
from collections.abc import Callable
from typing import Any

from bench import figures
from bench.page import Table
from bench.plot import Chart, Measure
from bench.whole_run import Run

Runs = dict[str, list[Run]]
ROLES = ("web", "worker", "pictures", "scheduler")
MB = 1_000_000


def runs(rounds: list[dict[str, Any]]) -> Runs:
    """The runs of each side, from what the rounds have found."""
    return {
        side: [Run(**found[side]) for found in rounds if side in found]
        for side in figures.sides(rounds)
    }


def times(runs: Runs) -> str:
    """How long it took until thumbnails could be seen, and until all was ready."""
    table = Table(
        f"{_count(runs)} uploads", "all accepted, s", "first thumbnail, s, median", "last",
        "part of the whole", "all ready, s", "ready",
    )  # fmt: skip
    for name, found in runs.items():
        ready = sum(len(run.ready) for run in found)
        table.add_row(
            name,
            _median(found, lambda run: run.accepted, ".1f"),
            _median(found, lambda run: statistics.median(run.shown), ".1f"),
            _median(found, lambda run: max(run.shown), ".1f"),
            _spread(found, lambda run: run.shown_part, ".2f"),
            _spread(found, lambda run: run.wall, ".1f"),
            f"{ready} of {ready + sum(run.failed for run in found)}",
        )
    return str(table)


def costs(runs: Runs) -> str:
    """CPU and memory of the processes, by role."""
    table = Table("", *(f"{role}, CPU s" for role in ROLES), "all", *(f"{r}, MB" for r in ROLES),
                  "at once")  # fmt: skip
    for name, found in runs.items():
        table.add_row(
            name,
            *(_of_role(found, role, lambda run: run.cpu, ".1f", 1) for role in ROLES),
            _spread(found, lambda run: sum(run.cpu.values()), ".1f"),
            *(_of_role(found, role, lambda run: run.memory, ".0f", MB) for role in ROLES),
            _spread(found, lambda run: run.memory["all"] / MB, ".0f"),
        )
    return str(table)


def versions(runs: Runs) -> str:
    """When the files of each version were written: the median of all uploads, and the last."""
    names = sorted({v for found in runs.values() for run in found for v in run.versions})
    table = Table("s after the first byte: median, last", *names)
    for name, found in runs.items():
        table.add_row(name, *(
            f"{_median(found, lambda run, v=v: statistics.median(run.versions[v]), '.1f')}, "
            f"{_median(found, lambda run, v=v: max(run.versions[v]), '.1f')}"
            if all(run.versions.get(v) for run in found) else "" for v in names
        ))  # fmt: skip
    return str(table)


def ratios(rounds: list[dict[str, Any]], peer: str) -> str:
    """How many times as quick as the peer each side is, and how many times as much CPU the peer
    takes, in the rounds that have both."""
    table = Table("", f"times as quick as {peer}", "CPU of that : CPU of this")
    for name in figures.sides(rounds):
        pairs = [
            (Run(**found[name]), Run(**found[peer]))
            for found in rounds
            if name != peer and name in found and peer in found
        ]
        if pairs:
            wall = [theirs.wall / ours.wall for ours, theirs in pairs]
            cpu = [sum(theirs.cpu.values()) / sum(ours.cpu.values()) for ours, theirs in pairs]
            table.add_row(name, figures.spread(wall, ".1f"), figures.spread(cpu, ".1f"))
    return str(table)


def chart(runs: Runs) -> Chart:
    def of(value: Callable[[Run], float]) -> dict[str, list[float]]:
        return {name: [value(run) for run in found] for name, found in runs.items()}

    return Chart(f"{_count(runs)} uploads, until all are ready", list(runs), [
        Measure("all ready, s", of(lambda run: run.wall), ".1f"),
        Measure("last first thumbnail, s", of(lambda run: max(run.shown)), ".1f"),
        Measure("CPU, s", of(lambda run: sum(run.cpu.values())), ".1f"),
        Measure("memory, MB", of(lambda run: run.memory["all"] / MB), ".0f"),
    ])  # fmt: skip


def _count(runs: Runs) -> int:
    run = next(iter(runs.values()))[0]
    return len(run.ready) + run.failed


def _median(found: list[Run], value: Callable[[Run], float], form: str) -> str:
    return figures.median([value(run) for run in found], form)


def _spread(found: list[Run], value: Callable[[Run], float], form: str) -> str:
    return figures.spread([value(run) for run in found], form)


def _of_role(
    found: list[Run], role: str, value: Callable[[Run], dict[str, float]], form: str, unit: float
) -> str:
    return figures.median([value(run)[role] / unit for run in found if role in value(run)], form)
