"""What is logged of a problem that lasts."""

import logging
import time

import pytest

from gifster.jobs.problem import Problem


@pytest.fixture
def problem(caplog: pytest.LogCaptureFixture) -> Problem:
    caplog.set_level(logging.INFO)
    return Problem(logging.getLogger("gifster.jobs"))


def test_a_problem_is_logged_when_it_begins_changes_and_ends(
    problem: Problem, caplog: pytest.LogCaptureFixture
):
    problem.resolved("fine")
    for text, meaning in (("full: 1", "full"), ("full: 2", "full"), ("away", None), ("away", None)):
        problem.report(text, meaning)
    problem.resolved("fine")
    problem.resolved("fine")

    assert caplog.messages == ["full: 1", "away", "fine"]


def test_an_attempt_from_before_the_problem_does_not_end_it(
    problem: Problem, caplog: pytest.LogCaptureFixture
):
    # Given one thread that has begun to fetch when the attempt of another one fails
    began = time.monotonic()
    problem.report("away")

    # When the first one succeeds at last, and the other one fails again
    problem.resolved("back", tried_at=began)
    problem.report("away")
    assert caplog.messages == ["away"]

    # When an attempt succeeds that began later
    while (now := time.monotonic()) == began:
        pass
    problem.resolved("back", tried_at=now)
    assert caplog.messages == ["away", "back"]
