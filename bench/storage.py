"""A folder of many uploads, beside an empty one.

Measures `LocalStorage` before and after it makes empty files under the keys that uploads get: how
long it takes to store 20 kB (two syncs of the disk), to open and to delete.
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


def key(number: int) -> str:
    """A key as `Uploader.store_dir()` and `folder()` make it."""
    return f"gif/image/{number}/{number:016x}/original.gif"


def microseconds(work: Callable[[int], None]) -> float:
    taken = []
    for number in range(10**9, 10**9 + SAMPLES):
        started = time.perf_counter()
        work(number)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e6


def measure(options: Options) -> dict[str, dict[str, float]]:
    """Microseconds of each call of the storage: in an empty folder, and in a full one."""
    count = QUICK_COUNT if options.quick else COUNT
    folder = Path(tempfile.mkdtemp(prefix="gifster-bench-"))
    try:
        source = folder / "source"
        source.write_bytes(bytes(20_000))
        storage = LocalStorage(folder / "store")
        empty = _calls(storage, source)
        for number in range(count):
            path = storage.path(key(number))
            path.parent.mkdir(parents=True)
            path.touch()
        full = _calls(storage, source)
    finally:
        shutil.rmtree(folder)
    return {EMPTY: empty, FULL: full | {"files": count}}


def _calls(storage: LocalStorage, source: Path) -> dict[str, float]:
    return {
        "upload": microseconds(lambda n: storage.upload(source, key(n), "image/gif")),
        "open": microseconds(lambda n: storage.open(key(n)).close()),
        "delete": microseconds(lambda n: storage.delete(key(n))),
    }


def section(rounds: list[figures.Figures]) -> Section:
    """What a folder of many entries costs."""
    files = figures.median(figures.samples(rounds, FULL, "files"), ",.0f")
    table = Table("median call, µs", "empty", f"{files} files", "ratio")
    for call in ("upload", "open", "delete"):
        empty, full = (figures.samples(rounds, side, call) for side in (EMPTY, FULL))
        ratios = figures.ratios(rounds, FULL, call, EMPTY)
        table.add_row(
            call, figures.spread(empty, ".0f"), figures.spread(full, ".0f"),
            figures.spread(ratios, ".2f"),
        )  # fmt: skip
    return Section(str(table))
