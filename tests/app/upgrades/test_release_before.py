"""A rolling upgrade: web processes of the release before work on, while the next release migrates
the database, starts beside them, and its workers take over."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import images
from tests.combinations import only_in_ci
from tests.conftest import own_postgresql
from tests.machine import eventually
from tests.stack import Stack

#: The last commit of version 0.1.
BEFORE = "d3867a1f7c40b6f72889c56e5a176a0abd213015"
#: Those settings of a test's stack that it knows.
KNOWN_THEN = {
    "GIFSTER_AUTH__ANONYMOUS_UPLOADS", "GIFSTER_BROKER__URL", "GIFSTER_DATABASE__URL",
    "GIFSTER_LIMITS__ENABLED", "GIFSTER_WEB__PORT",
}  # fmt: skip
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def release_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the release before, from the history."""
    archive = subprocess.run(
        ["git", "archive", BEFORE, "gifster"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip("the release before is not in the history here (git fetch --unshallow)")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(params=["sqlite", "postgresql"])
def both(
    request: pytest.FixtureRequest, tmp_path: Path, broker_url: str, release_before: Path
) -> Iterator[tuple[Stack, Stack]]:
    """The release before and this one, in one folder: one database, broker, cache and store."""
    variables = {}
    if request.param == "postgresql":
        variables["GIFSTER_DATABASE__URL"] = own_postgresql(request)
    old = Stack(tmp_path, broker_url, PYTHONPATH=str(release_before), **variables)
    for name in {name for name in old.environment if name.startswith("GIFSTER_")} - KNOWN_THEN:
        del old.environment[name]
    new = Stack(tmp_path, broker_url, **variables)
    yield old, new
    for stack in (old, new):
        stack.stop()


@only_in_ci("two installations and a checkout of the release before")
@pytest.mark.long
def test_the_web_processes_of_the_release_before_work_on(both: tuple[Stack, Stack]):
    # Given the release before, in use
    old, new = both
    assert old.run("python", "-m", "gifster", "migrate").returncode == 0
    worker = old.start_worker()
    old.start("python", "-m", "gifster", "web")
    until_ready(old)
    ann = {"email": "ann@example.org", "password": "correct horse"}
    token = old.client.post("/api/users", json=ann).json()["token"]
    for stack in both:
        stack.client.headers["Authorization"] = f"Bearer {token}"
    first = old.upload(images.gif((60, 40), [40] * 2), title="of then").json()["id"]
    assert old.finished(first)["state"] == "ready"

    # When this release migrates, and starts beside it
    migrated = new.run("gifster", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    worker.terminate()
    worker.wait(60)
    new.start_worker()
    new.start_web()

    # I expect the old web process to take uploads, which the new worker stores
    sent = old.upload(images.gif((60, 40), [40] * 3), title="by the old one", tags="cats")
    assert sent.status_code == 202
    through_old = sent.json()["id"]
    assert new.finished(through_old)["state"] == "ready"

    # And both to show, change and delete what either has taken
    through_new = new.upload(images.gif((60, 40), [40] * 4), title="by the new one").json()["id"]
    assert new.finished(through_new)["state"] == "ready"
    for stack in both:
        items = stack.client.get("/api/gifs").json()["items"]
        assert [gif["id"] for gif in items] == [through_new, through_old, first]
        for gif_id in (first, through_old, through_new):
            gif = stack.gif(gif_id)
            assert stack.client.get(gif["image"]["url"]).status_code == 200
        assert stack.client.get("/").status_code == 200
    for stack, gif_id in ((old, through_new), (new, first)):
        answer = stack.client.patch(f"/api/gifs/{gif_id}", json={"title": "changed"})
        assert answer.status_code == 200, answer.text
        other = new if stack is old else old
        assert other.gif(gif_id)["title"] == "changed"
    replaced = old.client.put(
        f"/api/gifs/{through_new}/image", files={"image": images.gif((60, 40), [40] * 5)}
    )
    assert replaced.status_code == 202, replaced.text
    assert new.finished(through_new)["image"]["frames"] == 5
    assert old.client.delete(f"/api/gifs/{first}").status_code == 204
    assert new.client.get(f"/api/gifs/{first}").status_code == 404

    # And accounts to be the same
    beth = {"email": "beth@example.org", "password": "correct horse"}
    assert old.client.post("/api/users", json=beth).status_code == 201
    assert new.run("gifster", "admins", "add", "beth@example.org").returncode == 0

    # And the search to find what the old one has added, once its index has been looked after
    assert new.run("python", "-c", TEND).returncode == 0
    found = new.client.get("/api/gifs", params={"q": "by the old"}).json()["items"]
    assert through_old in [gif["id"] for gif in found]


TEND = """
from gifster.actors.maintenance import tend_search
from gifster.app.database import db
with db.connection_context():
    tend_search.fn()
"""


def until_ready(stack: Stack) -> None:
    eventually(stack.answers)
