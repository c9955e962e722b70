"""The time and memory of a sweep in libraries of different sizes.

Each library (`bench.sweep_library`) is a folder of files and a SQLite database. Half as many rows
name the files; one row in a thousand is missing, and one in twenty waits for a job. The sweep runs
in a separate process, without repairing. Its memory is its peak, less the memory before the sweep.
"""

import json
import subprocess
import sys
import tempfile

from bench import figures
from bench.page import Section, Table
from bench.rounds import Options

COUNTS = [1_000, 20_000, 200_000]


def measure(options: Options) -> dict[str, dict[str, float]]:
    """By the number of files, what a sweep takes and finds."""
    found = {}
    for count in COUNTS[: 2 if options.quick else None]:
        with tempfile.TemporaryDirectory(prefix="gifster-bench-") as folder:
            print(f"making {count:,} files", file=sys.stderr)
            _run(folder, str(count))
            took, grown, counts = json.loads(_run(folder))
        found[f"{count:,}"] = {"s": took, "MB": grown, **counts}
    return found


def _run(*arguments: str) -> str:
    command = [sys.executable, "-m", "bench.sweep_library", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def section(rounds: list[figures.Figures]) -> Section:
    """How the sweep grows with the library."""
    table = Table("files", "s", "µs a file", "MB", "orphans", "missing", "stuck")
    for count in figures.sides(rounds):
        seconds, megabytes = (figures.samples(rounds, count, name) for name in ("s", "MB"))
        each = [value / int(count.replace(",", "")) * 1e6 for value in seconds]
        table.add_row(
            count, figures.spread(seconds, ".2f"), figures.median(each, ".0f"),
            figures.spread(megabytes, ".0f"),
            *(figures.median(figures.samples(rounds, count, what), ",.0f")
              for what in ("orphans", "missing", "stuck")),
        )  # fmt: skip
    return Section(str(table))
