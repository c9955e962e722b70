"""A short form of `make chaos ARGS="--only crashes"`: a process that dies at some points of an
operation leaves nothing behind. And the trials notice what they are for."""

import dataclasses
from collections.abc import Iterator

import pytest

from chaos.crash_operations import OPERATIONS
from chaos.crash_places import PLATFORMS
from chaos.crash_trials import CASES, Trial, Trials, trial_of
from chaos.crashes import crashes
from chaos.databases import NotHere
from gifster.uploads.backgrounding import promotion
from tests.combinations import only_in_ci

REPLACE = "plain-one-stored-later/replace-after-stored"


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    with PLATFORMS["sqlite"]() as places:
        yield Trials(places)


@pytest.mark.parametrize("steps", ["@0", "@7", "@12+mend@9", "@c4+delete@0", "@20+edit@c2"])
def test_a_process_that_dies_leaves_nothing_behind(trials: Trials, steps: str):
    assert trials.run(trial_of(REPLACE + steps)) == []


def test_a_file_that_is_left_behind_is_found(trials: Trials, monkeypatch: pytest.MonkeyPatch):
    # Given a promotion that forgets its cached file, and a sweep that does not see it
    monkeypatch.setattr(promotion.Promotion, "_drop_cached", lambda self: None)
    monkeypatch.setattr("chaos.crash_work.sweep", lambda: None)

    found = trials.run(trial_of(f"{REPLACE}@0"))

    assert any("left behind in cache" in fault for fault in found)


def test_a_record_that_is_not_as_promised_is_found(trials: Trials, monkeypatch: pytest.MonkeyPatch):
    # Given an operation that deletes the record, although it says that it replaces the file
    wrong = dataclasses.replace(OPERATIONS["replace"], act=OPERATIONS["delete"].act)
    monkeypatch.setitem(OPERATIONS, "replace", wrong)

    found = trials.run(trial_of(f"{REPLACE}@0"))

    assert found[0] == "the record has None, not ((122,), False)"


def test_a_crash_that_nothing_mends_is_found(trials: Trials, monkeypatch: pytest.MonkeyPatch):
    # Given that nobody works after a process has died in the middle of a job
    monkeypatch.setattr("chaos.crash_trials.mend", lambda sweep_first: None)

    found = trials.run(trial_of(f"{REPLACE}@30"))

    assert any("a job is left: store_asset" in fault for fault in found)


@only_in_ci("six trials; others show every day that faults are found")
def test_a_fault_that_needs_two_deaths_is_found(trials: Trials, monkeypatch: pytest.MonkeyPatch):
    # Given the promotion of a former release: a retry wrote versions under keys that a job of
    # `recreate_versions()` was still to delete
    monkeypatch.setattr(promotion, "_with_other_keys", lambda stored, present: stored)
    work = "plain-one-stored-later/work-after-waiting"

    found = [
        trials.run(trial_of(f"{work}@c5+{again}@{point}"))
        for again in ("recreate", "recreate-one")
        for point in ("c1", "c2", "c3")
    ]

    assert any(fault.startswith("lost: ") for faults in found for fault in faults)


def test_each_trial_can_be_told_by_its_name():
    names = [str(case) for case in CASES]
    assert len(set(names)) == len(names)
    for steps in (["3"], ["c2", "mend", "4"], ["1", "edit"]):
        trial = Trial(CASES[-1], *steps)
        assert trial_of(str(trial)) == trial
    for text in ("plain@1", f"{REPLACE}@", f"{REPLACE}@1+sing@2"):
        with pytest.raises(ValueError, match="no trial"):
            trial_of(text)


@only_in_ci("some seconds of servers of their own")
@pytest.mark.parametrize("platform", ["postgresql", "s3"])
def test_so_it_is_on_other_platforms(platform: str):
    with PLATFORMS[platform]() as places:
        trials = Trials(places)

        for then in ("@25", "@25+mend@10", "@c4+edit@c2"):
            assert trials.run(trial_of(REPLACE + then)) == []


@pytest.mark.parametrize(
    "part", ["no such", f"mars/{REPLACE}@1", "sqlite/nothing@1", "@", f"sqlite/{REPLACE}@x"]
)
def test_a_trial_that_there_is_not_is_told(part: str):
    with pytest.raises(NotHere, match="no "):
        list(crashes(1, part))
