"""Measure, and write what was found into docs/performance.md: `make bench`."""

import argparse
import os
import sys
import traceback
from pathlib import Path

from bench import page, rounds
from bench.all import ALL, GROUPS, Benchmark
from bench.page import Section
from bench.rounds import Options, Round, Unavailable


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    # As installed: otherwise each process that is measured compiles its modules again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    names = [each for name in options.names or ALL for each in GROUPS.get(name, [name])]
    if unknown := [name for name in names if name not in ALL]:
        parser.error(f"no benchmark {unknown[0]!r}: there are {', '.join([*GROUPS, *ALL])}")
    failed = []
    for name in names:
        try:
            section = _section(ALL[name], _rounds(name, options))
        except Unavailable as error:
            print(f"{name} is skipped: {error}", file=sys.stderr)
            continue
        except Exception:  # noqa: BLE001 the others are measured all the same
            traceback.print_exc()
            failed.append(name)
            continue
        if options.quick or options.print:
            print(section.text)
        else:
            page.write(name, section)
    if failed:
        sys.exit(f"bench: {', '.join(failed)} failed; --resume measures what is missing")


def _rounds(name: str, options: argparse.Namespace) -> list[Round]:
    """The rounds that the section is made from: kept ones, measured ones, or both."""
    if options.quick:
        return _measure(name, [], 1, options)
    kept = rounds.load(name) if options.add or options.draw or options.resume else []
    needed = options.rounds or ALL[name].rounds
    if options.resume:
        kept = [each for each in kept if each.code == rounds.present_code()]
        needed = max(0, needed - len(kept))
    return _measure(name, kept, 0 if options.draw else needed, options)


def _measure(name: str, kept: list[Round], wanted: int, options: argparse.Namespace) -> list[Round]:
    """Add some rounds to those that are kept; all but short ones are kept, too.

    Raises:
      Unavailable: it cannot run here, or there are no rounds at all.
    """
    for number in range(len(kept), len(kept) + wanted):
        print(f"{name}: round {number + 1} of {len(kept) + wanted}", file=sys.stderr)
        begun = rounds.begin()
        how = Options(number, options.quick, tuple(options.only), options.folder)
        kept = [*kept, begun._replace(found=ALL[name].measure(how))]
        if not options.quick:
            rounds.save(name, kept)
    if not kept:
        raise Unavailable(f"{rounds.KEPT} has no rounds of it: measure it first")
    return kept


def _section(benchmark: Benchmark, kept: list[Round]) -> Section:
    section = benchmark.section([each.found for each in kept])
    return section._replace(text=f"{section.text.strip()}\n\n{rounds.described(kept)}")


def _minutes(*benchmarks: Benchmark) -> float:
    return round(sum(each.minutes * each.rounds for each in benchmarks), 1)


def _parser() -> argparse.ArgumentParser:
    each = "\n".join(
        f"  {name:22}{benchmark.rounds} × {benchmark.minutes:g} min"
        for name, benchmark in ALL.items()
    )
    groups = "".join(
        f"  {name:22}{_minutes(*(ALL[each] for each in members)):g} min: {' '.join(members)}\n"
        for name, members in GROUPS.items()
    )
    parser = argparse.ArgumentParser(
        "python -m bench",
        description="Measure, and write what was found into the marked sections of "
        f"docs/performance.md, with their charts. All of it takes about "
        f"{_minutes(*ALL.values()):.0f} minutes.",
        epilog=f"benchmarks, and how long each takes:\n{each}\n\nseveral at once:\n{groups}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a benchmark, or several")
    parser.add_argument("--quick", action="store_true", help="one short round, printed, not kept")
    parser.add_argument("--rounds", type=int, help="how many rounds to measure")
    parser.add_argument("--add", action="store_true", help="add the rounds to those that are kept")
    parser.add_argument(
        "--resume", action="store_true",
        help="keep the rounds of the present commit, and measure only those that are missing",
    )  # fmt: skip
    parser.add_argument("--draw", action="store_true", help="measure nothing: show what is kept")
    parser.add_argument("--print", action="store_true", help="print instead of writing the page")
    parser.add_argument("--only", nargs="+", default=[], metavar="SIDE", help="measure these sides")
    parser.add_argument("--folder", type=Path, help="take the pictures of this folder")
    return parser


if __name__ == "__main__":
    main()
