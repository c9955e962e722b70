"""The tables and the drawing of `bench.images`."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench.image_engines import ALL_FIVE, HEAVY_BYTES, SIDES
from bench.plot import Measure, bars


class Result(NamedTuple):
    """One engine on one source.

    Times are in seconds, memory in MB. Bytes and SSIM have an entry for each side; `others` has
    the bytes of its WebP and MP4.
    """

    kind: str
    cpu: float
    wall: float
    memory: float
    bytes: list[int]
    ssim: list[float]
    others: dict[str, int]


def plot(path: Path, seen: dict[str, list[Result]]) -> None:
    """Draw the totals of all engines."""
    names = [name for name in seen if name != ALL_FIVE]

    def totals(value: Callable[[Result], float]) -> dict[str, float]:
        return {name: sum(value(result) for result in seen[name]) for name in names}

    count = len(seen["ours"])
    quality = totals(lambda result: statistics.mean(result.ssim) / count)
    bars(path, f"Two GIFs of each of {count}: CPU, bytes, quality", names, [
        Measure("CPU, seconds", totals(lambda result: result.cpu), ".1f"),
        Measure("bytes, KB", totals(lambda result: sum(result.bytes) / 1024), ",.0f"),
        Measure("SSIM, from 0.9 on", quality, ".3f", 0.9),
    ])  # fmt: skip


def show(console: Console, seen: dict[str, list[Result]], names: list[str]) -> None:
    """Print the sums of each kind, and where our GIFs are worse than gifsicle's."""
    table = Table(title=f"Two GIFs of each source (within {SIDES[0]} and {SIDES[1]} pixels)")
    columns = "CPU s", "wall s", "peak MB", "KB", "SSIM 200", "SSIM 480", "CPU ratio", "bytes ratio"
    for column in ("", "engine", *columns):
        table.add_column(column, justify="right" if column in columns else "left")
    kinds = sorted({result.kind for result in seen["ours"]})
    groups = [(kind, lambda result, kind=kind: result.kind == kind) for kind in kinds]
    for title, belongs in [*groups, ("total", lambda result: True)]:
        sums = {name: [r for r in results if belongs(r)] for name, results in seen.items()}
        base = sums.get("gifsicle") or sums["Pillow"]
        for name, results in sums.items():
            cpu, size = sum(r.cpu for r in results), sum(sum(r.bytes) for r in results)
            base_cpu, base_size = sum(r.cpu for r in base), sum(sum(r.bytes) for r in base)
            most = max(result.memory for result in results)
            memory = f"{most:.0f}" if most else "-"
            table.add_row(
                title, name, f"{cpu:.2f}", f"{sum(r.wall for r in results):.2f}",
                memory, f"{size / 1024:,.0f}",
                *(f"{statistics.mean(r.ssim[at] for r in results):.4f}" for at in (0, 1)),
                f"{cpu / base_cpu:.2f}", f"{size / base_size:.2f}",
            )  # fmt: skip
        table.add_section()
    console.print(table)
    if "gifsicle" not in seen:
        return
    for name, mine, theirs in zip(names, seen["ours"], seen["gifsicle"], strict=True):
        ratio = sum(mine.bytes) / sum(theirs.bytes)
        below = [s for s, a, b in zip(SIDES, mine.ssim, theirs.ssim, strict=True) if a < b - 0.0005]
        if ratio > 1.5 or below:
            worse = f"; SSIM below gifsicle's at {below}" if below else ""
            console.print(f"{name}: {ratio:.2f} times the bytes of gifsicle's{worse}")
    _show_others(console, names, seen[ALL_FIVE])


def _show_others(console: Console, names: list[str], seen: list[Result]) -> None:
    """Which WebP and MP4 of large sources are smaller than the larger GIF."""
    table = Table(title="WebP and MP4 beside the larger GIF, where that has more than 50 kB")
    for column in ("", "GIF, KB", "WebP, KB", "MP4, KB"):
        table.add_column(column, justify="right" if column else "left")
    for name, result in zip(names, seen, strict=True):
        gif = result.bytes[1]
        if gif > HEAVY_BYTES:
            others = [result.others.get(kind) for kind in ("webp", "mp4")]
            table.add_row(name, f"{gif / 1024:,.0f}", *(
                "-" if size is None else f"{size / 1024:,.0f}"
                + ("" if size < gif else " (not offered)") for size in others
            ))  # fmt: skip
    console.print(table)
