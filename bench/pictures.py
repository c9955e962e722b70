"""Try a folder of pictures, each as an upload, and compare them with a browser. `make pictures
DIR=…` runs it.

Each picture is read and rendered in the sandbox. Chromium, where it is installed, shows the same
file: its size, frames, times, plays and pixels are the reference. The tables list by kind what was
taken, refused or failed, and what differs; below them are the names of the worst. The exit status
is 1 if there was a hard fault: a crash, a hang, or an error that is no answer to a picture.

ARGS="--all" lists every picture that differs, and "--report FILE" writes all facts as JSON.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.picture_browser import Browser, browser
from bench.picture_checks import SIDE, Outcome, compare, kind_of, render
from gifster import imaging
from gifster.imaging.errors import Truncated
from gifster.imaging.image_info import IMAGE_EXTENSIONS
from gifster.imaging.probe import SNIFF_BYTES, sniff

#: What else is taken for a picture, by its extension.
OTHERS = {".bmp", ".tif", ".tiff", ".heic", ".heif", ".apng", ".avifs", *(
    f".{name}" for name in (*IMAGE_EXTENSIONS.values(), "jpeg")
)}  # fmt: skip
#: The names of the worst, by kind.
WORST = 5
AT_ONCE, AHEAD = 2, 6
DIFFERENCES = ("size", "frames", "duration", "plays", "picture", "later")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="only files whose path contains this")
    parser.add_argument("--all", action="store_true", help="name every picture that differs")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write all facts as JSON")
    options = parser.parse_args(arguments)
    console = Console(width=150)
    sources = [path for path in find(options.folder) if options.only in str(path)]
    if not sources:
        console.print(f"no pictures in {options.folder}")
        return 1
    with browser() as shows:
        if shows is None:
            console.print("not compared: no Chromium is installed (apt install chromium)")
        outcomes = list(
            track(
                tried(sources, shows), "trying pictures", len(sources),
                console=Console(stderr=True),
            )
        )  # fmt: skip
    show(console, options.folder, outcomes, everything=options.all)
    if options.report:
        options.report.write_text(json.dumps([_as_json(o) for o in outcomes], indent=1), "utf-8")
    return int(any(outcome.state == "FAULT" for outcome in outcomes))


def find(folder: Path) -> list[Path]:
    """The pictures in a folder and those below it, or one picture."""
    if folder.is_file():
        return [folder]
    return sorted(path for path in folder.rglob("*") if path.is_file() and _is_picture(path))


def _is_picture(path: Path) -> bool:
    if path.suffix.lower() in OTHERS:
        return True
    with path.open("rb") as file:
        return sniff(file.read(SNIFF_BYTES)) in IMAGE_EXTENSIONS


def tried(sources: Sequence[Path], shows: Browser | None) -> Iterator[Outcome]:
    """What became of each picture: two are rendered at a time, some ahead of the browser."""
    imaging.preload()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(AT_ONCE) as pool:
        waiting: deque[tuple[Path, Future[Outcome]]] = deque()
        for number, source in enumerate(sources):
            folder = Path(temporary) / str(number)
            folder.mkdir()
            waiting.append((folder, pool.submit(render, source, folder)))
            if len(waiting) >= AHEAD:
                yield _finished(*waiting.popleft(), shows)
        while waiting:
            yield _finished(*waiting.popleft(), shows)


def _finished(folder: Path, future: "Future[Outcome]", shows: Browser | None) -> Outcome:
    outcome = future.result()
    if shows is not None:
        content_type = f"image/{kind_of(outcome.source).lower()}"
        shown = shows.show(outcome.source, content_type, SIDE)
        if shown is not None and shown.frames > 1 and not outcome.kind.endswith(" moving"):
            outcome.kind += " moving"
        compare(outcome, folder, shown)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    return outcome


def show(console: Console, folder: Path, outcomes: Sequence[Outcome], *, everything: bool) -> None:
    """Print what became of the pictures by kind, and the names of the worst."""
    table = Table(title=f"{len(outcomes):,} pictures; what differs from Chromium is on the right")
    words = ("taken", "same", "refused", "failed", "fault", "only Chromium", "only we")
    for column in ("kind", *words, *DIFFERENCES):
        table.add_column(column, justify="left" if column == "kind" else "right")
    kinds = sorted({outcome.kind for outcome in outcomes})
    for kind in [*kinds, "all"]:
        if kind == "all":
            table.add_section()
        found = [outcome for outcome in outcomes if kind in ("all", outcome.kind)]
        states = Counter(outcome.state for outcome in found)
        differs = Counter(name for outcome in found for name in outcome.differs)
        counts = (
            states["taken"], sum(_is_same(o) for o in found), states["refused"],
            states["failed"], states["FAULT"], sum(_is_missed(o) for o in found),
            sum(o.state == "taken" and o.shown is False for o in found),
            *(differs[name] for name in DIFFERENCES),
        )  # fmt: skip
        table.add_row(kind, *(str(count) if count else "·" for count in counts))
    console.print(table)
    for kind in kinds:
        _show_worst(console, folder, [o for o in outcomes if o.kind == kind], everything)


def _is_same(outcome: Outcome) -> bool:
    return outcome.state == "taken" and bool(outcome.shown) and not outcome.differs


def _is_missed(outcome: Outcome) -> bool:
    """Whether only the browser shows a picture. Of one that is cut off, it shows the beginning."""
    is_cut = outcome.code == Truncated.code
    return outcome.state != "taken" and bool(outcome.shown) and not is_cut


def _show_worst(
    console: Console, folder: Path, outcomes: Sequence[Outcome], everything: bool
) -> None:
    def badness(outcome: Outcome) -> tuple[bool, bool, int, float]:
        return (
            outcome.state == "FAULT", _is_missed(outcome), len(outcome.differs), outcome.off
        )  # fmt: skip

    bad = [o for o in outcomes if o.state == "FAULT" or _is_missed(o) or o.differs]
    bad += [o for o in outcomes if o.state == "failed" and not o.shown]
    bad += [o for o in outcomes if o.state == "taken" and o.shown is False]
    shown = sorted(bad, key=badness, reverse=True)[: None if everything else WORST]
    for outcome in shown:
        path = outcome.source
        name = path.relative_to(folder) if path != folder else path
        console.print(f"{outcome.kind} {name}: {_why(outcome)}", markup=False, highlight=False)
    if len(bad) > len(shown):
        console.print(f"{outcomes[0].kind}: … and {len(bad) - len(shown)} more (ARGS=--all)")


def _why(outcome: Outcome) -> str:
    parts = [f"{outcome.state} {outcome.code}: {outcome.message}"] if outcome.code else []
    if _is_missed(outcome):
        parts.append("the browser shows it")
    elif outcome.shown is False:
        parts.append("the browser does not show it")
    return "; ".join(parts + [f"{name} {what}" for name, what in outcome.differs.items()])


def _as_json(outcome: Outcome) -> dict[str, Any]:
    found = dataclasses.asdict(outcome)
    return found | {"source": str(outcome.source), "seconds": round(outcome.seconds, 3)}


if __name__ == "__main__":
    sys.exit(main())
