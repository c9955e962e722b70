"""A database whose disk is full, on a real small disk: every write says so, leaves nothing behind,
and works again when there is room. Reads go on."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import peewee
import psycopg
import pytest

from gifster import jobs
from gifster.app import database, readiness
from gifster.app.database import db
from gifster.app.models import Tag
from tests import images
from tests.app import small_disks
from tests.machine import files_below
from tests.stack import Stack
from tests.tus import Tus

PASSWORD = "correct horse"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A folder on a disk of 24 MB, which every user can read."""
    folder = Path(tempfile.mkdtemp(prefix="gifster-small-", dir="/tmp"))
    with small_disks.mounted(folder, "size=24m,mode=755") as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def small_database(
    request: pytest.FixtureRequest, small_disk: Path, tmp_path: Path
) -> Iterator[str]:
    """The URL of a database on it."""
    if request.param == "sqlite":
        yield f"sqlite:///{small_disk}/gifster.db"
        return
    server = request.getfixturevalue("postgresql_server")
    folder = small_disk / "tablespace"
    folder.mkdir(mode=0o700)
    owner = server.pgdata.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    name = small_disk.name.replace("-", "_").lower()  # other test processes use this server
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
        connection.execute(f"CREATE DATABASE {name} TABLESPACE {name}")
    yield server.get_uri(name)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.execute(f"DROP TABLESPACE {name}")


def fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            pass


def admin(stack: Stack) -> httpx.Client:
    """A client with an admin's API token."""
    account = {"email": "ann@example.org", "password": PASSWORD}
    token = stack.client.post("/api/users", json=account).json()["token"]
    assert stack.run("gifster", "admins", "add", "ann@example.org").returncode == 0
    return httpx.Client(
        base_url=stack.client.base_url, headers={"Authorization": f"Bearer {token}"}
    )


def writes(stack: Stack, ann: httpx.Client, gif_id: str) -> dict[str, Callable[[], Any]]:
    file = {"image": ("b.gif", images.gif((40, 30)), "image/gif")}
    json = {"Accept": "application/json"}
    log_in = {"email": "ann@example.org", "password": PASSWORD}
    new = {"email": "bob@example.org", "password": PASSWORD}
    return {
        "upload": lambda: ann.post("/api/gifs", files=file, data={"tags": "new"}),
        "page's upload": lambda: ann.post("/gifs", files=file, headers=json),
        "replacement": lambda: ann.put(f"/api/gifs/{gif_id}/image", files=file),
        "title": lambda: ann.patch(f"/api/gifs/{gif_id}", json={"title": "b" * 200}),
        "tags": lambda: ann.patch(f"/api/gifs/{gif_id}", json={"tags": list("abcdefgh")}),
        "sign-up": lambda: stack.client.post("/api/users", json=new),
        "page's sign-up": lambda: stack.client.post("/signup", data=new, headers=json),
        "log-in": lambda: stack.client.post("/login", data=log_in, headers=json),
        "pause": lambda: ann.post(
            "/jobs", data={"do": "pause", "of": "default"}, headers=json
        ),
        "API's pause": lambda: ann.patch("/api/queues/default", json={"paused": True}),
        "deletion": lambda: ann.delete(f"/api/gifs/{gif_id}"),
    }  # fmt: skip


def test_only_a_committed_write_finds_a_full_disk(small_disk: Path):
    # Given a database on a full disk
    database.connect(f"sqlite:///{small_disk}/gifster.db")
    database.migrate()
    with db.connection_context():
        readiness.check_write()
        fill(small_disk)

        # I expect a write that is rolled back to succeed
        with jobs.transaction(db) as transaction:
            Tag.create(name="cats")
            transaction.rollback()

        # And a committed write to fail
        with pytest.raises(peewee.OperationalError, match="database or disk is full"):
            readiness.check_write()
    db.obj.close_all()


def test_a_full_disk_of_the_database_is_reported(
    new_stack: Callable[..., Stack], small_disk: Path, small_database: str
):
    stack = new_stack(GIFSTER_DATABASE__URL=small_database)
    stack.start_web()
    ann = admin(stack)
    gif_id = stack.upload(images.gif((40, 30))).json()["id"]
    cached = files_below(stack.var / "cache")
    is_sqlite = small_database.startswith("sqlite")

    # When the disk is full
    fill(small_disk)

    # I expect writes to say so. PostgreSQL has room in pages that are not full for some of them.
    answers = {}
    for name, write in writes(stack, ann, gif_id).items():
        for _ in range(1 if is_sqlite else 80 if name == "upload" else 1):
            answers[name] = write()
            if answers[name].status_code == 507:
                break
    statuses = {name: answer.status_code for name, answer in answers.items()}
    refused = {name for name, status in statuses.items() if status == 507}
    assert not [name for name, status in statuses.items() if status in (500, 503)], statuses
    assert "upload" in refused, statuses
    assert not is_sqlite or refused == set(statuses), statuses
    for name in refused:
        assert answers[name].headers["Content-Type"] == "application/problem+json"
        assert answers[name].json()["code"] == "storage_full"
    assert "Traceback" not in stack.log("gifster-web")

    # And no files to be left behind, reads to work, and readiness to say what is wrong
    if is_sqlite:
        assert files_below(stack.var / "cache") == cached
        assert stack.gif(gif_id)["title"] == "a"
    assert stack.client.get("/api/gifs").status_code == 200
    ready = stack.client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["database"]) == (
        503, "the database has no room left on its disk",
    )  # fmt: skip
    doctor = stack.run("gifster", "doctor")
    assert doctor.returncode == 1
    said = " ".join(doctor.stdout.split())
    assert "no room left on its disk" in said, said

    # When there is room again, everything works
    (small_disk / "ballast").unlink()
    statuses = {n: write().status_code for n, write in writes(stack, ann, gif_id).items()}
    assert all(status in (200, 201, 202, 204, 303, 404, 409) for status in statuses.values()), (
        statuses
    )
    ann.close()


def test_a_resumable_upload_makes_a_full_disk_no_fuller(
    new_stack: Callable[..., Stack], small_disk: Path
):
    # Given an unfinished upload, and no room for what is noted of it
    stack = new_stack(GIFSTER_DATABASE__URL=f"sqlite:///{small_disk}/gifster.db")
    stack.start_web()
    tus = Tus(
        lambda method, path, **options: stack.client.request(
            method, f"/api/uploads{path}", **options
        ),
        "",
    )
    content = images.noisy_gif((300, 200), 4)
    path = tus.begun(len(content), content[:1000])
    cached = files_below(stack.var / "cache")
    fill(small_disk)

    # When its client tries to go on again and again
    for _ in range(3):
        refused = tus.patch(path, 1000, content[1000:200_000])
        assert (refused.status_code, refused.json()["code"]) == (507, "storage_full")

    # I expect nothing of that to stay, and the upload to go on when there is room
    assert files_below(stack.var / "cache") == cached
    (small_disk / "ballast").unlink()
    assert tus.offset(path) == 1000
    assert tus.patch(path, 1000, content[1000:]).status_code == 204
