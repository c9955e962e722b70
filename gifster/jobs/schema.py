"""The library's tables, and the upgrade of a database in which an earlier release made them.

Columns and tables are only ever added, so that workers of two releases can run side by side.
"""

from collections.abc import Sequence
from typing import Any

import peewee

from gifster.jobs.heartbeat import PausedQueue, Worker
from gifster.jobs.identity import OutboxIdentity
from gifster.jobs.outbox import Job
from gifster.jobs.recurring import RecurringJob
from gifster.jobs.stats import ActorStats
from gifster.jobs.transactions import transaction

#: All tables: `database.bind(jobs.TABLES)`, `jobs.create_tables(database)`.
TABLES: list[type[peewee.Model]] = [
    Job,
    OutboxIdentity,
    Worker,
    PausedQueue,
    ActorStats,
    RecurringJob,
]


def create_tables(
    database: peewee.Database, tables: Sequence[type[peewee.Model]] = TABLES
) -> list[str]:
    """Create the library's tables that are missing, and add the columns that an earlier release
    did not have. Call it in a migration of yours, and again after an upgrade.

    Parameters:
      tables: which tables; `[jobs.Job]` alone is enough for the outbox.

    Returns:
      what was added, as `table` or `table.column`.
    """
    added = []
    with transaction(database):
        for model in tables:
            table = model._meta.table_name
            with database.bind_ctx([model], bind_refs=False, bind_backrefs=False):
                if database.table_exists(table):
                    added += [f"{table}.{column}" for column in _add_columns(database, model)]
                else:
                    model.create_table(safe=True)
                    added.append(table)
    return added


def _add_columns(database: peewee.Database, model: Any) -> list[str]:
    table = model._meta.table_name
    present = {column.name for column in database.get_columns(table)}
    missing = [f for f in model._meta.sorted_fields if f.column_name not in present]
    for field in missing:
        definition = database.get_sql_context().sql(field.ddl_datatype(database.get_sql_context()))
        kind, _ = definition.query()
        # Existing rows get the default; every column that may not be null has one.
        default = "" if field.null else f" NOT NULL DEFAULT {_literal(field)}"
        database.execute_sql(
            f'ALTER TABLE "{table}" ADD COLUMN "{field.column_name}" {kind}{default}'
        )
    new = {field.name for field in missing}
    for index in model._meta.fields_to_index():
        if new & {part.name for part in index._expressions}:
            database.execute(index.safe(True))
    return [field.column_name for field in missing]


def _literal(field: Any) -> str:
    default = field.default
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, int):
        return str(default)
    raise TypeError(
        f"{field.model._meta.table_name}.{field.column_name} cannot be added to an existing "
        "table: it may not be null, and its default is not a number"
    )
