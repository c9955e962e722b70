"""Animated GIFs made smaller: ours beside others, in one run: `make bench-images`.

Of each source a GIF within 200×200 and one within 480×480 pixels are made by our engine, by Pillow
frame by frame, and by gifsicle, ImageMagick and libvips where these are installed; and by ours once
more together with a poster, a WebP and an MP4, which as in Gifster are made of what has more than
50 kB, and dropped where they are not smaller than the larger GIF. All take turns, each in a process
of its own; CPU seconds are medians of `ROUNDS`. Memory is that of a process that imports our
engine, or Pillow, and does the same.

How alike it looks is measured by `likeness`.

The sources are the GIFs of ../shared/corpus where that is, else some that are made here.
ARGS="--folder DIR" takes yours instead, "--with ImageMagick --with libvips" adds what takes
minutes, "--plot FILE" draws the totals.
"""

import argparse
import os
import pickle
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageSequence
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.likeness import likeness, moments, pictures
from bench.plot import Measure, bars
from gifster import imaging
from gifster.imaging.errors import ImagingError
from gifster.imaging.probe import probe
from gifster.imaging.recipe import Image

ROUNDS = 3
HEAVY_BYTES = 50_000
SIDES = (200, 480)
CORPUS = Path(__file__).parent.parent.parent / "shared" / "corpus"
#: What the files of the corpus are; any other is "other".
CLASSES = {
    "photographic": ("cat-", "rock-", "sd-", "iss634"),
    "screen": ("terminal-", "phone"),
    "flat": ("sticker-", "led7", "chi", "different-transparency", "dispose-"),
    "small": ("flag-", "loop-count"),
}


class Seen(NamedTuple):
    """One engine on one source: CPU and wall-clock seconds, MB at most; bytes and SSIM by side; the
    bytes of what else it made."""

    kind: str
    cpu: float
    wall: float
    memory: float
    bytes: list[int]
    ssim: list[float]
    others: dict[str, int]


def ours(source: Path, targets: dict[int, Path]) -> None:
    recipes = {target: Image().fit(side, side) for side, target in targets.items()}
    list(imaging.render_unsandboxed(source, probe(source), recipes, Image()))


def all_five(source: Path, targets: dict[int, Path]) -> None:
    small, large = (Image().fit(side, side) for side in SIDES)
    preview, webp, mp4 = targets[SIDES[1]], _beside(targets, "webp"), _beside(targets, "mp4")
    recipes = {
        _beside(targets, "poster"): large.first_frame().convert("webp"),
        targets[SIDES[0]]: small,
        preview: large,
    }
    if source.stat().st_size > HEAVY_BYTES:
        recipes |= {webp: large.convert("webp"), mp4: large.convert("mp4")}
    for target in (*recipes, webp, mp4):
        target.unlink(missing_ok=True)
    list(
        imaging.render_unsandboxed(
            source, probe(source), recipes, Image(), {webp: preview, mp4: preview}
        )
    )


def _beside(targets: dict[int, Path], name: str) -> Path:
    return targets[SIDES[1]].with_suffix(f".{name}")


def pillow(source: Path, targets: dict[int, Path]) -> None:
    for side, target in targets.items():
        with PIL.Image.open(source) as image:
            frames, delays = [], []
            for frame in PIL.ImageSequence.Iterator(image):
                made = frame.convert("RGBA")
                made.thumbnail((side, side), PIL.Image.Resampling.BICUBIC)
                frames.append(made)
                delays.append(frame.info.get("duration", 100))
        frames[0].save(target, "GIF", save_all=True, append_images=frames[1:], duration=delays,
                       loop=0, disposal=2)  # fmt: skip


def gifsicle(source: Path, targets: dict[int, Path]) -> None:
    for side, target in targets.items():
        _run("gifsicle", "-O2", "--resize-fit", f"{side}x{side}", str(source), "-o", str(target))


def imagemagick(source: Path, targets: dict[int, Path]) -> None:
    for side, target in targets.items():
        _run("convert", str(source), "-coalesce", "-resize", f"{side}x{side}>", "-layers",
             "optimize", str(target))  # fmt: skip


def libvips(source: Path, targets: dict[int, Path]) -> None:
    for side, target in targets.items():
        _run("vips", "thumbnail", f"{source}[n=-1]", str(target), str(side), "--height", str(side),
             "--size", "down")  # fmt: skip


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


