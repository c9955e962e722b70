"""A folder of many uploads, beside an empty one.

The full one has empty files under the keys that uploads get. Measures how long `LocalStorage` takes
to store 20 kB (two syncs of the disk), to open and to delete.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import figures
from bench.page import Section, Table
from bench.rounds import Options
from gifster.uploads import LocalStorage

SAMPLES = 300
COUNT, QUICK_COUNT = 200_000, 10_000
EMPTY, FULL = "empty", "full"
CALLS: dict[str, Callable[[LocalStorage, Path, str], None]] = {
    "upload": lambda storage, source, key: storage.upload(source, key, "image/gif"),
    "open": lambda storage, source, key: storage.open(key).close(),
    "delete": lambda storage, source, key: storage.delete(key),
}


def key(number: int) -> str:
    """A key as `Uploader.store_dir()` and `folder()` make it."""
    return f"gif/image/{number}/{number:016x}/original.gif"


def measure(options: Options) -> dict[str, dict[str, float]]:
    """Microseconds of each call of the storage, in turn in an empty folder and in a full one."""
    count = QUICK_COUNT if options.quick else COUNT
    folder = Path(tempfile.mkdtemp(prefix="gifster-bench-"))
    try:
        source = folder / "source"
        source.write_bytes(bytes(20_000))
        storages = {name: LocalStorage(folder / name) for name in (EMPTY, FULL)}
        for number in range(count):
            path = storages[FULL].path(key(number))
            path.parent.mkdir(parents=True)
            path.touch()
        times: dict[str, dict[str, list[float]]] = {
            name: {call: [] for call in CALLS} for name in storages
        }
        for number in range(10**9, 10**9 + SAMPLES):
            for name, storage in storages.items():
                for call, work in CALLS.items():
                    started = time.perf_counter()
                    work(storage, source, key(number))
                    times[name][call].append((time.perf_counter() - started) * 1e6)
    finally:
        shutil.rmtree(folder)
    found = {
        name: {call: statistics.median(taken) for call, taken in calls.items()}
        for name, calls in times.items()
    }
    return found | {FULL: found[FULL] | {"files": count}}


def section(rounds: list[figures.Figures]) -> Section:
    """What a folder of many entries costs."""
    files = figures.median(figures.samples(rounds, FULL, "files"), ",.0f")
    table = Table("median call, µs", "empty", f"{files} files", "ratio")
    for call in CALLS:
        empty, full = (figures.samples(rounds, side, call) for side in (EMPTY, FULL))
        ratios = figures.ratios(rounds, FULL, call, EMPTY)
        table.add_row(
            call, figures.spread(empty, ".0f"), figures.spread(full, ".0f"),
            figures.spread(ratios, ".2f"),
        )  # fmt: skip
    return Section(str(table))
