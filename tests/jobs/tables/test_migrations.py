"""The tables of the jobs: numbered migrations bring those of every earlier release up to date."""

import hashlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import peewee
import pytest
from playhouse.migrations import Runner
from playhouse.pool import PooledMySQLDatabase
from playhouse.sqliteq import SqliteQueueDatabase

from gifster import jobs
from gifster.jobs import schema, table_changes
from tests import databases
from tests.combinations import on_postgresql
from tests.jobs.tables.earlier_tables import DATA, EARLIER, drop_all, kind_of, make_as_of, run_sql

NAMES = [migration.name for migration in schema.all_migrations()]
TABLES = [table._meta.table_name for table in jobs.TABLES]


@pytest.fixture
def database(database_url: str) -> Iterator[Any]:
    """An empty database of each kind, with a connection open."""
    made = databases.connect(database_url)
    made.bind(jobs.TABLES)
    with made.connection_context():
        yield made
    made.close_all()


def shape(database: Any) -> dict[str, list]:
    """The columns and indexes of all our tables."""
    return {
        table: [
            sorted((c.name, c.data_type, c.null, c.primary_key) for c in columns),
            sorted((i.columns, i.unique) for i in database.get_indexes(table)),
        ]
        for table in TABLES
        if (columns := database.get_columns(table))
    }


def test_the_migrations_make_the_tables_of_the_models(database: Any):
    assert jobs.pending_migrations(database) == NAMES
    assert jobs.migrate(database) == NAMES
    migrated = shape(database)

    drop_all(database)
    database.create_tables(jobs.TABLES)

    assert migrated == shape(database)
    assert jobs.pending_migrations(database) == []
    assert jobs.migrate(database) == []


@pytest.mark.parametrize("number", range(len(EARLIER)))
def test_each_earlier_schema_becomes_the_present_one_and_keeps_its_jobs(database: Any, number: int):
    # Given the tables of the present release, and those of an earlier one with a job
    jobs.migrate(database)
    present = shape(database)
    drop_all(database)
    make_as_of(database, EARLIER[number])

    # When they are migrated, I expect just the later migrations
    applied = jobs.migrate(database)

    assert applied == NAMES[number + 1 :]
    assert shape(database) == present
    assert jobs.migrate(database) == []
    # and the job to be there
    (job,) = jobs.Job.select()
    assert (job.id, job.attempts) == ("job", 0 if number < 2 else 3)
    assert job.held is False


@pytest.mark.parametrize("number", range(len(EARLIER)))
def test_a_process_of_an_earlier_release_goes_on_after_the_migration(database: Any, number: int):
    # Given migrated tables, I expect a process that knows only the old columns to write jobs
    make_as_of(database, EARLIER[number])
    known = [c.name for c in database.get_columns("outbox")]
    jobs.migrate(database)

    copied = ", ".join(name for name in known if name != "id")
    database.execute_sql(f"INSERT INTO outbox (id, {copied}) SELECT 'new', {copied} FROM outbox")

    assert jobs.Job.select().where(jobs.Job.leased_by.is_null()).count() == 2


def test_an_application_with_nothing_but_the_outbox_gets_the_other_tables(database: Any):
    database.create_tables([jobs.Job])
    assert jobs.pending_migrations(database) == [NAMES[3], NAMES[4], NAMES[7], NAMES[9]]

    jobs.migrate(database)

    assert sorted(shape(database)) == sorted(TABLES)


class OurPool(PooledMySQLDatabase):
    """An application's own."""


@pytest.mark.parametrize("kind", [peewee.MySQLDatabase, OurPool, SqliteQueueDatabase])
def test_a_database_that_the_outbox_cannot_use_is_refused(tmp_path: Path, kind: Any):
    queued = kind is SqliteQueueDatabase
    database = kind(tmp_path / "app.db", autostart=False) if queued else kind("app")

    for function in (jobs.migrate, jobs.pending_migrations):
        with pytest.raises(TypeError, match=rf"cannot be in a {kind.__name__}.* use S"):
            function(database)


