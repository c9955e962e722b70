"""A process dies before a statement, around a commit, before a change of a file: at each point of
each operation on uploads. Then all is mended, and nothing may be lost, left behind or kept waiting.

`crash_operations` has the operations, `crash_models` what they are done to, `crash_places` where,
`crash_points` where a process can die, and `crash_verdict` what must be true in the end. Each trial
is a few child processes (`crash_trials`), and is told by its name:

    make chaos ARGS="--only crashes"                     # a sample, three minutes
    make chaos ARGS="--only crashes --full --part sqlite/plain-one"
    make chaos ARGS="--only crashes --part sqlite/plain-one-at-once/create-after-nothing@7"
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from chaos.crash_operations import afterwards
from chaos.crash_places import PLATFORMS
from chaos.crash_points import ALIVE, COMMITTED
from chaos.crash_trials import CASES, MEND, Case, Trial, Trials, trial_of
from chaos.databases import NotHere
from chaos.verdict import Verdict

#: How long the sample of a platform takes (seconds).
SAMPLE_S = 60.0
#: How many points of an operation a sample tries.
SAMPLE_POINTS = 3
#: How much more often it tries the point after a commit than another.
AS_OFTEN = 4
#: A second process dies before this point or after this commit, or comes to its end before it.
MOST_POINTS, MOST_COMMITS = 60, 9
#: The kinds of trials, each of which has a row.
ONCE, TWICE, BETWEEN = "died once", "died again while mending", "went on before it was mended"


@dataclass
class Row:
    """What the trials of one kind came to."""

    cases: set[str] = field(default_factory=set)
    count: int = 0
    failures: list[tuple[Trial, list[str]]] = field(default_factory=list)


class Exploration:
    """Tries the cases on one platform.

    Parameters:
      trials: its trials.
      chance: decides what is tried, and in which order.
    """

    def __init__(self, trials: Trials, chance: random.Random) -> None:
        self._trials, self._chance = trials, chance
        self.rows = {ONCE: Row(), TWICE: Row(), BETWEEN: Row()}

    def explore(self, case: Case, points: int | None = None) -> None:
        """Let the process of a case die at so many of its points, or at all of them."""
        with self._trials.prepared(case) as place:
            with self._trials.copy(place) as here:
                step = self._trials.act(here, Trial(case))
                self._add(ONCE, Trial(case), step.faults + self._trials.judge(here, Trial(case)))
            chosen = [str(number) for number in range(1, len(step.passed) + 1)]
            if points is not None:
                # After a commit most is unfinished.
                chosen += [f"c{n}" for n in range(1, step.passed.count(COMMITTED) + 1)] * AS_OFTEN
                chosen = self._chance.sample(chosen, min(points, len(chosen)))
            for point in chosen:
                self._die(place, Trial(case, point))

    def _die(self, place: str, trial: Trial) -> None:
        """Let the process die at a point, and let three things follow."""
        with self._trials.copy(place) as dead:
            faults = self._trials.act(dead, trial).faults
            then = self._chance.choice(afterwards(trial.case.kind))
            then_points = [self._point(), self._chance.choice([ALIVE, self._point()])]
            for row, further in [
                (ONCE, trial),
                (TWICE, replace(trial, then=MEND, then_point=then_points[0])),
                (BETWEEN, replace(trial, then=then, then_point=then_points[1])),
            ]:
                with self._trials.copy(dead) as here:
                    found = self._trials.then(here, further).faults if further.then else []
                    found = faults + found + self._trials.judge(here, further)
                self._add(row, further, found)

    def _point(self) -> str:
        point = str(self._chance.randint(1, MOST_POINTS))
        return self._chance.choice([point, f"c{self._chance.randint(1, MOST_COMMITS)}"])

    def _add(self, row: str, trial: Trial, faults: list[str]) -> None:
        told = self.rows[row]
        told.cases.add(str(trial.case))
        told.count += 1
        if faults:
            told.failures.append((trial, faults))


def crashes(seed: int, part: str = "", *, full: bool = False) -> Iterator[Verdict]:
    """A row for each platform and kind of trials.

    Parameters:
      part: only cases with this in their name, or one trial.
      full: all points of all cases, without a limit of time. It takes hours for each platform.

    Raises:
      NotHere: `part` is in no name, or names a trial that there is not.
    """
    named = {platform: [c for c in CASES if part in f"{platform}/{c}"] for platform in PLATFORMS}
    if "@" in part:
        yield _one(part)
    elif not any(named.values()):
        raise NotHere(f"no operation has {part!r} in its name")
    else:
        for platform, cases in named.items():
            if cases:
                yield from explored(platform, cases, seed, None if full else SAMPLE_S)


def _one(part: str) -> Verdict:
    """The verdict of one trial."""
    started = time.monotonic()
    platform, _, text = part.partition("/")
    try:
        trial = trial_of(text)
    except ValueError as error:
        raise NotHere(str(error)) from None
    if platform not in PLATFORMS:
        raise NotHere(f"no platform {platform!r}: it is one of {', '.join(PLATFORMS)}")
    with PLATFORMS[platform]() as places:
        faults = Trials(places).run(trial)
    return Verdict.of_checks(f"{platform}/{trial}", 1, faults, time.monotonic() - started)


def explored(
    platform: str, cases: list[Case], seed: int, within_s: float | None
) -> Iterator[Verdict]:
    """The rows of a platform.

    Parameters:
      within_s: how long to try a sample (seconds); None tries every point.
    """
    started = time.monotonic()
    chance = random.Random(f"{seed} {platform}")
    try:
        with PLATFORMS[platform]() as places:
            exploration = Exploration(Trials(places), chance)
            for case in chance.sample(cases, len(cases)):
                if within_s is not None and time.monotonic() > started + within_s:
                    break
                exploration.explore(case, None if within_s is None else SAMPLE_POINTS)
    except NotHere as error:
        yield Verdict.of_checks(f"{platform}: not run, {error}", 0, [], 0)
        return
    took_s = (time.monotonic() - started) / len(exploration.rows)
    for kind, row in exploration.rows.items():
        name = f"{platform}: {kind} ({len(row.cases)} operations)"
        verdict = Verdict.of_checks(name, row.count, [], took_s)
        verdict.wrong = len(row.failures)
        for trial, faults in row.failures:
            command = f'make chaos ARGS="--only crashes --part {platform}/{trial}"'
            verdict.notes += [*faults, f"  again: {command}"]
        yield verdict
