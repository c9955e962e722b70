"""What an installation takes: packages and megabytes of each extra, and the CPU time of imports.

Builds the wheel, and installs it with each extra into an empty environment, with the locked
versions. Gifster is one of the packages, and the megabytes count bytecode. The imports take turns,
each in a new Python.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import figures
from bench.page import Section, Table
from bench.plot import Chart, Measure
from bench.rounds import Options
from tests.distribution import Environment, build_wheel

EXTRAS = ("", "[s3]", "[mp4]", "[rabbitmq]", "[postgresql]", "[jobs-page]", "[server]")
#: How often each import is measured in a round.
IMPORTED = 20
BOTH = "import gifster.uploads, gifster.jobs"
CONNECT = "; gifster.jobs.connect('redis://127.0.0.1:6379/0')"
#: What is measured, in which environment.
IMPORTS = (
    ("pass", ""),
    ("import gifster.jobs", ""),
    (BOTH, ""),
    (BOTH + CONNECT, ""),
    ("import dramatiq, peewee", ""),
    ("import dramatiq, peewee, redis, PIL.Image, urllib3", ""),
    (BOTH, "[postgresql]"),
    (BOTH, "[server]"),
)


def measure(options: Options) -> dict[str, Any]:
    """The packages and megabytes of each extra, and the CPU seconds of each import."""
    extras = ("", "[server]") if options.quick else EXTRAS
    imports = [each for each in IMPORTS if each[1] in extras]
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder) / "wheel")
        environments = {extra: Environment(Path(folder) / (extra or "plain")) for extra in extras}
        sizes: dict[str, dict[str, float]] = {}
        for extra, environment in environments.items():
            print(f"installing gifster{extra}", file=sys.stderr)
            environment.make(wheel, extra)
            count = len(environment.packages())
            sizes[f"gifster{extra}"] = {"packages": count, "MB": environment.megabytes()}
        spent: dict[tuple[str, str], list[float]] = {each: [] for each in imports}
        for number in range(1 + (3 if options.quick else IMPORTED)):
            for code, extra in imports:
                seconds = environments[extra].cpu_s(code)
                if number:  # the first round may compile something
                    spent[code, extra].append(seconds)
    return {
        "sizes": sizes,
        "imports": [[code, f"gifster{extra}", spent[code, extra]] for code, extra in imports],
    }


def section(rounds: list[dict[str, Any]]) -> Section:
    """What an installation takes on the disk, and an import of the processor."""
    sizes = [found["sizes"] for found in rounds]
    taken = Table("installed", "packages", "MB")
    for extra in figures.sides(sizes):
        packages, megabytes = (figures.samples(sizes, extra, name) for name in ("packages", "MB"))
        taken.add_row(f"`{extra}`", f"{packages[-1]:.0f}", f"{megabytes[-1]:.1f}")
    imports = Table(
        "CPU time of a new Python process", "installed", "median, s (lowest to highest)"
    )
    for code, extra, _ in rounds[0]["imports"]:
        seconds = [
            value
            for found in rounds
            for its_code, its_extra, values in found["imports"]
            for value in values
            if (its_code, its_extra) == (code, extra)
        ]
        imports.add_row(f"`{code}`", f"`{extra}`", figures.spread(seconds, ".3f"))
    chart = Chart("What an installation takes", figures.sides(sizes), [
        Measure("MB", figures.by_side(sizes, "MB"), ".1f"),
        Measure("packages", figures.by_side(sizes, "packages"), ".0f"),
    ])  # fmt: skip
    return Section(f"{taken}\n\n{imports}", {"sizes": chart})
