"""The tables and the drawing of `bench.images`."""

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import figures, image_goals
from bench.image_engines import ALL_FIVE, ALL_VERSIONS, BASE, HEAVY_BYTES, OURS, SIDES
from bench.page import Section, Table
from bench.plot import Chart, Measure

#: By engine and source, what a round has found.
Found = dict[str, dict[str, dict[str, Any]]]
#: A source is listed if this part more of its blocks has another colour.
_MORE = 0.001


def section(rounds: list[Found]) -> Section:
    """The sums of each kind of sources, and what is special about single ones."""
    made = _made(rounds)
    kinds: dict[str, list[str]] = {}
    for source, its in made["ours"].items():
        kinds.setdefault(its["kind"], []).append(source)
    table = Table(
        "sources", "engine", "CPU s", "peak MB", "KB", *(f"SSIM {side}" for side in SIDES),
        f"CPU : {BASE}", f"bytes : {BASE}",
    )  # fmt: skip
    for kind, sources in [*sorted(kinds.items()), ("**all**", list(made["ours"]))]:
        for engine in made:
            table.add_row(kind, engine, *_row(rounds, engine, sources))
    cpu = {
        engine: statistics.median(ratios) for engine in made if (ratios := _ratios(rounds, engine))
    }
    parts = [
        str(table), image_goals.table(made, cpu), _colors(made), _worst(made), _others(made)
    ]  # fmt: skip
    return Section("\n\n".join(part for part in parts if part), {"engines": _chart(rounds)})


def growth(rounds: list[figures.Figures]) -> Section:
    """What all five versions of a film cost."""
    table = Table("a film of", "CPU s", "MB")
    for film in figures.sides(rounds):
        cpu, memory = (figures.samples(rounds, film, name) for name in ("CPU s", "MB"))
        table.add_row(film, figures.spread(cpu, ".2f"), figures.spread(memory, ".0f"))
    return Section(str(table))


def _row(rounds: list[Found], engine: str, sources: list[str]) -> list[str]:
    """CPU, memory, bytes and SSIM of an engine for some sources, and ratios."""
    made = _made(rounds)
    ratios = figures.spread(_ratios(rounds, engine, sources), ".2f")
    cpu = figures.spread(_cpu(rounds, engine, sources), ".2f")
    if engine == ALL_VERSIONS:  # its GIFs have other sizes
        return [cpu, "", "", *("" for _ in SIDES), ratios, ""]
    its = [made[engine][source] for source in sources]
    memory = [each["memory"] for each in its if each["memory"]]
    size = _bytes(made, engine, sources)
    ssim = [statistics.mean(each["ssim"][at] for each in its) for at in range(len(SIDES))]
    return [
        cpu,
        f"{max(memory):.0f}" if memory else "",
        f"{size / 1024:,.0f}",
        *(f"{value:.3f}" for value in ssim),
        ratios,
        f"{size / _bytes(made, BASE, sources):.2f}" if BASE in made else "",
    ]


def _ratios(rounds: list[Found], engine: str, sources: list[str] | None = None) -> list[float]:
    """The CPU of an engine for some sources, or all, as a multiple of gifsicle's in each round."""
    pairs = [found for found in rounds if engine in found and BASE in found]
    chosen = sources or list(_made(rounds)[OURS])
    return [
        one / other
        for one, other in zip(_cpu(pairs, engine, chosen), _cpu(pairs, BASE, chosen), strict=True)
    ]


def rewriting(rounds: list[Found]) -> Section:
    """The CPU and the bytes of GIFs that are written again in their own size."""
    made = _made(rounds)
    table = Table("not shrunk", "CPU s", f"CPU : {BASE}", "bytes : the original", f"bytes : {BASE}")
    for engine, its in made.items():
        size, original = (
            sum(each[name] for each in its.values()) for name in ("bytes", "original")
        )
        theirs = sum(each["bytes"] for each in made.get(BASE, {}).values())
        table.add_row(
            engine,
            figures.spread(_cpu(rounds, engine, list(its)), ".2f"),
            figures.spread(_ratios(rounds, engine), ".2f"),
            f"{size / original:.3f}",
            f"{size / theirs:.3f}" if theirs else "",
        )
    worst = [
        f"{source} ({ratio:.3f})"
        for source, its in made.get(BASE, {}).items()
        if (ratio := made[OURS][source]["bytes"] / its["bytes"]) > 1.0005
    ]
    text = f"More bytes than with {BASE}: {', '.join(worst) or 'none'}."
    return Section(f"{table}\n\n{text}" if BASE in made else str(table))


