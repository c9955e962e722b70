"""A short form of `make chaos ARGS="--only crashes"`: a process that dies at some points of an
operation leaves nothing behind. And the trials notice what they are for."""

import dataclasses
from collections.abc import Iterator

import pytest

from chaos.crash_operations import AFTERWARDS, OPERATIONS
from chaos.crash_places import PLATFORMS
from chaos.crash_trials import CASES, Trial, Trials, trial_of
from gifster.uploads.backgrounding.promotion import Promotion
from tests.combinations import only_in_ci

REPLACE = "plain-one-stored-later/replace-after-stored"


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    with PLATFORMS["sqlite"]() as places:
        yield Trials(places)


@pytest.mark.parametrize("steps", ["@0", "@7", "@12+mend@9", "@30+delete@0", "@20+edit@5"])
def test_a_process_that_dies_leaves_nothing_behind(trials: Trials, steps: str):
    assert trials.run(trial_of(REPLACE + steps)) == []


def test_a_file_that_is_left_behind_is_found(trials: Trials, monkeypatch: pytest.MonkeyPatch):
    # Given a promotion that forgets its cached file, and a sweep that does not see it
    monkeypatch.setattr(Promotion, "_drop_cached", lambda self: None)
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


def test_each_trial_can_be_told_by_its_name():
    names = [str(case) for case in CASES]
    assert len(set(names)) == len(names)
    for trial in (Trial(CASES[0], 3), Trial(CASES[-1], 2, "mend", 4), Trial(CASES[1], 1, "edit")):
        assert trial_of(str(trial)) == trial
    with pytest.raises(ValueError, match="no trial 'plain@1'"):
        trial_of("plain@1")


@only_in_ci("some seconds of servers of their own")
@pytest.mark.parametrize("platform", ["postgresql", "s3"])
def test_so_it_is_on_other_platforms(platform: str):
    with PLATFORMS[platform]() as places:
        trials = Trials(places)

        for then in ("@25", "@25+mend@10", f"@25+{AFTERWARDS[0]}@0"):
            assert trials.run(trial_of(REPLACE + then)) == []