def test_processes_that_migrate_at_the_same_time_do_it_once(database_url: str):
    # Given eight threads with a connection each, and no tables
    one = databases.connect(database_url)

    def migrate(_: int) -> list[str]:
        with one.connection_context():
            return jobs.migrate(one)

    with ThreadPoolExecutor(8) as threads:
        applied = list(threads.map(migrate, range(8)))

    assert sorted(filter(None, applied)) == [NAMES]
    one.close_all()


def test_nobody_waits_long_behind_a_migration(database: Any, monkeypatch: pytest.MonkeyPatch):
    if kind_of(database) == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    monkeypatch.setattr(table_changes, "TABLE_WAIT_S", 0.05)
    monkeypatch.setattr(table_changes, "TABLE_PATIENCE_S", 0.2)
    before_a_column = next(path for path in EARLIER if path.name.startswith("6-"))
    make_as_of(database, before_a_column)
    lacking = jobs.pending_migrations(database)
    beside = peewee.PostgresqlDatabase(None)
    beside.init(database.database, **database.connect_params)

    # Given a session that reads the outbox, as a backup does, I expect a migration to give up
    with beside.connection_context(), beside.atomic():
        beside.execute_sql("SELECT * FROM outbox")
        with pytest.raises(peewee.OperationalError, match="another session uses a table"):
            jobs.migrate(database)
    assert jobs.pending_migrations(database) == lacking

    # and to go on when that has ended meanwhile
    monkeypatch.setattr(table_changes, "TABLE_PATIENCE_S", 60)
    beside.connect()
    beside.begin()
    beside.execute_sql("LOCK TABLE outbox")
    monkeypatch.setattr(table_changes.time, "sleep", lambda _: beside.rollback())
    assert jobs.migrate(database) == lacking
    beside.close()


@on_postgresql
def test_those_who_read_jobs_do_not_wait_for_an_index(
    database: Any, monkeypatch: pytest.MonkeyPatch
):
    # Given the tables of the first release, which lack columns and indexes, and another session
    make_as_of(database, EARLIER[0])
    beside = peewee.PostgresqlDatabase(None)
    beside.init(database.database, **database.connect_params | {"options": "-c lock_timeout=1s"})
    monkeypatch.setattr(table_changes, "TABLE_PATIENCE_S", 0)  # if it does wait, fail at once
    execute, made = database.execute_sql, []

    def execute_and_read(sql: str, *arguments: Any, **options: Any) -> Any:
        done = execute(sql, *arguments, **options)
        if sql.startswith("CREATE INDEX") and 'ON "outbox"' in sql:
            # When an index is made and not committed, I expect the other one to read jobs
            beside.execute_sql("SELECT count(*) FROM outbox")
            made.append(len(beside.get_indexes("outbox")))
        return done

    monkeypatch.setattr(database, "execute_sql", execute_and_read)
    with beside.connection_context():
        applied = jobs.migrate(database)

        # and each index to be there before the next one is begun: writers wait for one only
        assert made == list(range(made[0], made[0] + len(made)))
        assert len(made) >= 5
    assert applied == NAMES[1:]


@on_postgresql
def test_a_migration_ends_though_an_index_of_anothers_has_the_name_of_ours(
    database: Any, monkeypatch: pytest.MonkeyPatch
):
    # Given an index of somebody's own that has the name of ours, and other columns
    make_as_of(database, EARLIER[0])
    database.execute_sql('CREATE INDEX "outbox_dead" ON "outbox" ("id", "queue")')
    rounds, take_step = [], schema._take_step

    def counted(*arguments: Any) -> Any:
        rounds.append(arguments)
        assert len(rounds) < 50, "it never ends"
        return take_step(*arguments)

    monkeypatch.setattr(schema, "_take_step", counted)

    # I expect the others to be made, and the migration to stay pending
    jobs.migrate(database)
    (pending,) = jobs.pending_migrations(database)
    assert pending == "0009_backlogs"


