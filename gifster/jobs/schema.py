"""The library's tables, and the numbered migrations that make them and bring them up to date.

`migrations/0001_outbox.sql` and its successors are plain SQL, as PostgreSQL reads it; for SQLite a
few words change. Each statement adds one table, one column or one index, if it is missing. So the
database itself says which migrations it lacks, whoever made its tables: `migrate()`, an earlier
release, Peewee's `create_tables()`, or a person with the printed SQL. Nothing is ever renamed or
removed, so that workers of two releases can run side by side.
"""

import logging
import re
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import peewee

from gifster.jobs.identity import OutboxIdentity
from gifster.jobs.job import Job
from gifster.jobs.recurring import RecurringJob
from gifster.jobs.stats import ActorStats
from gifster.jobs.table_changes import change_tables
from gifster.jobs.transactions import SCHEMA_LOCK, real_database, schema_transaction
from gifster.jobs.watched import ClockSpan
from gifster.jobs.worker_rows import PausedQueue, Worker

logger = logging.getLogger("gifster.jobs")

#: All tables: `database.bind(jobs.TABLES)`.
TABLES: list[type[peewee.Model]] = [
    Job,
    OutboxIdentity,
    Worker,
    PausedQueue,
    ActorStats,
    RecurringJob,
    ClockSpan,
]

MIGRATIONS = Path(__file__).parent / "migrations"
#: What SQLite calls otherwise. Its columns then have the same types as those that Peewee makes.
_IN_SQLITE = {
    "DOUBLE PRECISION": "REAL",
    "BIGINT": "INTEGER",
    "BOOLEAN": "INTEGER",
    "DEFAULT FALSE": "DEFAULT 0",
    "ADD COLUMN IF NOT EXISTS": "ADD COLUMN",
}
_TABLE = re.compile(r'CREATE TABLE IF NOT EXISTS "(\w+)" \(')
_COLUMN = re.compile(r'ALTER TABLE "(\w+)" ADD COLUMN IF NOT EXISTS "(\w+)" ')
_INDEX = re.compile(r'CREATE INDEX IF NOT EXISTS "\w+"\s+ON "(\w+)" \(([\w", ]+)\)')
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


@dataclass(frozen=True)
class Statement:
    """One statement of a migration, in PostgreSQL's SQL, and what it adds: `table`,
    `table.column`, or an index as `table(column, column)`."""

    sql: str
    adds: str

    @property
    def indexes(self) -> str | None:
        """The table of which it makes an index; None if it makes none."""
        table, has_columns, _ = self.adds.partition("(")
        return table if has_columns else None

    def for_database(self, *, sqlite: bool) -> str:
        """The statement in the database's SQL."""
        sql = self.sql
        for word, other in _IN_SQLITE.items() if sqlite else ():
            sql = sql.replace(word, other)
        return sql


@dataclass(frozen=True)
class Migration:
    """A numbered migration. `text` is its whole file."""

    name: str
    text: str

    @property
    def number(self) -> int:
        return int(self.name.partition("_")[0])

    @property
    def statements(self) -> list[Statement]:
        """Its statements, in order.

        Raises:
          ValueError: a statement does something else than to add one thing that is missing.
        """
        parts = [part.strip() for part in _COMMENT.sub("", self.text).split(";")]
        return [Statement(part, self._added_by(part)) for part in parts if part]

    def _added_by(self, sql: str) -> str:
        if table := _TABLE.match(sql):
            return table[1]
        if column := _COLUMN.match(sql):
            return f"{column[1]}.{column[2]}"
        if index := _INDEX.match(sql):
            return f"{index[1]}({index[2]})".replace('"', "")
        raise ValueError(f"migration {self.name}: nobody can tell whether this is done: {sql}")


@cache
def all_migrations() -> list[Migration]:
    """All migrations, in order."""
    return [Migration(p.stem, p.read_text("utf-8")) for p in sorted(MIGRATIONS.glob("0*.sql"))]


def migrate(database: peewee.Database | peewee.DatabaseProxy) -> list[str]:
    """Bring the library's tables in a database up to date. Call it at each start or deployment, or
    in a migration of yours; it adds only what is missing. Several processes may call it at once.

    Works on SQLite and PostgreSQL. Within your transaction it is part of that, and those who read
    jobs may wait for its end. Otherwise each index of a table with rows is made on PostgreSQL in a
    transaction of its own: those who write jobs wait for one index, and nobody who reads them. If
    it is killed, the next call goes on where it was. Each transaction waits for at most a minute
    for sessions that use the tables, and has others wait behind it for at most two seconds each
    time.

    Returns:
      the names of the migrations that were completed; none if the tables were up to date. Of
      processes that migrate at the same time, one returns each name.

    Raises:
      NotBound: the database is a proxy without a database.
      TypeError: it is of a kind that the outbox cannot use; says which it can.
      peewee.PeeweeException
    """
    real = usable_database(database)
    if _is_sqlite(real) or real.in_transaction():
        with schema_transaction(real):
            migrated = _migrate(real)
    else:
        migrated = _migrate_in_steps(real)
    for migration in migrated:
        logger.info("migrated %s", migration)
    return migrated


