"""`python -m chaos.decoders [--mutations N] [--seed S]`: give the image engine thousands of damaged
and hostile images.

Each image goes the way of an upload: it is refused for the facts of its file, or decoded in a
sandbox, two at a time. What is made of it takes turns: the application's versions, every other
recipe, and an uploader with steps that make files and a derivation. Each image must get its
versions or fail with a code, no decoder may exceed its memory or time, and the server of the
sandboxes must survive. Otherwise the exit status is 1.

The sources are images of each format that are made here, and the GIFs of up to 200 kB in the folder
`shared/corpus` beside the checkout, if there is one.
"""

import argparse
import itertools
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

from chaos import bombs, damage
from chaos.decoder_ways import WAYS, Way
from gifster.imaging.errors import ImagingError
from gifster.imaging.image_info import IMAGE_EXTENSIONS, VIDEO_TYPES
from gifster.imaging.probe import SNIFF_BYTES, probe
from gifster.imaging.sandbox import LIMITS, run_sandboxed
from gifster.uploads import UploadError
from gifster.uploads.files.validation import Limits
from tests import images
from tests.videos import video

MB = 1_000_000
#: The memory (bytes) and time (seconds) that a decoder may take.
MAX_MEMORY = 300 * MB
#: The memory for versions that are as large as the largest images (bytes).
MAX_LARGE_MEMORY = 600 * MB
MAX_SECONDS = LIMITS.wall_s + 10
SOURCE_BYTES = 200_000
#: Images that must get the application's versions, and those that may be rejected.
HEAVY, BOMBS = damage.HEAVY | bombs.HEAVY, damage.BOMBS | bombs.BOMBS | damage.LONG_BOMBS
CORPUS = Path(__file__).parent.parent.parent / "shared" / "corpus"


class Taken(Limits):
    """The limits of the images and videos."""

    allow_types = {*IMAGE_EXTENSIONS, *VIDEO_TYPES}
    max_video_s = 60


@dataclass
class Verdict:
    """What became of the images of one kind.

    Attributes:
      counts: how many got their versions (`made`), were `refused` before they were decoded,
        `failed`, or did something `WRONG`.
      wrong: what was wrong.
      memory: the peak memory of a decoder (bytes).
      seconds: the longest time of an image.
    """

    kind: str
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: int = 0
    seconds: float = 0


def sources() -> dict[str, bytes]:
    """Good images by their names."""
    made = {
        "a.gif": images.gif((120, 90), [40] * 5),
        "still.png": images.still("PNG", (120, 90)),
        "still.jpg": images.still("JPEG", (120, 90)),
        "still.webp": images.still("WEBP", (120, 90)),
        "still.avif": images.still("AVIF", (120, 90)),
        "still.bmp": images.still("BMP", (120, 90)),
        "still.tif": images.still("TIFF", (120, 90)),
        "still.heic": images.heic((120, 90)),
        "a.png": images.animated("PNG", [40, 50, 60], (80, 60)),
        "a.webp": images.animated("WEBP", [40, 50, 60], (80, 60)),
        "a.avif": images.animated("AVIF", [40, 50, 60], (80, 60)),
        "a.mp4": video(frames_each=3),
        "a.mov": video(frames_each=3, format="mov", sound=True),
        "a.webm": video(frames_each=3, format="webm"),
    }
    found = sorted(CORPUS.rglob("*.gif"))
    return made | {
        path.name: path.read_bytes() for path in found if path.stat().st_size <= SOURCE_BYTES
    }


