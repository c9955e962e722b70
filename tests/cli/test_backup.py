"""`gifster backup` and `gifster restore`, drilled: a library in use moves to another machine."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

from tests import images
from tests.combinations import only_in_ci
from tests.conftest import own_postgresql
from tests.machine import examples
from tests.s3 import S3Server
from tests.stack import Stack

#: No more than the worker of a test can store in some seconds.
MOST_UPLOADS = examples(20, of=40)


@dataclass
class Traffic:
    """People who upload, replace and delete GIFs, until they are told to stop."""

    stack: Stack
    #: By id of a GIF, the SHA-256 of the last image that was accepted with a 202.
    accepted: dict[str, str] = field(default_factory=dict)
    #: GIFs that were, or may have been, changed since `mark()`.
    touched: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        ann = {"email": "ann@example.org", "password": "correct horse"}
        token = self.stack.client.post("/api/users", json=ann).json()["token"]
        self.stack.client.headers["Authorization"] = f"Bearer {token}"

    def mark(self) -> dict[str, str]:
        """What has been accepted by now. No request is under way meanwhile."""
        with self._lock:
            self.touched.clear()
            return dict(self.accepted)

    def run(self) -> None:
        for number in range(MOST_UPLOADS):
            if self._stop.is_set():
                return
            try:
                with self._lock:
                    self._upload(number)
                known = list(self.accepted)
                if number % 4 == 3:
                    with self._lock:
                        self._replace(known[-2], number)
                if number % 5 == 4:
                    with self._lock:
                        self._delete(known[-3])
            except (httpx.HTTPError, AssertionError) as error:
                self.errors.append(repr(error))
                return

    def _upload(self, number: int) -> None:
        content = picture(number)
        answer = self.stack.upload(content, title=str(number))
        assert answer.status_code == 202, answer.text
        self.accepted[answer.json()["id"]] = hashlib.sha256(content).hexdigest()

    def _replace(self, gif_id: str, number: int) -> None:
        self.touched.add(gif_id)
        content = picture(number + 1000)
        answer = self.stack.client.put(f"/api/gifs/{gif_id}/image", files={"image": content})
        assert answer.status_code == 202, answer.text
        self.accepted[gif_id] = hashlib.sha256(content).hexdigest()

    def _delete(self, gif_id: str) -> None:
        self.touched.add(gif_id)
        assert self.stack.client.delete(f"/api/gifs/{gif_id}").status_code == 204
        del self.accepted[gif_id]

    def __enter__(self) -> "Traffic":
        self._thread = threading.Thread(target=self.run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


def picture(number: int) -> bytes:
    """A GIF that no other number has."""
    return images.gif((24, 18), [20 + 10 * (number % 50), 20 + 10 * (number // 50)])


@pytest.fixture
def stacks(tmp_path: Path, broker_url: str) -> Iterator[list[Stack]]:
    """Two installations in folders of their own, which share a broker as a careless drill does."""
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made.append(Stack(tmp_path / name, broker_url))
    yield made
    for stack in made:
        stack.stop()


@only_in_ci("two installations; app/backup tries each step daily")
@pytest.mark.long
@pytest.mark.parametrize("first", ["folders", "servers"][: examples(1, of=2)])
def test_a_library_in_use_is_backed_up_and_restored_elsewhere(
    stacks: list[Stack],
    request: pytest.FixtureRequest,
    s3_server: S3Server,
    tmp_path: Path,
    first: str,
):
    # Given a library in use, in folders and SQLite or on S3 and PostgreSQL, and a second
    # installation of the other kind, of which nothing is there yet
    here, there = stacks
    servers = there if first == "folders" else here
    servers.environment |= s3_server.settings("store") | s3_server.settings("cache")
    servers.environment["GIFSTER_DATABASE__URL"] = own_postgresql(request)
    here.migrate()
    here.start_worker()
    here.start_web()
    backups = str(tmp_path / "backups")

    # When backups are made while people upload, replace and delete, and all is killed after them
    with Traffic(here) as traffic:
        first_one = here.run("gifster", "backup", backups)
        before = traffic.mark()
        last = here.run("gifster", "backup", backups, "--keep", "1")
        certain = {g: sha for g, sha in before.items() if g not in set(traffic.touched)}
    for made in (first_one, last):
        assert made.returncode == 0, made.stdout + made.stderr
    assert traffic.errors == []
    assert certain
    for process in here.processes:
        process.kill()

    # And the last one is restored
    listed = there.run("gifster", "backups", backups, "--verify")
    assert (listed.returncode, listed.stdout.count("verified")) == (0, 1), listed.stdout
    restored = there.run("gifster", "restore", backups)
    assert restored.returncode == 0, restored.stderr
    there.start("gifster", "scheduler")
    there.start_worker()
    there.start_web()

    # I expect each upload that was accepted before the backup to be stored, byte for byte, and no
    # other one to fail
    page = there.client.get("/api/gifs", params={"limit": 100}).json()
    done = {gif["id"]: there.finished(gif["id"]) for gif in page["items"]}
    assert {gif["state"] for gif in done.values()} == {"ready"}
    for gif_id, sha256 in certain.items():
        assert done[gif_id]["image"]["sha256"] == sha256
        content = httpx.get(done[gif_id]["image"]["url"]).content
        assert hashlib.sha256(content).hexdigest() == sha256
    checked = there.run("gifster", "fsck", "--deep", "--older-than", "0")
    assert checked.returncode == 0, checked.stdout
    assert "0 missing" in checked.stdout

    # And a second restore to be refused
    again = there.run("gifster", "restore", backups)
    assert again.returncode == 1
    assert "all rows go into a database that is empty" in again.stderr


def test_backups_within_gifsters_own_folders_are_refused(stacks: list[Stack], migrated: Path):
    stack = stacks[0]
    stack.migrate(migrated)

    for folder in ("var/store/backups", "var/cache/x"):
        refused = stack.run("gifster", "backup", folder)

        assert refused.returncode == 1
        assert "whose files Gifster serves or sweeps: name a folder elsewhere" in refused.stderr
        assert not (stack.folder / folder).exists()


def test_a_backup_is_told_of_though_older_ones_cannot_be_removed(
    stacks: list[Stack], migrated: Path, tmp_path: Path
):
    # Given a backup whose list of files is gone
    stack, backups = stacks[0], tmp_path / "backups"
    stack.migrate(migrated)
    assert stack.run("gifster", "backup", str(backups)).returncode == 0
    [listed] = backups.glob("backups/*/files.sqlite")
    listed.unlink()

    made = stack.run("gifster", "backup", str(backups), "--keep", "2")

    assert made.returncode == 1
    assert " 0 files (0.0 MB)" in made.stdout
    assert "no content is removed" in made.stderr


def test_the_secret_of_the_environment_is_not_kept_but_compared(
    stacks: list[Stack], migrated: Path, tmp_path: Path
):
    # Given a library whose secret is in the environment
    here, there = stacks
    here.migrate(migrated)
    here.environment["GIFSTER_UPLOADS__SECRET"] = "one that only the environment has"
    backups = tmp_path / "backups"
    made = here.run("gifster", "backup", str(backups))
    assert "GIFSTER_UPLOADS__SECRET is not in it: keep it elsewhere" in made.stdout
    kept = [path.read_bytes() for path in backups.rglob("*") if path.is_file()]
    assert not [content for content in kept if b"only the environment" in content]

    # When it is restored where another secret is set
    there.environment["GIFSTER_UPLOADS__SECRET"] = "another one than that"
    restored = there.run("gifster", "restore", str(backups))

    # I expect to be told
    assert restored.returncode == 0, restored.stderr
    assert "set GIFSTER_UPLOADS__SECRET as it was there" in restored.stdout


def test_a_database_moves_by_a_command(
    stacks: list[Stack], migrated: Path, request: pytest.FixtureRequest
):
    stack = stacks[0]
    stack.migrate(migrated)
    url = own_postgresql(request)

    # While a web server runs, it is refused
    stack.start_web()
    used = stack.run("gifster", "database", "copy", "sqlite:///var/gifster.db", url)
    assert (used.returncode, "another process has the source open" in used.stderr) == (1, True)
    stack.stop()

    moved = stack.run("gifster", "database", "copy", "sqlite:///var/gifster.db", url)
    assert moved.returncode == 0, moved.stderr
    assert moved.stdout.endswith(" copied, read back and the same\n")

    again = stack.run("gifster", "database", "copy", "sqlite:///var/gifster.db", "mysql://x/y")
    assert again.returncode == 1
    assert again.stderr.startswith("gifster: TARGET: ")
    with psycopg.connect(url, application_name="somebody"):
        used = stack.run("gifster", "database", "copy", url, "sqlite:///var/other.db")
    assert (used.returncode, "another session (somebody at " in used.stderr) == (1, True)
    back = stack.run("gifster", "database", "copy", url, "sqlite:///var/gifster.db")
    assert back.returncode == 1
    assert f"there is a database in {stack.var}/gifster.db already" in back.stderr