Engine = Callable[[Path, dict[int, Path]], None]
ALL_FIVE = "ours, all five"
ENGINES: dict[str, tuple[Engine, str | None]] = {
    "ours": (ours, None),
    ALL_FIVE: (all_five, None),
    "Pillow": (pillow, None),
    "gifsicle": (gifsicle, "gifsicle"),
    "ImageMagick": (imagemagick, "convert"),
    "libvips": (libvips, "vips"),
}
SLOW = {"ImageMagick", "libvips"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="more", action="append", default=[], choices=sorted(SLOW))
    parser.add_argument("--folder", type=Path, default=CORPUS, help="whose GIFs to take")
    parser.add_argument("--only", default="", help="sources whose name begins so")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the totals, as an SVG")
    parser.add_argument("--peak", nargs=2, metavar=("ENGINE", "SOURCE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        _show_peak(arguments.peak[0], Path(arguments.peak[1]))
        return
    engines = {
        name: engine
        for name, (engine, program) in ENGINES.items()
        if (name not in SLOW or name in arguments.more) and (not program or shutil.which(program))
    }
    imaging.preload()  # as the process has from which those for images are forked
    console = Console(width=130)
    with tempfile.TemporaryDirectory() as folder:
        found = _sources(arguments.folder, Path(folder))
        sources = [path for path in found if path.name.startswith(arguments.only)]
        seen = {name: [] for name in engines}
        for source in track(sources, "making GIFs", console=Console(stderr=True)):
            for name, result in _compare(source, engines, Path(folder)).items():
                seen[name].append(result)
        _show(console, seen, [source.stem for source in sources])
        if arguments.plot:
            _plot(arguments.plot, seen)
        _show_growth(console, Path(folder))


def _plot(path: Path, seen: dict[str, list[Seen]]) -> None:
    names = [name for name in seen if name != ALL_FIVE]

    def totals(value: Callable[[Seen], float]) -> dict[str, float]:
        return {name: sum(value(result) for result in seen[name]) for name in names}

    count = len(seen["ours"])
    alike = totals(lambda result: statistics.mean(result.ssim) / count)
    bars(path, f"Two GIFs of each of {count}: CPU, bytes, likeness", names, [
        Measure("CPU, seconds", totals(lambda result: result.cpu), ".1f"),
        Measure("bytes, KB", totals(lambda result: sum(result.bytes) / 1024), ",.0f"),
        Measure("SSIM, from 0.9 on", alike, ".3f", 0.9),
    ])  # fmt: skip


def _sources(folder: Path, otherwise: Path) -> list[Path]:
    """The animated GIFs of a folder; if there are none, some that are made."""
    if found := [path for path in sorted(folder.glob("*.gif")) if _moves(path)]:
        return found
    for name, size, count in (
        ("film", (600, 340), 40), ("screen", (800, 500), 60), ("flat", (500, 500), 20)
    ):  # fmt: skip
        _animation(size, count, name).rename(otherwise / f"{name}.gif")
    return sorted(otherwise.glob("*.gif"))


def _moves(path: Path) -> bool:
    try:
        return probe(path).frames > 1
    except ImagingError:
        return False


def _animation(size: tuple[int, int], count: int, kind: str) -> Path:
    """A film of noise that moves, a screen on which lines appear, or a disc that wanders."""
    frames = []
    chance = np.random.default_rng(1)
    film = PIL.Image.fromarray(chance.integers(0, 255, (40, 80, 3), dtype=np.uint8))
    film = film.resize((size[0] * 2, size[1]), PIL.Image.Resampling.BICUBIC)
    screen = PIL.Image.new("RGB", size, (24, 26, 32))
    for number in range(count):
        if kind == "film":
            at = number * 4 % size[0]
            frame = film.crop((at, 0, at + size[0], size[1]))
        else:
            frame = screen.copy() if kind == "flat" else screen
            draw = PIL.ImageDraw.Draw(frame)
            at = number * 12 % size[1]
            if kind == "flat":
                draw.ellipse((at, at, at + 80, at + 80), (230, 60, 90))
            else:
                draw.text((10, at), f"line {number} of what scrolls by", (200, 220, 200))
        frames.append(frame.quantize(200, PIL.Image.Quantize.FASTOCTREE))
    handle, name = tempfile.mkstemp(suffix=".gif")
    os.close(handle)
    frames[0].save(name, save_all=True, append_images=frames[1:], duration=50, loop=0)
    return Path(name)


def _compare(source: Path, engines: dict[str, Engine], folder: Path) -> dict[str, Seen]:
    targets = {name: {side: folder / f"{name}-{side}.gif" for side in SIDES} for name in engines}
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for number in range(ROUNDS):
        for name in engines if number % 2 else reversed(engines):
            costs[name].append(_cost(engines[name], source, targets[name]))
    kind = next((k for k, starts in CLASSES.items() if source.name.startswith(starts)), "other")
    at = moments(source)
    reference = pictures(source, at)
    return {
        name: Seen(
            kind,
            statistics.median(cost[0] for cost in costs[name]),
            statistics.median(cost[1] for cost in costs[name]),
            0 if ENGINES[name][1] else _peak(name, source),
            [targets[name][side].stat().st_size for side in SIDES],
            [likeness(reference, pictures(targets[name][side], at)) for side in SIDES],
            {
                kind: path.stat().st_size
                for kind in ("webp", "mp4")
                if (path := targets[name][SIDES[1]].with_suffix(f".{kind}")).exists()
            },
        )
        for name in engines
    }


def _cost(engine: Engine, *arguments: Any) -> tuple[float, float]:
    """CPU and wall-clock seconds of a call, in a child that is forked for it."""
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
        told = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(told), time.perf_counter() - started


def _peak(name: str, source: Path) -> float:
    """MB that a process takes in which nothing but one engine runs, Python and all."""
    command = [sys.executable, "-m", "bench.images", "--peak", name, str(source)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _show_peak(name: str, source: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ENGINES[name][0](source, {side: Path(folder) / f"{side}.gif" for side in SIDES})
    # Not getrusage(): that remembers how large the process was from which this one came.
    status = Path("/proc/self/status").read_text()
    print(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024)


def _show(console: Console, seen: dict[str, list[Seen]], names: list[str]) -> None:
    table = Table(title=f"Two GIFs of each source (within {SIDES[0]} and {SIDES[1]} pixels)")
    columns = "CPU s", "wall s", "peak MB", "KB", "SSIM 200", "SSIM 480", "CPU ratio", "bytes ratio"
    for column in ("", "engine", *columns):
        table.add_column(column, justify="right" if column in columns else "left")
    kinds = sorted({result.kind for result in seen["ours"]})
    groups = [(kind, lambda result, kind=kind: result.kind == kind) for kind in kinds]
    for title, belongs in [*groups, ("total", lambda result: True)]:
        sums = {name: [r for r in results if belongs(r)] for name, results in seen.items()}
        base = sums.get("gifsicle") or sums["Pillow"]
        for name, results in sums.items():
            cpu, size = sum(r.cpu for r in results), sum(sum(r.bytes) for r in results)
            base_cpu, base_size = sum(r.cpu for r in base), sum(sum(r.bytes) for r in base)
            most = max(result.memory for result in results)
            memory = f"{most:.0f}" if most else "-"
            table.add_row(
                title, name, f"{cpu:.2f}", f"{sum(r.wall for r in results):.2f}",
                memory, f"{size / 1024:,.0f}",
                *(f"{statistics.mean(r.ssim[at] for r in results):.4f}" for at in (0, 1)),
                f"{cpu / base_cpu:.2f}", f"{size / base_size:.2f}",
            )  # fmt: skip
        table.add_section()
    console.print(table)
    if "gifsicle" not in seen:
        return
    for name, mine, theirs in zip(names, seen["ours"], seen["gifsicle"], strict=True):
        ratio = sum(mine.bytes) / sum(theirs.bytes)
        below = [s for s, a, b in zip(SIDES, mine.ssim, theirs.ssim, strict=True) if a < b - 0.0005]
        if ratio > 1.5 or below:
            worse = f"; SSIM below gifsicle's at {below}" if below else ""
            console.print(f"{name}: {ratio:.2f} times the bytes of gifsicle's{worse}")
    _show_others(console, names, seen[ALL_FIVE])


def _show_others(console: Console, names: list[str], seen: list[Seen]) -> None:
    """Of what is large, which WebP and MP4 are smaller than the GIF within 480."""
    table = Table(title="WebP and MP4 beside the larger GIF, where that has more than 50 kB")
    for column in ("", "GIF, KB", "WebP, KB", "MP4, KB"):
        table.add_column(column, justify="right" if column else "left")
    for name, result in zip(names, seen, strict=True):
        gif = result.bytes[1]
        if gif > HEAVY_BYTES:
            others = [result.others.get(kind) for kind in ("webp", "mp4")]
            table.add_row(name, f"{gif / 1024:,.0f}", *(
                "-" if size is None else f"{size / 1024:,.0f}"
                + ("" if size < gif else " (not offered)") for size in others
            ))  # fmt: skip
    console.print(table)


def _show_growth(console: Console, folder: Path) -> None:
    table = Table(title="How all five grow: a film of so many frames and pixels")
    for column in ("frames", "pixels", "CPU s", "peak MB"):
        table.add_column(column, justify="right")
    for size, count in (((240, 136), 10), ((240, 136), 100), ((240, 136), 1000),
                        ((480, 272), 100), ((960, 544), 100)):  # fmt: skip
        source = _animation(size, count, "film")
        targets = {side: folder / f"grow-{side}.gif" for side in SIDES}
        cpu, _ = _cost(all_five, source, targets)
        memory = _peak(ALL_FIVE, source)
        table.add_row(f"{count:,}", f"{size[0]}×{size[1]}", f"{cpu:.2f}", f"{memory:.0f}")
        source.unlink()
    console.print(table)


if __name__ == "__main__":
    main()
