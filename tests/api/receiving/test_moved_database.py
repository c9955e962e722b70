"""The file of the database is moved away while the server runs, and comes back."""

import asyncio
from functools import partial

import pytest

from gifster.api.app import create_app
from gifster.app.settings import Settings
from tests.api.clients import Client
from tests.combinations import on_sqlite


@on_sqlite  # a PostgreSQL database has no file of ours
@pytest.mark.parametrize("beside", [True, False], ids=["alone", "with its log"])
def test_a_file_that_was_moved_away_is_said_until_it_is_back(booted: Settings, beside: bool):
    # Given a server that has answered a request
    file = booted.database.file
    assert file is not None
    with asyncio.Runner() as runner:
        ask = partial(Client(create_app(booted), runner.get_loop(), {}), "GET", "/api/gifs")
        assert ask().status_code == 200

        # When somebody moves its file away, alone or with the changes that are not in it yet
        files = [file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))]
        moved = [one for one in (files[:1] if beside else files) if one.exists()]
        for one in moved:
            one.rename(one.with_name(f"{one.name}.moved"))

        # I expect a clear answer, no new file in its place, and the same library once it is back
        for _ in range(2):
            answer = ask()
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert answer.headers["Retry-After"] == "30"
        assert not file.exists()
        for one in moved:
            one.with_name(f"{one.name}.moved").rename(one)
        assert ask().status_code == 200