def mutations(count: int, seed: int) -> dict[str, list[bytes]]:
    """At least so many damaged images by the kind of damage."""
    chance, good = random.Random(seed), list(sources().values())
    return {
        kind: [harm(chance.choice(good), chance) for _ in range(count // 3 + 1)]
        for kind, harm in (
            ("mutated", damage.mutate), ("bits turned", damage.flip), ("cut off", damage.cut),
        )
    }  # fmt: skip


def attack(
    kind: str, contents: Iterable[bytes], at_once: int = 2, ways: Iterable[str] = WAYS
) -> Verdict:
    """Give the engine images, `at_once` at a time, and collect what becomes of them.

    Parameters:
      ways: of `WAYS`, which the images go in turn.
    """
    verdict, turns = Verdict(kind), itertools.cycle([WAYS[way] for way in ways])
    with tempfile.TemporaryDirectory() as folder, watched(verdict):
        cases = [
            (Path(folder) / str(number), made, next(turns)) for number, made in enumerate(contents)
        ]
        with ThreadPoolExecutor(at_once) as pool:
            for outcome, reason, seconds in pool.map(_outcome, cases):
                verdict.counts[outcome] += 1
                verdict.reasons[reason] += 1
                verdict.seconds = max(verdict.seconds, seconds)
                if outcome == "WRONG" or seconds > MAX_SECONDS:
                    verdict.wrong.append(f"{kind}: {reason} after {seconds:.0f} s")
    # Only the application's versions are promised of the largest images.
    if kind.removesuffix(": versions") in HEAVY and verdict.counts["made"] < verdict.counts.total():
        verdict.wrong.append(f"{kind}: not made")
    are_large = kind.partition(":")[0] in HEAVY and not kind.endswith(": versions")
    are_large |= kind.partition(":")[0] in bombs.LARGE_VIDEOS
    if verdict.memory > (MAX_LARGE_MEMORY if are_large else MAX_MEMORY):
        verdict.wrong.append(f"{kind}: a decoder took {verdict.memory / MB:.0f} MB")
    return verdict


def _outcome(case: tuple[Path, bytes, Way]) -> tuple[str, str, float]:
    """What becomes of one image: the outcome, its reason, and the seconds that it took."""
    source, content, way = case
    source.write_bytes(content)
    started = time.monotonic()
    outcome, reason = "refused", ""
    try:
        info = probe(source, Taken.max_frames, videos=True)
        Taken.check_complete(info.bytes, content[:SNIFF_BYTES])
        Taken.check_info(info)
        outcome = "failed"
        way(source, info)
        outcome = "made"
    except (ImagingError, UploadError) as error:
        reason = f"{error.code}: {error}"
    except Exception as error:  # noqa: BLE001 exactly these are looked for
        outcome, reason = "WRONG", repr(error)
    for path in source.parent.glob(f"{source.name}*"):
        if path.stem == source.name:
            path.unlink()
    return outcome, reason, time.monotonic() - started


@contextmanager
def watched(verdict: Verdict) -> Iterator[None]:
    """Record the peak memory of the decoders, and whether the server of the sandboxes survives."""
    ended = threading.Event()
    server = _server()

    def watch() -> None:
        while not ended.wait(0.005):
            for child in below(server):
                with suppress(psutil.Error):
                    verdict.memory = max(verdict.memory, psutil.Process(child).memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
    if _server() != server:
        verdict.wrong.append(f"{verdict.kind}: the server of the sandboxes died")


def below(process: int) -> Iterator[int]:
    """The processes below one. psutil reads the list of all processes for it."""
    if not Path("/proc/self").exists():
        with suppress(psutil.Error):
            yield from (child.pid for child in psutil.Process(process).children(recursive=True))
        return
    with suppress(OSError):
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            yield int(child)
            yield from below(int(child))


def _server() -> int:
    """The id of the server of the sandboxes, which is the session of its processes."""
    call = run_sandboxed(os.getsid, 0)
    try:
        next(call)
    except StopIteration as end:
        return end.value
    raise AssertionError("getsid() is no generator")


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos.decoders", description=__doc__)
    parser.add_argument("--mutations", type=int, default=3_000, help="at least (default 3000)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    groups = [(kind, make, way) for kind, make in (HEAVY | BOMBS).items() for way in WAYS
              if way == "versions" or kind not in damage.LONG_BOMBS]  # fmt: skip
    verdicts = [attack(f"{kind}: {way}", [make()], 1, [way])
                for kind, make, way in track(groups, "bombs", transient=True)]  # fmt: skip
    damaged = mutations(options.mutations, options.seed)
    verdicts += [attack(kind, each) for kind, each in track(damaged.items(), "damaged")]
    show(verdicts)
    return 1 if any(verdict.wrong for verdict in verdicts) else 0


def show(verdicts: Iterable[Verdict]) -> None:
    """Print the verdicts."""
    console = Console(width=120, highlight=False)
    table = Table("images", "outcomes", "MB", "s", "frequent reasons", box=None, pad_edge=False)
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