def _migrate(database: peewee.Database) -> list[str]:
    lacking = _lacking(database)
    for statement in chain.from_iterable(lacking.values()):
        database.execute_sql(statement.for_database(sqlite=_is_sqlite(database)))
    return list(lacking)


def _migrate_in_steps(database: peewee.Database) -> list[str]:
    migrated: list[str] = []
    tried: set[Statement] = set()
    is_over = False
    while not is_over:
        completed, step, is_over = change_tables(
            database, SCHEMA_LOCK, lambda: _take_step(database, tried)
        )
        migrated += completed
        tried.update(step)
    return sorted(migrated)  # an earlier one may be complete after a later one


def _take_step(
    database: peewee.Database, tried: Collection[Statement]
) -> tuple[list[str], list[Statement], bool]:
    """Apply what one transaction should hold. Tables and columns come first, as an index may need
    them: they lock out readers, and are done in a moment. An index of a table with rows takes long.

    Parameters:
      tried: the statements of earlier steps. One of them may have done nothing, as somebody's own
        index has the name of ours: it is not run again.

    Returns:
      the names of the migrations that are now complete, the statements that were run, and whether
      they were the last.
    """
    lacking = _lacking(database)
    every = [s for s in chain.from_iterable(lacking.values()) if s not in tried]
    there = set(database.get_tables())
    slow = [s for s in every if s.indexes in there]
    step = [s for s in every if s not in slow] or slow[:1]
    for statement in step:
        database.execute_sql(statement.for_database(sqlite=False))
    completed = [name for name, statements in lacking.items() if set(statements) <= set(step)]
    return completed, step, len(step) == len(every)


def pending_migrations(database: peewee.Database | peewee.DatabaseProxy) -> list[str]:
    """The names of the migrations that `migrate()` would apply now."""
    return list(_lacking(usable_database(database)))


def sql(kind: str, after: int = 0) -> str:
    """The migrations as SQL, for a tool of your own.

    Parameters:
      kind: `sqlite` or `postgresql`. On PostgreSQL statements whose table, column or index is there
        do nothing; on SQLite a column that is there is an error.
      after: the number of the last migration to leave out.
    """
    parts = []
    for migration in all_migrations():
        if migration.number > after:
            comment = "".join(_COMMENT.findall(migration.text))
            statements = migration.statements
            lines = [f"{s.for_database(sqlite=kind == 'sqlite')};\n" for s in statements]
            parts.append(f"-- {migration.name}\n{comment}{''.join(lines)}")
    return "\n".join(parts)


def _lacking(database: peewee.Database) -> dict[str, list[Statement]]:
    """By name of a migration, its statements whose effect is missing."""
    every = {migration.name: migration.statements for migration in all_migrations()}
    wanted = [statement for statements in every.values() for statement in statements]
    present = _present(database, {re.split(r"[.(]", s.adds)[0] for s in wanted})
    lacking = {
        name: [statement for statement in statements if statement.adds not in present]
        for name, statements in every.items()
    }
    return {name: statements for name, statements in lacking.items() if statements}


def _present(database: peewee.Database, tables: set[str]) -> set[str]:
    """Which of these tables are there, with their columns and indexes, named as in `Statement`.
    The name of an index does not count: Peewee and Gifster's first migration chose two."""
    present = tables & set(database.get_tables())
    for table in list(present):
        present |= {f"{table}.{column.name}" for column in database.get_columns(table)}
        present |= {f"{table}({', '.join(i.columns)})" for i in database.get_indexes(table)}
    return present


def usable_database(database: peewee.Database | peewee.DatabaseProxy) -> peewee.Database:
    """The database behind a proxy, or the database itself, if the outbox can be in it.

    Raises:
      NotBound: the database is a proxy without a database.
      TypeError: it is of a kind that the outbox cannot use; says which it can.
    """
    real = real_database(database)
    name = type(real).__name__
    if not isinstance(real, (peewee.SqliteDatabase, peewee.PostgresqlDatabase)):
        raise TypeError(
            f"the outbox cannot be in a {name}: use SQLite or PostgreSQL, through Peewee's "
            "SqliteDatabase or PostgresqlDatabase, or a pool of them"
        )
    # It has one thread write what all others send it, so none of them can have a transaction.
    if "SqliteQueueDatabase" in {kind.__name__ for kind in type(real).__mro__}:
        raise TypeError(
            f"the outbox cannot be in a {name}, which has no transactions: use SqliteDatabase, "
            "with the pragma journal_mode=wal and a timeout of some seconds"
        )
    return real


def _is_sqlite(database: peewee.Database) -> bool:
    return isinstance(database, peewee.SqliteDatabase)


def create_tables(
    database: peewee.Database, tables: Sequence[type[peewee.Model]] = TABLES
) -> list[str]:
    """The former name of `migrate()`; deprecated. It creates all tables, whatever `tables` says.

    Returns:
      what was added, as `table` or `table.column`.
    """
    warnings.warn(
        "jobs.create_tables(database) is deprecated: write jobs.migrate(database)",
        DeprecationWarning,
        stacklevel=2,
    )
    before = _lacking(real_database(database))
    migrate(database)
    return [s.adds for statements in before.values() for s in statements if "(" not in s.adds]
