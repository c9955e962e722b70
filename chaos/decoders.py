"""`python -m chaos.decoders [--mutations N] [--seed S]`: damaged and hostile images, thousands of
them, given to the image engine as an upload is: refused by what the file says, or decoded in a
process of its own, two at a time.

Each must end as versions or as an error with a code; the process that starts them must live on;
no decoder may take more memory or time than it may. Exit status 1 otherwise.

The sources are images of each type that are made here, and the GIFs of ../shared/corpus, of at most
200 kB, where that is.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from chaos import damage
from gifster.imaging import Image
from gifster.imaging.errors import ImagingError
from gifster.imaging.probe import SNIFF_BYTES, probe
from gifster.imaging.sandbox import LIMITS, run_sandboxed
from gifster.uploads import UploadError
from gifster.uploads.validation import Limits
from tests import images

MB = 1_000_000
#: No decoder may take more, nor be at work for longer (bytes, seconds).
MOST_MEMORY = 300 * MB
MOST_SECONDS = LIMITS.wall_s + 10
SOURCE_BYTES = 200_000
RECIPES = [
    ("poster", Image().first_frame().fit(480, 480).convert("webp")),
    ("thumb", Image().fit(220, 220)),
    ("preview", Image().fit(480, 480)),
    ("webp", Image().fit(480, 480).convert("webp")),
    ("mp4", Image().fit(480, 480).convert("mp4")),
]
CORPUS = Path(__file__).parent.parent.parent / "shared" / "corpus"


@dataclass
class Verdict:
    """What became of images: how many were `made`, `refused` before they were decoded, `failed`, or
    `WRONG`, and what was wrong; the most memory of a decoder (bytes), and time of an image (s)."""

    kind: str
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: int = 0
    seconds: float = 0


def sources() -> dict[str, bytes]:
    """Good images, by their names."""
    made = {
        "a.gif": images.gif((120, 90), [40] * 5),
        "still.png": images.still("PNG", (120, 90)),
        "still.jpg": images.still("JPEG", (120, 90)),
        "still.webp": images.still("WEBP", (120, 90)),
        "still.avif": images.still("AVIF", (120, 90)),
        "a.png": images.animated("PNG", [40, 50, 60], (80, 60)),
        "a.webp": images.animated("WEBP", [40, 50, 60], (80, 60)),
        "a.avif": images.animated("AVIF", [40, 50, 60], (80, 60)),
    }
    found = sorted(CORPUS.rglob("*.gif"))
    return made | {
        path.name: path.read_bytes() for path in found if path.stat().st_size <= SOURCE_BYTES
    }


def mutations(count: int, seed: int) -> dict[str, list[bytes]]:
    """So many damaged images, by their damage."""
    chance, good = random.Random(seed), list(sources().values())
    return {
        kind: [harm(chance.choice(good), chance) for _ in range(count // 3 + 1)]
        for kind, harm in (
            ("mutated", damage.mutate), ("bits turned", damage.flip), ("cut off", damage.cut),
        )
    }  # fmt: skip


def attack(kind: str, contents: Iterable[bytes], at_once: int = 2) -> Verdict:
    """Give the engine images, so many at once, and see what becomes of them."""
    verdict = Verdict(kind)
    with tempfile.TemporaryDirectory() as folder, watched(verdict):
        cases = [(Path(folder) / str(number), made) for number, made in enumerate(contents)]
        with ThreadPoolExecutor(at_once) as pool:
            for outcome, reason, seconds in pool.map(_outcome, cases):
                verdict.counts[outcome] += 1
                verdict.reasons[reason] += 1
                verdict.seconds = max(verdict.seconds, seconds)
                if outcome == "WRONG" or seconds > MOST_SECONDS:
                    verdict.wrong.append(f"{kind}: {reason} after {seconds:.0f} s")
    if kind in damage.HEAVY and verdict.counts["made"] < verdict.counts.total():
        verdict.wrong.append(f"{kind}: not made")
    if verdict.memory > MOST_MEMORY:
        verdict.wrong.append(f"{kind}: a decoder took {verdict.memory / MB:.0f} MB")
    return verdict


def _outcome(case: tuple[Path, bytes]) -> tuple[str, str, float]:
    """What becomes of one image, why, and after how many seconds."""
    source, content = case
    source.write_bytes(content)
    started = time.monotonic()
    outcome, reason = "refused", ""
    try:
        info = probe(source, Limits.max_frames)
        Limits.check_complete(info.bytes, content[:SNIFF_BYTES])
        Limits.check_info(info)
        outcome = "failed"
        images.make(source, {source.with_suffix(f".{name}"): recipe for name, recipe in RECIPES})
        outcome = "made"
    except (ImagingError, UploadError) as error:
        reason = f"{error.code}: {error}"
    except Exception as error:  # noqa: BLE001 that is what is looked for
        outcome, reason = "WRONG", repr(error)
    for path in source.parent.glob(f"{source.name}*"):
        if path.stem == source.name:
            path.unlink()
    return outcome, reason, time.monotonic() - started


@contextmanager
def watched(verdict: Verdict) -> Iterator[None]:
    """Note the most memory that a process below this one has; and whether the one that starts the
    decoders, which runs from the first image on, lives on."""
    ended = threading.Event()
    server = _server()

    def watch() -> None:
        this = psutil.Process()
        while not ended.wait(0.005):
            for process in this.children(recursive=True):
                with suppress(psutil.Error):
                    verdict.memory = max(verdict.memory, process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
    if _server() != server:
        verdict.wrong.append(f"{verdict.kind}: the process that starts the decoders died")


def _server() -> int:
    """The process that starts the decoders: they are in its session."""
    asking = run_sandboxed(os.getsid, 0)
    try:
        next(asking)
    except StopIteration as end:
        return end.value
    raise AssertionError("it yields nothing")


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos.decoders", description=__doc__)
    parser.add_argument("--mutations", type=int, default=3_000, help="at least (default 3000)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    bombs = damage.HEAVY | damage.BOMBS | damage.LONG_BOMBS
    groups = [(kind, [make], 1) for kind, make in bombs.items()]
    verdicts = [attack(kind, (make() for make in makers), at_once)
                for kind, makers, at_once in track(groups, "bombs", transient=True)]  # fmt: skip
    damaged = mutations(options.mutations, options.seed)
    verdicts += [attack(kind, each) for kind, each in track(damaged.items(), "damaged")]
    show(verdicts)
    return 1 if any(verdict.wrong for verdict in verdicts) else 0


def show(verdicts: Iterable[Verdict]) -> None:
    """Print them."""
    console = Console(width=120, highlight=False)
    table = Table("images", "came to", "MB", "s", "most often because", box=None, pad_edge=False)
    for verdict in verdicts:
        counts = ", ".join(f"{number:,} {name}" for name, number in sorted(verdict.counts.items()))
        reasons = [reason for reason, _ in verdict.reasons.most_common(3) if reason]
        table.add_row(verdict.kind, counts, f"{verdict.memory / MB:.0f}", f"{verdict.seconds:.1f}",
                      "\n".join(reasons))  # fmt: skip
    console.print(table)
    for verdict in verdicts:
        for wrong in verdict.wrong[:10]:
            console.print(wrong, style="red")


if __name__ == "__main__":
    sys.exit(main())
