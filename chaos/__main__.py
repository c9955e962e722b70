"""`python -m chaos [--uploads N] [--seed S] [--only NAME …] [--keep]`: see `chaos/__init__.py`.

Exit status 1 if anything was lost, done twice or left behind.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from chaos import clocks, crashes, nodes
from chaos.scenarios import SCENARIOS, NotHere
from chaos.verdict import Verdict

HEAD = ("what happens", "accepted", "stored", "failed", "deleted", "blows", "lost", "wrong",
        "double mails", "orphans", "no answer", "slowest 202, s",
        "longest recovery, s", "took, s")  # fmt: skip


#: Those on several nodes have a row for each thing that happens to them.
NODES = {"nodes": nodes.valkey, "nodes-rabbitmq": nodes.rabbitmq, "clocks": clocks.clocks}
SHARES = {name: share for name, (_, share) in SCENARIOS.items()} | dict.fromkeys(NODES, 0.2)
#: This one sends no uploads to a running Gifster.
SHARES |= {"crashes": 0.0}


def run(name: str, folder: Path, uploads: int, options: argparse.Namespace) -> Iterator[Verdict]:
    """Run a scenario, and yield each row as soon as it is there."""
    if name == "crashes":
        yield from crashes.crashes(options.seed, options.part, full=options.full)
    elif name in NODES:
        yield from NODES[name](folder, uploads, options.seed, options.part)
    else:
        scenario, _ = SCENARIOS[name]
        yield scenario(folder, uploads, options.seed)


def row(verdict: Verdict) -> list[str]:
    """A row of the table."""
    recovery = "none" if verdict.recovery_s is None else f"{verdict.recovery_s:.1f}"
    counts = (verdict.accepted, verdict.stored, verdict.failed, verdict.deleted, verdict.blows,
              verdict.lost, verdict.wrong, verdict.double_mails, verdict.orphans,
              verdict.unanswered)  # fmt: skip
    times = (f"{verdict.slowest_s:.1f}", recovery, f"{verdict.took_s:.0f}")
    return [verdict.name, *(f"{count:,}" for count in counts), *times]


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--uploads", type=int, default=2400, help="how many in all (default 2400)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=list(SHARES), default=list(SHARES))
    parser.add_argument(
        "--part",
        default="",
        help="of `nodes` and `clocks`, only rows with this in their name; of `crashes`, operations",
    )
    parser.add_argument(
        "--full", action="store_true", help="all points of `crashes`, which takes hours"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folders, with all logs")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and clean up
    console = Console(width=160 if not sys.stdout.isatty() else None)
    folder = Path(tempfile.mkdtemp(prefix="gifster-chaos-"))
    whole = sum(SHARES[name] for name in options.only) or 1
    verdicts = []
    print("| " + " | ".join(HEAD) + " |")
    print("| --- |" + " ---: |" * (len(HEAD) - 1), flush=True)
    for name in options.only:
        uploads = round(options.uploads * SHARES[name] / whole)
        try:
            for verdict in run(name, folder / name, uploads, options):
                verdicts.append(verdict)
                print("| " + " | ".join(row(verdict)) + " |", flush=True)
                for note in verdict.notes:
                    console.print(f"  {note}", style="red", highlight=False)
        except NotHere as error:
            print(f"| {name} | not run: {error} |" + " |" * (len(HEAD) - 2), flush=True)
    total = {key: sum(getattr(v, key) for v in verdicts) for key in
             ("accepted", "stored", "failed", "lost", "missing_mails", "unanswered")}  # fmt: skip
    deleted = sum(verdict.deleted for verdict in verdicts)
    print(
        f"\n{total['accepted']:,} accepted = {total['stored']:,} stored"
        f" + {total['failed']:,} failed with a reason + {deleted:,} deleted,"
        f" {total['lost']:,} lost; {total['unanswered']:,} requests got no answer or a 5xx and were"
        f" repeated; {total['missing_mails']:,} welcome mails not sent; seed {options.seed}"
    )
    if options.keep:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(verdict.sound for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
