"""One trial: a process dies during an operation, perhaps another one after it, then all is mended,
and must be well. Each step runs in a child process, in a place that is copied from the one before.

A trial is written as `KIND/OPERATION-after-BEFORE@POINT`. It may go on with `+mend@POINT`: the
process that mends dies, too; or with `+OPERATION@POINT`: somebody does something else before
anything is mended. A point is a number, or `c2` for "after the second commit"; 0 is no death.
"""

import importlib
import json
import logging
import os
import random
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from chaos.crash_models import KINDS, Kind, State, Subject, first_state, know_only
from chaos.crash_operations import (
    BY_BROKEN,
    OPERATIONS,
    Act,
    Operation,
    crowded,
    stored,
    waiting,
)
from chaos.crash_places import Folders, Opened
from chaos.crash_points import ALIVE, DIED, Walk, walking, watch, without_chance
from chaos.crash_verdict import faults
from chaos.crash_work import mend, work
from gifster import jobs
from gifster.uploads.backgrounding import promotion
from gifster.uploads.testing import without_sandbox

MEND, HALF = "mend", 0.5
#: The lines of the log that are shown beside a fault.
LOG_LINES = 3
_STEPS = re.compile(r"(?P<first>c?\d+)(\+(?P<then>[a-z-]+)@(?P<second>c?\d+))?")


@dataclass(frozen=True)
class Case:
    """An operation on a record of a kind, after something else."""

    kind: Kind
    name: str
    before: Act

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}-after-{self.before.__name__.replace('_', '-')}"

    @property
    def operation(self) -> Operation:
        return OPERATIONS[self.name]

    @property
    def first_state(self) -> State:
        made = self.before in (stored, waiting, crowded)
        return first_state(self.kind) if made else None


CASES = [
    Case(kind, name, before)
    for kind in KINDS
    for name, operation in OPERATIONS.items()
    for before in operation.before
    if operation.is_for(kind, before)
]


@dataclass(frozen=True)
class Trial:
    """A trial of a case.

    Parameters:
      point: where the process dies during the operation.
      then: what happens before it is mended: `MEND`, or an operation; empty for nothing.
      then_point: where that process dies; 0 if it does not.
    """

    case: Case
    point: str = ALIVE
    then: str = ""
    then_point: str = ALIVE

    def __str__(self) -> str:
        second = f"+{self.then}@{self.then_point}" if self.then else ""
        return f"{self.case}@{self.point}{second}"

    @property
    def allowed(self) -> list[State]:
        """The states of which the record has to be in one."""
        before, kind = self.case.first_state, self.case.kind
        states = [self.case.operation.promise(kind, before)]
        if self.point != ALIVE:
            states.append(before)
        if self.then and self.then != MEND:
            after = [OPERATIONS[self.then].promise(kind, state) for state in states]
            states = after + (states if self.then_point != ALIVE else [])
        if self.then == BY_BROKEN:  # it may have replaced what was not stored yet
            states += [((), state[1]) for state in states if state]
        return list(dict.fromkeys(states))

    @property
    def may_fail(self) -> bool:
        """Whether the record may say that an upload could not be processed."""
        return BY_BROKEN in (self.case.name, self.then)


def trial_of(text: str) -> Trial:
    """A trial as `str()` has written it.

    Raises:
      ValueError: there is no such trial.
    """
    case, _, steps = text.partition("@")
    found = _STEPS.fullmatch(steps)
    for known in CASES:
        if found and str(known) == case and found["then"] in (None, MEND, *OPERATIONS):
            return Trial(known, found["first"], found["then"] or "", found["second"] or ALIVE)
    raise ValueError(f"no trial {text!r}")


