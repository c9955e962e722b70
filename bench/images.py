"""Make animated GIFs smaller: our engine beside others.

Our engine, Pillow frame by frame and, where they are installed, gifsicle, ImageMagick and libvips
make two GIFs of each source, within 200×200 and 480×480 pixels. Our engine does it once more
together with a poster and, of sources over 50 kB, a WebP and an MP4, which are dropped if they are
not smaller than the larger GIF.

The engines take turns, each call in a process of its own. Memory is that of a process that imports
only our engine, or Pillow, and does the same. The quality is measured by `image_quality`, and that
of colours by `image_colors`.

The sources are the GIFs in the folder `shared/corpus` beside the checkout, or of the folder that
was named, or else some made here.
"""

import gc
import os
import pickle
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.image_colors import difference
from bench.image_engines import (
    ALL_FIVE,
    ALL_VERSIONS,
    BASE,
    ENGINES,
    OURS,
    SIDES,
    SLOW,
    all_five,
    available,
    gifsicle_not_shrunk,
    not_shrunk,
)
from bench.image_quality import moments, pictures, similarity
from bench.image_sources import CORPUS, animation, find, kind_of
from bench.rounds import Options
from gifster import imaging

#: The films whose costs are compared: pixels and frames.
FILMS = [
    ((240, 136), 10), ((240, 136), 100), ((240, 136), 1000), ((480, 272), 100), ((960, 544), 100),
]  # fmt: skip


def measure(options: Options) -> dict[str, dict[str, dict[str, Any]]]:
    """What each engine costs and makes of each source."""
    engines = available()
    if options.quick:
        engines = {name: engine for name, engine in engines.items() if name not in SLOW}
    _preload()
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in engines}
    with tempfile.TemporaryDirectory() as folder:
        sources = find(options.folder or CORPUS, Path(folder))
        for number, source in enumerate(sources := sources[: 3 if options.quick else None], 1):
            print(f"{number} of {len(sources)}: {source.name}", file=sys.stderr)
            try:
                quality = _Quality(source)
            except (OSError, EOFError, SyntaxError) as error:  # it is damaged
                print(f"left out, as Pillow cannot show it: {error}", file=sys.stderr)
                continue
            weighs = not options.only
            for name in options.chosen(list(engines)):
                target = {side: Path(folder) / f"{name}-{side}.gif" for side in SIDES}
                cpu, wall = cost(engines[name], source, target)
                made = {} if name == ALL_VERSIONS else _made(name, source, target, quality, weighs)
                found[name][source.stem] = {"cpu": cpu, "wall": wall, **made}
    return {name: its for name, its in found.items() if its}


def _preload() -> None:
    """Do what the server of the sandbox does before it forks for each call."""
    imaging.preload()
    gc.freeze()


class _Quality:
    """How good GIFs of a source look. Equal ones are measured once."""

    def __init__(self, source: Path) -> None:
        self._moments = moments(source)
        self._reference = pictures(source, self._moments)
        self._known: dict[bytes, tuple[float, tuple[float, ...]]] = {}

    def of(self, made: Path) -> tuple[float, tuple[float, ...]]:
        """The SSIM of a GIF, and how far its colours are off."""
        content = made.read_bytes()
        if content not in self._known:
            shown = pictures(made, self._moments)
            self._known[content] = (
                similarity(self._reference, shown), tuple(difference(self._reference, shown))
            )  # fmt: skip
        return self._known[content]


def _made(
    name: str, source: Path, targets: dict[int, Path], quality: _Quality, weighs: bool
) -> dict[str, Any]:
    """What an engine has made, how good it looks, and, if it is to be weighed, the memory (MB) that
    it needs for that."""
    others = (targets[SIDES[1]].with_suffix(f".{kind}") for kind in ("webp", "mp4"))
    is_ours = ENGINES[name][1] is None
    ssim, colors = zip(*(quality.of(targets[side]) for side in SIDES), strict=True)
    return {
        "kind": kind_of(source),
        "original": source.stat().st_size,
        "memory": _peak(name, source) if is_ours and weighs else None,
        "bytes": [targets[side].stat().st_size for side in SIDES],
        "ssim": list(ssim),
        "colors": list(colors),
        "others": {path.suffix[1:]: path.stat().st_size for path in others if path.exists()},
    }


def rewriting(options: Options) -> dict[str, dict[str, dict[str, float]]]:
    """What it costs to write each source again in its own size, and how many bytes that has."""
    _preload()
    engines = {OURS: not_shrunk} | ({BASE: gifsicle_not_shrunk} if BASE in available() else {})
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in engines}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "target.gif"
        sources = find(options.folder or CORPUS, Path(folder))
        for source in sources[: 3 if options.quick else None]:
            for name in options.chosen(list(engines)):
                cpu, _ = cost(engines[name], source, target)
                size, original = target.stat().st_size, source.stat().st_size
                found[name][source.stem] = {"cpu": cpu, "bytes": size, "original": original}
    return found


def growth(options: Options) -> dict[str, dict[str, float]]:
    """How CPU and memory of all five versions grow with the frames and pixels of a film."""
    _preload()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for size, count in FILMS[: 2 if options.quick else None]:
            source = animation(size, count, "film")
            targets = {side: Path(folder) / f"{side}.gif" for side in SIDES}
            cpu, _ = cost(all_five, source, targets)
            memory = _peak(ALL_FIVE, source)
            name = f"{count:,} frames of {size[0]}×{size[1]}"
            found[name] = {"CPU s": cpu, "MB": memory}
            source.unlink()
    return found


def cost(engine: Callable[..., object], *arguments: Any, **named: Any) -> tuple[float, float]:
    """CPU and wall-clock seconds of a call, in a forked child."""
    reading, writing = os.pipe()
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF)
        engine(*arguments, **named)
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
    command = [sys.executable, "-m", "bench.images", name, str(source)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _show_peak(name: str, source: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ENGINES[name][0](source, {side: Path(folder) / f"{side}.gif" for side in SIDES})
    # Not getrusage(): its maximum includes the parent process before exec.
    status = Path("/proc/self/status").read_text()
    print(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024)


if __name__ == "__main__":
    _show_peak(sys.argv[1], Path(sys.argv[2]))
