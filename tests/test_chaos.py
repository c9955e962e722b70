"""A short form of `make chaos`: what is accepted while things are killed is stored, once, whole."""

from pathlib import Path

import pytest

from chaos.scenarios import SCENARIOS


@pytest.mark.parametrize("name", ["kills", "broker"])
def test_nothing_is_lost_done_twice_or_left_behind(tmp_path: Path, name: str):
    scenario, _ = SCENARIOS[name]

    verdict = scenario(tmp_path / name, 60, 3)

    assert verdict.accepted == 60
    assert verdict.sound, verdict
