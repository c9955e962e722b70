"""The tables of the jobs as earlier releases made them.

`data/schemas` has what each earlier version of the models made, taken from the history.
"""

import re
from pathlib import Path
from typing import Any

import peewee

DATA = Path(__file__).parent.parent / "data"
EARLIER = sorted(
    (DATA / "schemas").glob("*.sql"), key=lambda path: int(path.name.partition("-")[0])
)


def kind_of(database: Any) -> str:
    return "sqlite" if isinstance(database, peewee.SqliteDatabase) else "postgresql"


def run_sql(database: Any, script: str) -> None:
    for statement in re.sub(r"^--.*\n", "", script, flags=re.MULTILINE).split(";"):
        if statement.strip():
            database.execute_sql(statement)


def make_as_of(database: Any, earlier: Path) -> None:
    """The tables as an earlier release made them, with a job."""
    text = earlier.read_text()
    run_sql(database, text.split(f"-- {kind_of(database)}\n")[1].split("-- postgresql\n")[0])
    values = {"id": "job", "actor": "work", "queue": "default", "arguments": '{"args": []}',
              "created_at": 1, "send_at": 2, "deaths": 0, "attempts": 3, "sendings": 0,
              "held": False, "actor_missing": False}  # fmt: skip
    present = [c.name for c in database.get_columns("outbox") if c.name in values]
    marks = ", ".join([database.param] * len(present))
    database.execute_sql(
        f"INSERT INTO outbox ({', '.join(present)}) VALUES ({marks})", [values[n] for n in present]
    )


def drop_all(database: Any) -> None:
    for table in database.get_tables():
        database.execute_sql(f'DROP TABLE "{table}"')
