"""`gifster doctor` and storages: whether they keep files intact, and what it says if not."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gifster import jobs
from gifster.app import settings
from gifster.app.database import db
from gifster.app.settings import Settings
from gifster.cli import doctor
from gifster.cli.doctor import checks
from gifster.jobs import clock
from gifster.uploads import LocalStorage
from tests.stack import Stack
from tests.uploads import plain_s3
from tests.uploads.plain_s3 import PlainS3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PlainS3]:
    with plain_s3.running(tmp_path) as running:
        yield running


@pytest.fixture
def check(tmp_path: Path, server: PlainS3, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What the doctor says of a storage that is on the server."""
    monkeypatch.chdir(tmp_path)

    def checked(name: str = "store", **keys: str) -> str:
        variables = server.settings(name)
        variables |= {f"GIFSTER_{name}__{key}".upper(): value for key, value in keys.items()}
        with monkeypatch.context() as environment:
            for variable, value in variables.items():
                environment.setenv(variable, value)
            return dict(checks(settings.load()))[name]()

    return checked


def test_files_are_read_back_and_fetched_as_browsers_do(check: Callable[..., str], server: PlainS3):
    assert check() == f"written, read back, fetched from {server.url}, removed, also in parts"
    assert check("cache") == "written, read back, removed, also in parts"
    assert server.files == {}


def test_a_server_without_trailers_is_named_with_the_setting_to_change(
    new_stack: Callable[..., Stack], server: PlainS3
):
    stack = new_stack(**server.settings("store"), GIFSTER_STORE__CHECKSUMS="when_supported")

    result = stack.run("gifster", "doctor")

    assert result.returncode == 1
    said = " ".join(result.stdout.split())
    assert "store FAILS S3 bucket 'bucket': the server was sent 1,024 bytes of doctor/" in said
    assert 'the aws-chunked framing in the file: set checksums = "when_required"' in said
    assert server.files == {}


def test_damage_is_found_byte_by_byte(check: Callable[..., str], server: PlainS3):
    server.keeps = lambda body: body[:9] + bytes([body[9] ^ 1]) + body[10:]
    with pytest.raises(RuntimeError, match="not what is read back: byte 10 is the first that diff"):
        check()

    # And a server that damages only files that come in parts
    server.keeps = lambda body: body if len(body) == 1024 and not server.parts else body[::-1]
    with pytest.raises(RuntimeError, match="not what is read back: byte 1 is the first"):
        check()
    assert server.files == {}


def test_a_lost_content_type_is_named(check: Callable[..., str], server: PlainS3):
    server.serves_as = "text/plain"

    with pytest.raises(RuntimeError, match="serves text/plain for what was written as image/gif"):
        check()


def test_a_wrong_address_is_an_error_and_an_unreachable_one_is_not(
    check: Callable[..., str], server: PlainS3
):
    with pytest.raises(RuntimeError, match=rf"{server.url} answers 404 to the URL of a file"):
        check(base_url=f"{server.url}/other")

    assert "not fetched from https://127.0.0.1:1 (" in check(base_url="https://127.0.0.1:1")
    assert server.files == {}


def test_a_file_of_authorities_that_is_not_there_is_named(check: Callable[..., str]):
    with pytest.raises(Exception, match=r"there is no ca_file other\.pem"):
        check(ca_file="other.pem")


def test_a_wrong_clock_is_named_with_what_to_do(booted: Settings, monkeypatch: pytest.MonkeyPatch):
    # Given clocks that agree, and a worker on another machine
    assert "ahead" not in doctor._clock()
    moment = jobs.now()
    jobs.Worker.create(
        id="w", host="green", pid=1, threads=1, queues="", started_at=moment, seen_at=moment,
        clock_off_s=3600.0,
    )  # fmt: skip

    # When the clock of a storage is behind, and on PostgreSQL that of this machine, too
    monkeypatch.setattr(LocalStorage, "now", lambda _: moment - 500)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() - 90)

    # I expect each to be named
    assert "the clock of green is 3,600 s ahead of the database's" in doctor._clock()
    assert "(set all of them by NTP: timedatectl set-ntp true)" in doctor._clock()
    if clock.has_clock(db):
        assert "the clock of the store is 500 s behind the database's" in doctor._clock()
        assert "the clock of this machine is 90 s behind the database's" in doctor._clock()
