"""The migrations of the application, and what they make."""

import peewee

from gifster.app import database

#: The names of the migrations, in their order.
ALL = [path.stem for path in sorted(database.MIGRATIONS.glob("0*.py"))]
#: The library's migrations that bring what none of Gifster's own has brought.
OF_JOBS = ["jobs 0007_traces", "jobs 0008_clock", "jobs 0009_backlogs", "jobs 0010_lists"]


def shape(database: peewee.Database, table: str) -> list[tuple]:
    columns = sorted(
        (c.name, c.data_type, c.null, c.primary_key) for c in database.get_columns(table)
    )
    indexes = sorted((tuple(map(str, i.columns)), i.unique) for i in database.get_indexes(table))
    keys = sorted((k.column, k.dest_table) for k in database.get_foreign_keys(table))
    return [columns, indexes, keys]