def migrate_until_killed(database_url: str, after: int) -> None:
    """Migrate, and kill this process when it has made so many indexes of the outbox."""
    database = databases.connect(database_url)
    execute, left = database.execute_sql, iter(range(after - 1, -1, -1))

    def execute_and_die(sql: str, *arguments: Any, **options: Any) -> Any:
        done = execute(sql, *arguments, **options)
        if sql.startswith("CREATE INDEX") and 'ON "outbox"' in sql and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    database.execute_sql = execute_and_die
    with database.connection_context():
        jobs.migrate(database)


@pytest.mark.parametrize("after", [1, 2, 5])
def test_a_migration_that_is_killed_goes_on_where_it_was(
    database: Any, database_url: str, after: int
):
    jobs.migrate(database)
    present = shape(database)
    drop_all(database)
    make_as_of(database, EARLIER[0])
    before = jobs.pending_migrations(database)

    # Given a process that is killed in the middle
    process = multiprocessing.get_context("spawn").Process(
        target=migrate_until_killed, args=(database_url, after)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL

    # I expect those who wait for the migration to wait on, and the next one to complete it
    pending = jobs.pending_migrations(database)
    assert pending
    assert set(pending) <= set(before)
    assert jobs.migrate(database) == pending
    assert shape(database) == present
    assert jobs.pending_migrations(database) == []


def test_a_transaction_that_is_rolled_back_takes_the_migrations_along(database: Any):
    with pytest.raises(KeyError), database.atomic():
        jobs.migrate(database)
        raise KeyError

    assert jobs.pending_migrations(database) == NAMES


def test_playhouse_runs_it_as_one_of_the_applications_migrations(database: Any, tmp_path: Path):
    (tmp_path / "0001_jobs.py").write_text(
        "from gifster import jobs\n\n\ndef up(migrator, db):\n    jobs.migrate(db)\n"
    )

    assert Runner(database, str(tmp_path)).up() == ["0001_jobs"]

    assert jobs.pending_migrations(database) == []


@pytest.mark.parametrize("number", range(len(NAMES) + 1))
def test_the_printed_sql_does_the_same(database: Any, number: int):
    jobs.migrate(database)
    present = shape(database)
    drop_all(database)

    # Given a database at one of the versions, when a tool runs the SQL of all later ones
    if number:
        make_as_of(database, EARLIER[number - 1])
    run_sql(database, schema.sql(kind_of(database), after=number))

    assert shape(database) == present
    # and PostgreSQL takes all of it again
    if kind_of(database) == "postgresql":
        run_sql(database, schema.sql("postgresql"))
        assert shape(database) == present


def test_committed_migrations_never_change():
    lines = (DATA / "migrations.sha256").read_text().splitlines()
    committed = dict(reversed(line.split()) for line in lines)
    present = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in schema.MIGRATIONS.glob("*.sql")
    }

    assert present == committed, (
        "A committed migration must not change, because databases have run it. Write another one, "
        "and add its digest: (cd gifster/jobs/migrations && sha256sum *.sql) > "
        "tests/jobs/data/migrations.sha256"
    )
    assert [m.number for m in schema.all_migrations()] == list(range(1, len(NAMES) + 1))


def test_a_statement_whose_effect_nobody_could_see_is_refused():
    migration = schema.Migration("0007_odd", "-- Odd.\nUPDATE outbox SET held = 0;\n")

    with pytest.raises(ValueError, match="0007_odd: nobody can tell whether this is done: UPDATE"):
        _ = migration.statements


def test_create_tables_is_the_former_name(database: Any):
    database.create_tables([jobs.Job])
    with pytest.warns(DeprecationWarning, match=r"write jobs\.migrate\(database\)"):
        added = jobs.create_tables(database)

    assert added == [
        "worker", "paused_queue", "tally", "recurring_job", "outbox_identity",
        "clock_span", "worker.clock_off_s", "worker.all_queues",
    ]  # fmt: skip
