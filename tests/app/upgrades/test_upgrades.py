"""Migrations only add: a web process of the release before goes on working while the next release
migrates and starts. What is no longer needed goes a release later (expand, then contract)."""

from pathlib import Path
from typing import Any

import peewee
import pytest

from gifster.app import database
from gifster.app.database import db
from tests.app.schema import ALL

#: These came before the rule.
BEFORE_THE_RULE = "0011_kept_uploads"


def shape(found: peewee.Database) -> dict[str, dict[str, Any]]:
    """By table, its columns."""
    return {
        table: {column.name: column for column in found.get_columns(table)}
        for table in found.get_tables()
    }


def uniques(found: peewee.Database) -> set[tuple[str, ...]]:
    """The unique indexes: the table, and its columns."""
    return {
        (table, *sorted(map(str, index.columns)))
        for table in found.get_tables()
        for index in found.get_indexes(table)
        if index.unique
    }


def harm(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What a process that knows the tables as they were can no longer do."""
    found = []
    for table, columns in before.items():
        if table not in after:
            found.append(f"{table} is gone")
            continue
        now = after[table]
        for name, column in columns.items():
            if name not in now:
                found.append(f"{table}.{name} is gone")
            elif (now[name].data_type, now[name].null) != (column.data_type, column.null):
                found.append(f"{table}.{name} is another type, or must have a value")
        for name in now.keys() - columns.keys():
            if not now[name].null and now[name].default is None:
                found.append(f"{table}.{name} is new, and has neither NULL nor a default")
    return found


def test_no_migration_harms_a_process_of_the_release_before(database_url: str):
    # Given the tables before the rule
    database.connect(database_url)
    with db.connection_context():
        runner = database._runner()
        runner.up(BEFORE_THE_RULE)
        harmed = {}

        # When each later migration is applied
        for step in ALL[ALL.index(BEFORE_THE_RULE) + 1 :]:
            tables, keys = shape(db.obj), uniques(db.obj)
            runner.up(step)
            new = {(t, *c) for t, *c in uniques(db.obj) - keys if t in tables}
            harmed[step] = harm(tables, shape(db.obj)) + [
                f"{table}({', '.join(columns)}) must be unique"
                for table, *columns in sorted(new)
                if set(columns) <= tables[table].keys()
            ]

    # I expect none to take anything away, and no insert to lack something
    assert {step: said for step, said in harmed.items() if said} == {}
    db.obj.close_all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('ALTER TABLE "gif" DROP COLUMN "edit"', "gif.edit is gone"),
        ('DROP TABLE "finding"', "finding is gone"),
        ('ALTER TABLE "tag" RENAME COLUMN "name" TO "label"', "tag.name is gone"),
        ('ALTER TABLE "tag" ADD COLUMN "a" INTEGER NOT NULL DEFAULT 1', ""),
        ('ALTER TABLE "tag" ADD COLUMN "a" INTEGER', ""),
    ],
)
def test_harm_is_found(migrated: Path, tmp_path: Path, change: str, said: str):
    (tmp_path / "copy.db").write_bytes(migrated.read_bytes())
    copy = peewee.SqliteDatabase(str(tmp_path / "copy.db"))
    before = shape(copy)
    copy.execute_sql(change)

    assert said in " ".join(harm(before, shape(copy)))
    assert bool(harm(before, shape(copy))) == bool(said)
    copy.close()
