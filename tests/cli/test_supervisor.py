"""What `gifster dev` does before its processes run."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gifster.app import database
from gifster.cli import supervisor
from gifster.jobs.process_group import ProcessGroup
from tests.conftest import new_postgresql
from tests.machine import eventually


def test_a_signal_ends_a_migration_that_waits_for_a_lock(postgresql_server: Any, tmp_path: Path):
    # Given a migration that waits for another one, which never ends
    url = new_postgresql(postgresql_server, tmp_path.name)
    opened = database.connect(url)
    group = ProcessGroup(os.environ, lambda line, name: None)
    with psycopg.connect(url) as other, psycopg.connect(url, autocommit=True) as observer:
        other.execute("SELECT pg_advisory_xact_lock(713705)")

        def waits() -> Any:
            query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            return observer.execute(query).fetchone() == (1,)

        def stop_it() -> None:
            eventually(waits)
            os.kill(os.getpid(), signal.SIGTERM)
            eventually(lambda: not waits())

        # When SIGTERM comes, I expect it to end, and not to wait in the database, either
        with ThreadPoolExecutor() as threads:
            stopping = threads.submit(stop_it)
            stopping.add_done_callback(lambda _: other.rollback())
            with pytest.raises(KeyboardInterrupt), supervisor._interruptible(group):
                supervisor._migrate()
            stopping.result()
    assert group.stopping.is_set()
    opened.close_all()
