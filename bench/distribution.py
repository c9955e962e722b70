"""What an installation takes: `make bench-install`, two or three minutes.

Builds the wheel, and installs it with each extra into an empty environment, with the locked
versions. The tables show the packages (Gifster is one of them), their megabytes with bytecode, and
how much CPU time a new Python needs to import the libraries, with bytecode. The imports take turns;
the table shows the median and the least of 20 rounds.
"""

import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.distribution import Environment, build_wheel

EXTRAS = ("", "[s3]", "[mp4]", "[rabbitmq]", "[postgresql]", "[jobs-page]", "[server]")
ROUNDS = 20
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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder) / "wheel")
        environments = {extra: Environment(Path(folder) / (extra or "plain")) for extra in EXTRAS}
        sizes = Table("installed", "packages", "MB", title="Packages")
        for extra in track(EXTRAS, "Installing…"):
            environments[extra].make(wheel, extra)
            packages, size = environments[extra].packages(), environments[extra].megabytes()
            sizes.add_row(f"gifster{extra}", str(len(packages)), f"{size:.1f}")
        spent: dict[tuple[str, str], list[float]] = {each: [] for each in IMPORTS}
        for number in track(range(ROUNDS + 1), "Importing…"):
            for code, extra in IMPORTS:
                seconds = environments[extra].cpu_s(code)
                if number:  # the first round may compile something
                    spent[code, extra].append(seconds)
        times = Table("CPU time of", "installed", "median, s", "least, s", title="Imports")
        for (code, extra), rounds in spent.items():
            median, least = f"{statistics.median(rounds):.3f}", f"{min(rounds):.3f}"
            times.add_row(code, f"gifster{extra}", median, least)
        console = Console(width=120)
        for table in (sizes, times):
            console.print(table, markup=False)


if __name__ == "__main__":
    main()
