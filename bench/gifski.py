"""Make animated GIFs smaller: our engine beside gifski, with as many bytes.

gifski takes no GIF, but PNGs and a number of frames a second. So it gets the frames of a source
that differ from the one before, without compression, and a picture of its result is compared with
that of the same number in the source. Its quality is chosen by bisection: the highest with which it
has no more bytes than our GIF, or else the lowest. Only the CPU of that run counts. Writing the
PNGs is not counted, reading them is.

`BENCH_GIFSKI=FILE` names its program, unless it is on the path.
"""

import bisect
import os
import shutil
import subprocess
import tempfile
from itertools import accumulate
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageSequence

from bench.image_engines import OURS, SIDES, ours
from bench.image_quality import MOMENTS, pictures, similarity, timeline
from bench.image_sources import CORPUS, find, kind_of
from bench.images import cost
from bench.page import Section, Table
from bench.rounds import Options, Unavailable
from gifster import imaging

GIFSKI = "gifski"
#: The qualities that gifski takes, and how many of them are tried at most.
_LEAST, _MOST, _TRIES = 1, 100, 5
#: Bytes are as good as equal up to this factor.
_EQUAL = 1.02
_FPS = 20


def measure(options: Options) -> dict[str, dict[str, dict[str, Any]]]:
    """The CPU, bytes and SSIM of both, by source.

    Raises:
      Unavailable: there is no gifski.
    """
    program = os.environ.get("BENCH_GIFSKI") or shutil.which(GIFSKI)
    if program is None:
        raise Unavailable("no gifski is on the path, and BENCH_GIFSKI names none")
    imaging.preload()
    found: dict[str, dict[str, dict[str, Any]]] = {OURS: {}, GIFSKI: {}}
    with tempfile.TemporaryDirectory() as folder:
        sources = find(options.folder or CORPUS, Path(folder))
        for source in sources[: 3 if options.quick else None]:
            for name, made in _compare(program, source, Path(folder)).items():
                found[name][source.stem] = {"kind": kind_of(source), **made}
    return found


def _compare(program: str, source: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """What both make of a source."""
    frames = _Frames(source, folder / "frames")
    targets = {side: folder / f"{side}.gif" for side in SIDES}
    cpu, _ = cost(ours, source, targets)
    made: dict[str, dict[str, Any]] = {
        OURS: {"cpu": cpu, "bytes": [], "ssim": []},
        GIFSKI: {"cpu": 0.0, "bytes": [], "ssim": [], "quality": []},
    }
    for target in targets.values():
        with PIL.Image.open(target) as image:
            size = image.size
        our_bytes = target.stat().st_size
        made[OURS]["bytes"].append(our_bytes)
        made[OURS]["ssim"].append(similarity(frames.wanted, pictures(target, frames.moments)))
        theirs = _Gifski(program, frames.paths, size, folder / "gifski.gif")
        quality = theirs.best(_EQUAL * our_bytes)
        made[GIFSKI]["quality"].append(quality)
        made[GIFSKI]["cpu"] += theirs.write(quality)
        made[GIFSKI]["bytes"].append(theirs.target.stat().st_size)
        moments = [int((number + 0.5) * 1000 / _FPS) for number in frames.numbers]
        made[GIFSKI]["ssim"].append(similarity(frames.wanted, pictures(theirs.target, moments)))
    shutil.rmtree(frames.folder)
    return made


class _Frames:
    """The frames of a source that differ from the one before, as PNGs.

    Attributes:
      moments: when the source is compared (ms), `numbers` which frame it shows then, and `wanted`
        that frame.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        delays, self.paths = [], list[Path]()
        last: PIL.Image.Image | None = None
        begins, total = timeline(source)
        ends = [*begins[1:], total]
        with PIL.Image.open(source) as image:
            for begin, end, each in zip(
                begins, ends, PIL.ImageSequence.Iterator(image), strict=True
            ):
                frame = each.convert("RGBA")
                if last is not None and frame.tobytes() == last.tobytes():
                    delays[-1] += end - begin
                    continue
                delays.append(end - begin)
                self.paths.append(folder / f"{len(delays):05}.png")
                frame.save(self.paths[-1], compress_level=0)
                last = frame
        self.moments = [int(total * (number + 0.5) / MOMENTS) for number in range(MOMENTS)]
        starts = list(accumulate(delays, initial=0))[:-1]
        self.numbers = [bisect.bisect_right(starts, moment) - 1 for moment in self.moments]
        self.wanted = pictures(source, self.moments)


class _Gifski:
    """Writes one GIF of some frames."""

    def __init__(self, program: str, frames: list[Path], size: tuple[int, int], target: Path):
        self._program, self._frames, self._size, self.target = program, frames, size, target

    def best(self, most_bytes: float) -> int:
        """The highest quality with at most so many bytes; the lowest if there is none."""
        least, most = _LEAST, _MOST
        for _ in range(_TRIES):
            if least >= most:
                break
            middle = (least + most + 1) // 2
            self.write(middle)
            if self.target.stat().st_size <= most_bytes:
                least = middle
            else:
                most = middle - 1
        return least

    def write(self, quality: int) -> float:
        """Write it in a quality (1 to 100). Returns the CPU seconds that it took."""
        width, height = self._size
        command = [
            self._program, "--quiet", "--output", str(self.target), "--fps", str(_FPS),
            "--quality", str(quality), "--width", str(width), "--height", str(height),
            "--no-sort", *map(str, self._frames),
        ]  # fmt: skip
        return cost(subprocess.run, command, check=True)[0]


def section(rounds: list[dict[str, dict[str, dict[str, Any]]]]) -> Section:
    """Both by source, from the last round: their results do not vary."""
    found = rounds[-1]
    table = Table(
        "source", "KB", "bytes of gifski : ours", "its quality",
        *(f"SSIM {side}, gifski's" for side in SIDES), "CPU of ours : gifski",
    )  # fmt: skip
    for source in found[OURS]:
        table.add_row(f"{source}", *_row(found, [source]))
    table.add_row("**all**", *_row(found, list(found[OURS])))
    return Section(str(table))


def _row(found: dict[str, dict[str, dict[str, Any]]], sources: list[str]) -> list[str]:
    one, other = ([found[name][source] for source in sources] for name in (OURS, GIFSKI))
    size, theirs = (sum(sum(each["bytes"]) for each in its) for its in (one, other))
    qualities = [quality for each in other for quality in each["quality"]]
    ssim = (
        tuple(sum(each["ssim"][at] for each in its) / len(its) for its in (one, other))
        for at in range(len(SIDES))
    )
    cpu = sum(each["cpu"] for each in one) / sum(each["cpu"] for each in other)
    return [
        f"{size / 1024:,.0f}",
        f"{theirs / size:.2f}",
        " and ".join(map(str, qualities)) if len(sources) == 1 else "",
        *(f"{ours:.3f}, {its:.3f}" for ours, its in ssim),
        f"{cpu:.2f}",
    ]
