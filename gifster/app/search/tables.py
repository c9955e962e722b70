"""The tables of the search, and statements on them.

`search_entry` has a row for each GIF that may be found. On SQLite triggers keep its index,
`search_fts`; on PostgreSQL it is an expression index on the table itself (migration 0014).
"""

from typing import Any

import peewee

from gifster.app.database import db
from gifster.app.models import BaseModel, Gif


class SearchEntry(BaseModel):
    """What one GIF is found by. The newest has the highest id."""

    id = peewee.BigAutoField()
    gif = peewee.ForeignKeyField(Gif, unique=True, on_delete="CASCADE")
    gif_id: str
    #: The words of the title, of the tags and of other texts, in three parts (see `index`).
    words = peewee.TextField()
    #: What the filters ask for (see `facts`).
    facts = peewee.TextField()
    #: The width divided by the height; 0 until that is known.
    ratio = peewee.FloatField(default=0)
    #: How often it is used, decayed (see `popularity`); 0 if it never was.
    heat = peewee.DoubleField(default=0)


class SearchTerm(BaseModel):
    """A word of titles, tags and texts, and about how many GIFs have it."""

    term = peewee.CharField(40, primary_key=True)
    count = peewee.IntegerField()


class SearchTag(BaseModel):
    """A tag, the same as it is searched for, and about how many GIFs have it."""

    #: The fact that its GIFs have in the index (see `facts`).
    token = peewee.CharField(10, primary_key=True)
    name = peewee.CharField(50)
    folded = peewee.CharField(200, index=True)
    count = peewee.IntegerField(index=True)


class SearchQuery(BaseModel):
    """The words of a search that had results, and how often they are searched for, decayed."""

    words = peewee.CharField(200, primary_key=True)
    heat = peewee.DoubleField(index=True)


class SearchFill(BaseModel):
    """How far the GIFs of an older release have been put into the index; no row when all are."""

    #: The next one gets this id in the index.
    id = peewee.BigIntegerField(primary_key=True)
    created_at = peewee.BigIntegerField()
    gif_id = peewee.CharField(12)


def is_postgresql() -> bool:
    return isinstance(db.obj, peewee.PostgresqlDatabase)


def rows(sql: str, *values: Any) -> list[Any]:
    """The rows of a statement, in which `?` stands for each value."""
    found: list[Any] = run(sql, *values).fetchall()
    return found


def run(sql: str, *values: Any) -> Any:
    """The cursor of a statement, in which `?` stands for each value."""
    return db.execute_sql(sql.replace("?", db.obj.param), values)


def marks(count: int) -> str:
    """So many values of a list."""
    return ", ".join(["?"] * count)