@dataclass
class Step:
    """How a child process ended: what it passed, and the faults that it found."""

    died: bool
    passed: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Trials:
    """Runs trials in the places of a platform."""

    def __init__(self, places: Folders) -> None:
        self._places, self._number = places, 0
        jobs.connect("stub://")
        for name in ("gifster.uploads.actors", "gifster.imaging.render_here", "boto3"):
            importlib.import_module(name)  # once, and not in each child
        self._empty = self._name()
        _in_child(lambda step: places.make(self._empty), places.root / "result")

    @contextmanager
    def prepared(self, case: Case) -> Iterator[str]:
        """A place in which everything is as before the operation of a case."""

        def prepare(subject: Subject, walk: Walk) -> None:
            case.before(subject)

        with self.copy(self._empty) as place:
            step = self._step(place, case, f"before {case}", prepare)
            if step.faults:
                raise RuntimeError(f"{case} cannot be prepared: {step.faults}")
            yield place

    @contextmanager
    def copy(self, place: str) -> Iterator[str]:
        """A copy of a place."""
        name = self._name()
        self._places.copy(place, name)
        try:
            yield name
        finally:
            self._places.drop(name)

    def act(self, place: str, trial: Trial) -> Step:
        """The operation of a trial, until its process dies."""
        return self._operate(place, trial.case, trial.case.name, trial.point, f"{trial.case}")

    def then(self, place: str, trial: Trial) -> Step:
        """What happens after it, until that process dies."""
        if trial.then != MEND:
            return self._operate(place, trial.case, trial.then, trial.then_point, f"{trial} then")

        def mending(subject: Subject, walk: Walk) -> None:
            with walking(walk):
                mend(sweep_first=random.random() < HALF)

        return self._step(place, trial.case, f"{trial} then", mending, trial.then_point)

    def judge(self, place: str, trial: Trial) -> list[str]:
        """Mend everything, and say what is wrong then."""

        def judging(subject: Subject, walk: Walk) -> list[str]:
            mend(sweep_first=random.random() < HALF)
            beside = trial.case.before is crowded
            return list(faults(subject, trial.allowed, beside=beside, may_fail=trial.may_fail))

        return self._step(place, trial.case, f"{trial} judge", judging).faults

    def run(self, trial: Trial) -> list[str]:
        """A whole trial. Returns what is wrong."""
        with self.prepared(trial.case) as place:
            steps = [self.act(place, trial)]
            if trial.then:
                steps.append(self.then(place, trial))
            return [*(fault for step in steps for fault in step.faults), *self.judge(place, trial)]

    def _operate(self, place: str, case: Case, name: str, point: str, seed: str) -> Step:
        def operating(subject: Subject, walk: Walk) -> None:
            subject.app.cut_off(is_away=True)
            with walking(walk):
                OPERATIONS[name].act(subject)
                work(rounds=1)

        return self._step(place, case, seed, operating, point)

    def _step(
        self,
        place: str,
        case: Case,
        seed: str,
        act: Callable[[Subject, Walk], list[str] | None],
        point: str = ALIVE,
    ) -> Step:
        """Do something in a place, in a child process that dies at a point. Its secrets, and the
        order of its jobs, come from the seed."""

        def acting(step: Step) -> None:
            without_chance(seed)
            know_only(case.kind)
            watch()
            promotion.WORTH_ANOTHER_JOB = 1  # our GIFs are small, and their jobs shall give way
            walk = Walk(point)
            application = self._places.open(place)
            logging.basicConfig(
                filename=application.folder / "log", level=logging.WARNING, format="%(message)s"
            )
            try:
                step.faults += act(Subject(case.kind, application), walk) or []
            finally:
                step.passed = walk.passed
                if step.faults:
                    step.faults += _end_of_log(application)
            application.database.close_all()

        return _in_child(acting, self._places.root / "result")

    def _name(self) -> str:
        self._number += 1
        return f"place{self._number:07}"


def _end_of_log(application: Opened) -> list[str]:
    lines = (application.folder / "log").read_text("utf-8", "replace").splitlines()
    return [f"  log: {line}" for line in lines[-LOG_LINES:]]


def _in_child(act: Callable[[Step], None], result: Any) -> Step:
    """Call a function in a child process."""
    result.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        step = Step(died=False)
        try:
            with without_sandbox():
                act(step)
        except BaseException as error:  # noqa: BLE001 it is a fault of the trial
            last = traceback.extract_tb(error.__traceback__)[-1]
            step.faults.append(f"raised {error!r} in {last.filename}:{last.lineno}")
        result.write_text(json.dumps([step.passed, step.faults]))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == DIED:
        return Step(died=True)
    if status:
        return Step(False, [], [f"the process ended with {status}"])
    return Step(False, *json.loads(result.read_text()))
