"""Short forms of `make chaos` and `make hostile`: what is accepted while things are killed is
stored, once, whole; and hostile requests are refused, with nothing left of them."""

from pathlib import Path

import pytest

from chaos import scenarios, wire
from chaos.databases import DATABASES
from chaos.hostile_requests import attack
from chaos.scenarios import SCENARIOS
from tests.combinations import only_in_ci
from tests.machine import examples

#: What runs every day, and then what runs in CI, too.
KINDS = ["kills", "broker", "backlog"][: examples(1, of=3)]
#: A database, and how many requests it gets.
ON = [("SQLite", 400), ("PostgreSQL", 100)]


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_lost_done_twice_or_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    uploads = examples(16, of=40)
    monkeypatch.setattr(scenarios, "BACKLOG_S", 4.0)
    monkeypatch.setattr(scenarios, "PACE", uploads / 60)
    scenario, _ = SCENARIOS[name]

    verdict = scenario(tmp_path / name, uploads, 3)

    assert verdict.accepted == uploads
    assert verdict.blows > 0
    assert verdict.sound, verdict


@pytest.mark.long
@only_in_ci("a whole installation; api/openapi/test_openapi.py sends odd requests daily")
@pytest.mark.parametrize(("database", "requests"), ON)
def test_hostile_requests_are_refused_and_leave_nothing_behind(
    tmp_path: Path, database: str, requests: int
):
    with DATABASES[database]() as url:
        outcome = attack(tmp_path / "site", requests, 4, database_url=url)

    assert outcome.answers.total >= requests
    assert outcome.answers.wrong == []
    assert outcome.stood, outcome


@pytest.mark.long
@only_in_ci("6 s; the tests in api/receiving attack connections daily")
def test_others_are_served_beside_attacks_on_connections(tmp_path: Path):
    sieges = wire.attack(tmp_path / "site", "sqlite:///var/gifster.db", scale=0.03)

    assert len(sieges) == wire.COUNT
    assert [siege for siege in sieges if not siege.stood] == []
    # No process remembers what was refused, and no header is worth an answer of its own
    [heads] = [siege for siege in sieges if siege.kind == "long heads"]
    assert heads.answers["431"] > 0
