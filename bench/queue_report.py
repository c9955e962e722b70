"""The tables and the chart of `bench.queues`."""

import statistics

from bench import figures
from bench.page import Section, Table
from bench.plot import Chart, Measure

FIRST = 1_000
DONE, ONE, MANY = "done per second", "enqueued per second", "enqueued per second in bulk"
READY, CPU = "first start after the command, s", "CPU until then, s"
START = "idle start, ms"
MEMORY = "memory of the worker, MB"
IDLE_CPU, COMMANDS = "idle, % of a core", "idle, commands per second"
DEFAULT = f"starts of `default` of the first {FIRST:,} (exact: 625)"
#: The formats of the figures.
FORMS = {DONE: ",.0f", ONE: ",.0f", MANY: ",.0f", START: ".2f", READY: ".2f"}
COSTS = {CPU: ".2f", MEMORY: ".0f", IDLE_CPU: ".1f", COMMANDS: ".0f", DEFAULT: ".0f"}
OURS = "ours"


def section(rounds: list[figures.Figures]) -> Section:
    """What each kind does, and how ours compares with each other."""
    kinds = figures.sides(rounds)
    parts = [_speeds(rounds), _ratios(rounds), _costs(rounds)]
    chart = Chart("Queues: medians, lowest and highest", kinds, [
        Measure(name, figures.by_side(rounds, name), form) for name, form in FORMS.items()
    ])  # fmt: skip
    return Section("\n\n".join(parts), {"speed": chart})


def _speeds(rounds: list[figures.Figures]) -> str:
    columns = [START + ", median", "95 %", "maximum"]
    table = Table("", DONE, ONE, "in bulk", *columns, READY)
    for kind in figures.sides(rounds):
        starts = figures.samples(rounds, kind, START)
        table.add_row(
            kind,
            *(figures.spread(figures.samples(rounds, kind, name), FORMS[name])
              for name in (DONE, ONE, MANY)),
            figures.median(starts, ".2f"),
            _percentile_95(starts),
            f"{max(starts):.2f}" if starts else "",
            figures.spread(figures.samples(rounds, kind, READY), FORMS[READY]),
        )  # fmt: skip
    return str(table)


def _percentile_95(values: list[float]) -> str:
    if len(values) < 2:
        return ""
    return f"{statistics.quantiles(values, n=20, method='inclusive')[-1]:.2f}"


def _ratios(rounds: list[figures.Figures]) -> str:
    table = Table("ratio in the same round", *FORMS)
    for kind in figures.sides(rounds):
        if kind != OURS:
            ratios = (figures.ratios(rounds, OURS, name, kind) for name in FORMS)
            table.add_row(f"{OURS} : {kind}", *(figures.spread(each, ".2f") for each in ratios))
    return str(table)


def _costs(rounds: list[figures.Figures]) -> str:
    table = Table("", *COSTS)
    for kind in figures.sides(rounds):
        table.add_row(kind, *(
            figures.spread(figures.samples(rounds, kind, name), form)
            for name, form in COSTS.items()
        ))  # fmt: skip
    return str(table)
