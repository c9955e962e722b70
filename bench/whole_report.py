"""The tables and the chart of `bench.whole`."""

import statistics
from collections.abc import Callable

from bench.page import Chart, Table
from bench.plot import Measure
from bench.whole_run import Run

Runs = dict[str, list[Run]]
ROLES = ("web", "worker", "pictures", "scheduler")
MB = 1_000_000


def times(runs: Runs, files: int) -> str:
    """How long it took until thumbnails could be seen, and until all was ready."""
    table = Table(
        f"{files} uploads", "all accepted, s", "first thumbnail, s, median", "last",
        "part of the whole", "all ready, s", "lowest to highest", "ready",
    )  # fmt: skip
    for name, found in runs.items():
        walls = [run.wall for run in found]
        ready = sum(len(run.ready) for run in found)
        table.add_row(
            name,
            _median(found, lambda run: run.accepted, ".1f"),
            _median(found, lambda run: statistics.median(run.shown), ".1f"),
            _median(found, lambda run: max(run.shown), ".1f"),
            _median(found, lambda run: run.shown_part, ".2f"),
            _median(found, lambda run: run.wall, ".1f"),
            f"{min(walls):.1f} to {max(walls):.1f}",
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
            _median(found, lambda run: sum(run.cpu.values()), ".1f"),
            *(_of_role(found, role, lambda run: run.memory, ".0f", MB) for role in ROLES),
            _median(found, lambda run: run.memory["all"] / MB, ".0f"),
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


def ratios(runs: Runs, peer: str) -> str:
    """How many times as quick as the peer each side is, and how many times as much CPU the peer
    takes: medians of the rounds."""
    table = Table("", f"times as quick as {peer}", "CPU of that : CPU of this")
    for name in (name for name in runs if name != peer):
        pairs = list(zip(runs[name], runs[peer], strict=True))
        wall = [theirs.wall / ours.wall for ours, theirs in pairs]
        cpu = [sum(theirs.cpu.values()) / sum(ours.cpu.values()) for ours, theirs in pairs]
        table.add_row(name, *(
            f"{statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f})"
            for each in (wall, cpu)
        ))  # fmt: skip
    return str(table)


def chart(runs: Runs, files: int) -> Chart:
    def median(value: Callable[[Run], float]) -> dict[str, float]:
        return {name: statistics.median(map(value, found)) for name, found in runs.items()}

    return Chart(f"{files} uploads, until all are ready", list(runs), [
        Measure("all ready, s", median(lambda run: run.wall), ".1f"),
        Measure("last first thumbnail, s", median(lambda run: max(run.shown)), ".1f"),
        Measure("CPU, s", median(lambda run: sum(run.cpu.values())), ".1f"),
        Measure("memory, MB", median(lambda run: run.memory["all"] / MB), ".0f"),
    ])  # fmt: skip


def _median(found: list[Run], value: Callable[[Run], float], form: str) -> str:
    return f"{statistics.median(map(value, found)):{form}}"


def _of_role(
    found: list[Run], role: str, value: Callable[[Run], dict[str, float]], form: str, unit: float
) -> str:
    seen = [value(run)[role] / unit for run in found if role in value(run)]
    return f"{statistics.median(seen):{form}}" if seen else ""
