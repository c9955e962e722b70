"""Short forms of `make chaos` and `make hostile`: what is accepted while things are killed is
stored, once, whole; and hostile requests are refused, with nothing left of them."""

from pathlib import Path

import pytest

from chaos import scenarios
from chaos.hostile import attack
from chaos.scenarios import SCENARIOS


@pytest.mark.parametrize("name", ["kills", "broker", "backlog"])
def test_nothing_is_lost_done_twice_or_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr(scenarios, "BACKLOG_S", 4.0)
    scenario, _ = SCENARIOS[name]

    verdict = scenario(tmp_path / name, 60, 3)

    assert verdict.accepted == 60
    assert verdict.sound, verdict


def test_hostile_requests_are_refused_and_leave_nothing_behind(tmp_path: Path):
    outcome = attack(tmp_path / "site", 400, 4)

    assert outcome.answers.total >= 400
    assert outcome.answers.wrong == []
    assert outcome.stood, outcome