def _made(rounds: list[Found]) -> Found:
    """What each engine has made, which does not vary: from the first round that has it."""
    return {
        engine: next(found[engine] for found in rounds if engine in found)
        for engine in figures.sides(rounds)
    }


def _cpu(rounds: list[Found], engine: str, sources: list[str]) -> list[float]:
    """The CPU seconds of each round that has measured this engine."""
    return [
        sum(found[engine][source]["cpu"] for source in sources)
        for found in rounds
        if engine in found
    ]


def _bytes(made: Found, engine: str, sources: list[str]) -> int:
    return sum(sum(made[engine][source]["bytes"]) for source in sources)


def _worst(made: Found) -> str:
    """The sources of which gifsicle makes much fewer bytes, or better pictures."""
    table = Table(
        f"worse than {BASE}", "bytes : its", *(f"SSIM {side}, its" for side in SIDES)
    )  # fmt: skip
    found = False
    for source, its in made.get(BASE, {}).items():
        ours = made["ours"][source]
        ratio = sum(ours["bytes"]) / sum(its["bytes"])
        pairs = list(zip(ours["ssim"], its["ssim"], strict=True))
        if ratio > 1.5 or any(one < other - 0.0005 for one, other in pairs):
            found = True
            ssim = (f"{one:.3f}, {other:.3f}" for one, other in pairs)
            table.add_row(source, f"{ratio:.2f}", *ssim)
    return str(table) if found else ""


def _colors(made: Found) -> str:
    """How far the colours of each engine are off, and where ours are so in more places than
    gifsicle's."""
    table = Table("colours", "ΔE, mean", "ΔE of the worst 1 %", "% of another colour")
    shares: dict[str, dict[str, float]] = {}
    for engine, its in made.items():
        known = {source: each["colors"] for source, each in its.items() if "colors" in each}
        if known:  # not of other sizes, nor in older rounds
            means = np.mean(list(known.values()), axis=(0, 1))
            shares[engine] = {source: np.mean(known[source], axis=0)[2] for source in known}
            table.add_row(engine, *f"{means[0]:.2f} {means[1]:.1f} {100 * means[2]:.2f}".split())
    if not shares:
        return ""
    pairs = (
        (source, ours, shares[BASE][source])
        for source, ours in shares.get(OURS, {}).items()
        if source in shares.get(BASE, {})
    )
    worse = [
        f"{source} ({100 * ours:.2f} %, {100 * theirs:.2f} %)"
        for source, ours, theirs in pairs
        if ours > theirs + _MORE
    ]
    return f"{table}\n\nMore of another colour than with {BASE}: {', '.join(worse) or 'none'}."


def _others(made: Found) -> str:
    """How large the WebP and the MP4 of large sources are; one that is larger is not offered."""
    table = Table("larger GIF over 50 kB", "GIF, KB", "WebP, KB", "MP4, KB")
    for source, its in made.get(ALL_FIVE, {}).items():
        gif = its["bytes"][1]
        if gif > HEAVY_BYTES:
            sizes = (its["others"].get(kind) for kind in ("webp", "mp4"))
            table.add_row(source, f"{gif / 1024:,.0f}", *(
                "" if size is None else f"{size / 1024:,.0f}" for size in sizes
            ))  # fmt: skip
    return str(table)


def _chart(rounds: list[Found]) -> Chart:
    """The totals of all engines."""
    made = _made(rounds)
    names = [name for name in made if name not in (ALL_FIVE, ALL_VERSIONS)]
    sources = list(made["ours"])

    def of(value: Callable[[dict[str, Any]], float]) -> dict[str, list[float]]:
        return {name: [sum(map(value, made[name].values()))] for name in names}

    quality = of(lambda its: statistics.mean(its["ssim"]) / len(sources))
    cpu = {name: _cpu(rounds, name, sources) for name in names}
    return Chart(f"Two GIFs of each of {len(sources)}: CPU, bytes, quality", names, [
        Measure("CPU, seconds", cpu, ".1f"),
        Measure("bytes, KB", of(lambda its: sum(its["bytes"]) / 1024), ",.0f"),
        Measure("SSIM, from 0.9 on", quality, ".3f", 0.9),
    ])  # fmt: skip
