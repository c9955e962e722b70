"""Make animated GIFs smaller: our engine beside others, in one run. `make bench-images` runs it.

Our engine, Pillow frame by frame and, where they are installed, gifsicle, ImageMagick and libvips
make two GIFs of each source, within 200×200 and 480×480 pixels. Our engine does it once more
together with a poster, a WebP and an MP4: as in Gifster, these are made of sources over 50 kB, and
dropped if they are not smaller than the larger GIF.

The engines take turns, each call in a process of its own; CPU seconds are the median of `ROUNDS`.
Memory is that of a process that imports only our engine, or Pillow, and does the same. The quality
is measured by `image_quality`.

The sources are the GIFs in the folder `shared/corpus` beside the checkout, or else some made here.
ARGS="--folder DIR" takes yours instead, "--with ImageMagick --with libvips" adds the engines that
take minutes, "--plot FILE" draws the totals.
"""

import argparse
import os
import pickle
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import image_report
from bench.image_engines import ALL_FIVE, ENGINES, SIDES, SLOW, Engine, all_five, available
from bench.image_quality import moments, pictures, similarity
from bench.image_report import Result
from bench.image_sources import CORPUS, animation, find, kind_of
from gifster import imaging

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="more", action="append", default=[], choices=sorted(SLOW))
    parser.add_argument("--folder", type=Path, default=CORPUS, help="take the GIFs of this folder")
    parser.add_argument("--only", default="", help="only sources whose name begins with this")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the totals as an SVG")
    parser.add_argument("--peak", nargs=2, metavar=("ENGINE", "SOURCE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        _show_peak(arguments.peak[0], Path(arguments.peak[1]))
        return
    engines = available(arguments.more)
    imaging.preload()  # as in the server that forks the sandboxes
    console = Console(width=130)
    with tempfile.TemporaryDirectory() as folder:
        found = find(arguments.folder, Path(folder))
        sources = [path for path in found if path.name.startswith(arguments.only)]
        results = {name: [] for name in engines}
        for source in track(sources, "making GIFs", console=Console(stderr=True)):
            for name, result in _compare(source, engines, Path(folder)).items():
                results[name].append(result)
        image_report.show(console, results, [source.stem for source in sources])
        if arguments.plot:
            image_report.plot(arguments.plot, results)
        _show_growth(console, Path(folder))


def _compare(source: Path, engines: dict[str, Engine], folder: Path) -> dict[str, Result]:
    """Measure all engines on one source."""
    targets = {name: {side: folder / f"{name}-{side}.gif" for side in SIDES} for name in engines}
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for number in range(ROUNDS):
        for name in engines if number % 2 else reversed(engines):
            costs[name].append(_cost(engines[name], source, targets[name]))
    at = moments(source)
    reference = pictures(source, at)
    return {
        name: Result(
            kind_of(source),
            statistics.median(cost[0] for cost in costs[name]),
            statistics.median(cost[1] for cost in costs[name]),
            0 if ENGINES[name][1] else _peak(name, source),
            [targets[name][side].stat().st_size for side in SIDES],
            [similarity(reference, pictures(targets[name][side], at)) for side in SIDES],
            {
                kind: path.stat().st_size
                for kind in ("webp", "mp4")
                if (path := targets[name][SIDES[1]].with_suffix(f".{kind}")).exists()
            },
        )
        for name in engines
    }


def _cost(engine: Engine, *arguments: Any) -> tuple[float, float]:
    """CPU and wall-clock seconds of a call, in a forked child."""
    reading, writing = os.pipe()
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF)
        engine(*arguments)
        after = resource.getrusage(resource.RUSAGE_SELF)
        others = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = sum(used.ru_utime + used.ru_stime for used in (after, others))
        cpu -= before.ru_utime + before.ru_stime
        os.write(writing, pickle.dumps(cpu))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(answer), time.perf_counter() - started


def _peak(name: str, source: Path) -> float:
    """Peak memory (MB) of a process that runs only one engine, including Python."""
    command = [sys.executable, "-m", "bench.images", "--peak", name, str(source)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _show_peak(name: str, source: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ENGINES[name][0](source, {side: Path(folder) / f"{side}.gif" for side in SIDES})
    # Not getrusage(): its maximum includes the parent process before exec.
    status = Path("/proc/self/status").read_text()
    print(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024)


def _show_growth(console: Console, folder: Path) -> None:
    """Print how CPU and memory of all five grow with frames and pixels."""
    table = Table(title="How all five grow: a film of so many frames and pixels")
    for column in ("frames", "pixels", "CPU s", "peak MB"):
        table.add_column(column, justify="right")
    for size, count in (((240, 136), 10), ((240, 136), 100), ((240, 136), 1000),
                        ((480, 272), 100), ((960, 544), 100)):  # fmt: skip
        source = animation(size, count, "film")
        targets = {side: folder / f"grow-{side}.gif" for side in SIDES}
        cpu, _ = _cost(all_five, source, targets)
        memory = _peak(ALL_FIVE, source)
        table.add_row(f"{count:,}", f"{size[0]}×{size[1]}", f"{cpu:.2f}", f"{memory:.0f}")
        source.unlink()
    console.print(table)


if __name__ == "__main__":
    main()
