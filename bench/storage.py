"""Compares a folder of a million uploads with an empty one: `python -m bench.storage [COUNT]`.

It measures `LocalStorage` before and after it makes COUNT empty files under the keys that uploads
get (by default a million, which takes some minutes). It measures storing 20 kB (two syncs of the
disk), opening and deleting. It removes everything at the end.
"""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from gifster.uploads import LocalStorage

SAMPLES = 300


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


def measure(storage: LocalStorage, source: Path) -> list[float]:
    return [
        microseconds(lambda n: storage.upload(source, key(n), "image/gif")),
        microseconds(lambda n: storage.open(key(n)).close()),
        microseconds(lambda n: storage.delete(key(n))),
    ]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    folder = Path(tempfile.mkdtemp(prefix="gifster-bench-"))
    try:
        source = folder / "source"
        source.write_bytes(bytes(20_000))
        storage = LocalStorage(folder / "store")
        empty = measure(storage, source)
        for number in track(range(count), "making files", console=Console(stderr=True)):
            path = storage.path(key(number))
            path.parent.mkdir(parents=True)
            path.touch()
        full = measure(storage, source)
    finally:
        shutil.rmtree(folder)
    table = Table("median, µs", "empty", f"{count:,} files", "ratio")
    for name, before, after in zip(("upload", "open", "delete"), empty, full, strict=True):
        table.add_row(name, f"{before:.0f}", f"{after:.0f}", f"{after / before:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
