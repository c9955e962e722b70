"""Queries whose SQL is made once, for the few that run with each upload or each job.

Peewee makes the SQL of a query anew each time. For a query of one row that takes 0.2 to 0.4 ms, ten
times as long as SQLite takes to run it.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import peewee

from gifster.jobs.transactions import real_database

_Place = tuple[peewee.Database, str | None, str]


class _Marker:
    """Stands for the value of a parameter, in a query that is only made for its SQL."""

    def __init__(self, name: str) -> None:
        self.name = name


class Statement:
    """A Peewee query whose SQL is made once, with other values each time.

        COPIES = Statement(lambda sha256: Gif.select(Gif.id).where(Gif.sha256 == sha256))
        rows = COPIES.rows(sha256="…")

    Parameters:
      make: makes the query. It is called once for each database, with a node for each of its
        parameters.
      names: its parameters, if its signature does not tell.
    """

    def __init__(self, make: Callable[..., Any], names: Sequence[str] = ()) -> None:
        self._make = make
        self._names = list(names or inspect.signature(make).parameters)
        #: The database, schema and table that the SQL was made for, the SQL, and its values, with
        #: markers.
        self._made: tuple[_Place, str, list[Any]] | None = None

    def __deepcopy__(self, memo: Any) -> "Statement":
        return self  # Peewee copies the fields that a model inherits, which may have one

    @classmethod
    def inserting(cls, model: type[peewee.Model]) -> "Statement":
        """The statement that inserts a row with all columns of a model; `database_values()` are its
        parameters."""
        return cls(lambda **values: model.insert(values), list(model._meta.fields))

    def _filled(self, values: dict[str, Any]) -> tuple[peewee.Database, str, list[Any]]:
        """The database, the SQL and its values."""
        place, sql, wanted = self._made or self._compiled()
        if place != self._place():
            place, sql, wanted = self._compiled()
        return place[0], sql, [values[v.name] if type(v) is _Marker else v for v in wanted]

    def execute(self, **values: Any) -> Any:
        """Run the query.

        Parameters:
          values: its parameters by name, as the database has them: Peewee converts none.

        Returns:
          the driver's cursor.

        Raises:
          NotBound: the model is bound to no database.
        """
        database, sql, filled = self._filled(values)
        return database.execute_sql(sql, filled)

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """All rows of the result, as the database has them. The parameters are `execute()`'s."""
        found: list[tuple[Any, ...]] = self.execute(**values).fetchall()
        return found

    def row(self, **values: Any) -> tuple[Any, ...] | None:
        """The first row; None if there is none. The parameters are `execute()`'s."""
        return next(iter(self.rows(**values)), None)

    def records(self, **values: Any) -> list[Any]:
        """All rows of the result as records of the model. The parameters are `execute()`'s. The
        query selects columns of the model, and nothing else."""
        cursor = self.execute(**values)
        read = _reader(self._model, tuple(column[0] for column in cursor.description))
        return [read(row) for row in cursor.fetchall()]

    def _query(self) -> Any:
        marked = {name: peewee.Value(_Marker(name), converter=False) for name in self._names}
        return self._make(**marked)

    def _compiled(self) -> "tuple[_Place, str, list[Any]]":
        query = self._query()
        self._model = query.model
        place = self._place()
        sql, values = query.bind(place[0]).sql()
        self._made = place, sql, list(values)
        return self._made

    def _place(self) -> "_Place":
        meta = self._model._meta
        return real_database(meta.database), meta.schema, meta.table_name


def database_values(record: peewee.Model) -> dict[str, Any]:
    """The values of a record by field name, as the database has them."""
    data = record.__data__
    return {name: field.db_value(data.get(name)) for name, field in record._meta.fields.items()}


@functools.lru_cache(64)
def _reader(model: Any, columns: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Any]:
    """A function that makes a record of a row, as Peewee does. Peewee sets the attributes of a
    record one by one, which takes three times as long for a list of GIFs."""
    fields = [model._meta.columns[column] for column in columns]
    names = [field.name for field in fields]
    # Fields with an accessor of their own, such as mounted columns, learn what is set.
    plain = (peewee.FieldAccessor, peewee.ForeignKeyAccessor)
    by_accessor = [field for field in fields if field.accessor_class not in plain]
    converted = [field for field in fields if field.accessor_class in plain and not _is_text(field)]

    def read(row: tuple[Any, ...]) -> Any:
        record = model(__no_default__=True)
        data = record.__data__
        data.update(zip(names, row, strict=True))
        for field in converted:
            data[field.name] = field.python_value(data[field.name])
        for field in by_accessor:
            setattr(record, field.name, field.python_value(data.pop(field.name)))
        record._dirty.clear()
        return record

    return read


def _is_text(field: peewee.Field) -> bool:
    """Whether a field takes the text of the database as it is."""
    if isinstance(field, peewee.ForeignKeyField):
        return _is_text(field.rel_field)
    kind, of_text = type(field), peewee.TextField
    return kind.python_value is of_text.python_value and kind.adapt is of_text.adapt


def for_each_length(make: Callable[[list[Any]], Any]) -> Callable[[Sequence[Any]], list[Any]]:
    """A function that returns the rows of a query for some values, such as the ids of a page.

    Parameters:
      make: makes the query. It gets a list of nodes, as many as there are values.
    """

    @functools.lru_cache(128)
    def of_length(length: int) -> Statement:
        return Statement(
            lambda **nodes: make(list(nodes.values())), [f"value_{n}" for n in range(length)]
        )

    def rows(values: Sequence[Any]) -> list[Any]:
        named = {f"value_{n}": value for n, value in enumerate(values)}
        return of_length(len(values)).rows(**named) if values else []

    return rows
