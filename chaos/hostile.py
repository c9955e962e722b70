"""`make hostile`: `python -m chaos.hostile [--requests N] [--seed S]`.

On SQLite and on PostgreSQL, it sends thousands of hostile requests (`hostile_requests`) and attacks
connections (`wire`). Then, on SQLite only, it sends crowds of large bodies that consist of nothing
but structure (`crowd`): checking these does not involve the database.

The exit status is 1 if any requirement was not met.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from chaos import crowd, hostile_requests, wire
from chaos.databases import DATABASES, NotHere
from chaos.hostile_requests import GROWTH_BYTES, MB, Outcome

PARTS = ["requests", "connections", "crowds"]


Steps = Callable[[str, int], Callable[[int], None]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos.hostile", description=__doc__)
    parser.add_argument(
        "--requests",
        type=int,
        default=5_000,
        help="at least this many on each database (default 5000)",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=PARTS, help="run only this part")
    parser.add_argument("--databases", nargs="+", choices=list(DATABASES), default=list(DATABASES))
    parser.add_argument("--keep", action="store_true", help="keep the folder, with all logs")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gifster-hostile-"))
    started = time.monotonic()
    console = Console(width=120, highlight=False)
    with Progress(console=Console(stderr=True), transient=True) as progress:

        def steps(name: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(name, total=total)
            return lambda done: progress.advance(task, done)

        fine = [_on(name, folder / name, options, console, steps) for name in options.databases]
        if options.only in (None, "crowds"):
            crowds = crowd.attack(folder / "crowds", steps("crowds", len(crowd.PLAN)))
            crowd.show(crowds, console)
            fine += [each.stood for each in crowds]
    print(f"seed {options.seed}, {time.monotonic() - started:.0f} s")
    if options.keep:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(fine) else 1


def _on(
    name: str, folder: Path, options: argparse.Namespace, console: Console, steps: Steps
) -> bool:
    """Attack a Gifster on one database; returns whether all requirements were met."""
    fine = True
    try:
        with DATABASES[name]() as url:
            if options.only in (None, "requests"):
                step = steps(f"{name}: requests", options.requests)
                outcome = hostile_requests.attack(
                    folder / "requests", options.requests, options.seed, step, url
                )
                show(name, outcome, console)
                fine &= outcome.stood and outcome.answers.growth < GROWTH_BYTES
            if options.only in (None, "connections"):
                step = steps(f"{name}: connections", wire.COUNT)
                sieges = wire.attack(folder / "connections", url, step=step)
                wire.show(name, sieges, console)
                fine &= all(siege.stood for siege in sieges)
    except NotHere as error:
        console.print(f"{name}: not run, {error}", style="red")
    return fine


def show(name: str, outcome: Outcome, console: Console) -> None:
    """Print the results of the requests on one database."""
    answers = outcome.answers
    table = Table(f"requests, {name}", "sent", "answers", box=None, pad_edge=False)
    for kind, counts in answers.by_kind.items():
        spread = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items()))
        table.add_row(kind, f"{counts.total():,}", spread)
    console.print(table)
    accepted = ", ".join(f"{count:,} {state}" for state, count in sorted(outcome.states.items()))
    steps = answers.memory[:: max(1, len(answers.memory) // 12)]
    console.print(
        f"{answers.total:,} requests, {len(answers.wrong)} answers with a 5xx or a traceback, "
        f"{outcome.died} processes died, {outcome.left} left behind; accepted: {accepted}\n"
        f"web process over time, MB: {', '.join(f'{size / MB:.0f}' for size in steps)}"
    )
    for wrong in answers.wrong[:10]:
        console.print(wrong, style="red")


if __name__ == "__main__":
    sys.exit(main())
