"""Copies the rows of all tables into another database, of the same kind or the other.

Both databases must have the schema of this release. The rows go by SQL, not through the models: so
those of every room are copied, as they are. Each table is read back and compared.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import islice
from typing import Any

import peewee

from gifster.app.backup import BackupError
from gifster.app.backup.id_sequences import continue_ids
from gifster.app.damaged_text import Unreadable, whole
from gifster.app.database import APPLIED
from gifster.uploads.sweep.reading import streamed

BATCH = 1000
Row = tuple[Any, ...]
#: Makes a value the same on both kinds of databases.
Plain = Callable[[Any], Any]


@dataclass(frozen=True)
class Table:
    """A table that both databases have: its columns, and how to make their values the same."""

    name: str
    columns: list[str]
    plain: list[Plain | None]
    #: In which columns PostgreSQL wants a boolean, if the rows are written there.
    booleans: list[bool]

    def rows(self, database: peewee.Database) -> Iterator[Row]:
        """Its rows in a database, as they are the same on both kinds."""
        columns = ", ".join(f'"{column}"' for column in self.columns)
        for row in streamed(database, f'SELECT {columns} FROM "{self.name}"'):  # noqa: S608 ours
            if len(whole(row)) < len(row):
                raise Unreadable("a row has text that is no UTF-8")
            yield tuple(
                value if make is None or value is None else make(value)
                for value, make in zip(row, self.plain, strict=True)
            )


class Digest:
    """The number of some rows, and a sum over them that does not depend on their order."""

    def __init__(self) -> None:
        self.count = self.sum = 0

    def of(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows, which are counted as they pass."""
        for row in rows:
            hashed = hashlib.blake2b(repr(row).encode(), digest_size=8).digest()
            self.count, self.sum = self.count + 1, self.sum + int.from_bytes(hashed) & (1 << 64) - 1
            yield row

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # it changes


def copy_rows(
    source: peewee.Database, target: peewee.Database, done: Callable[[str, int], None]
) -> int:
    """Copy all rows, and compare. Call it within a transaction of each database.

    Parameters:
      target: what its tables have is replaced.
      done: is called with the name and the number of rows of each table.

    Returns:
      how many rows were copied.

    Raises:
      BackupError: a row does not fit, or is not the same in the target; names the table.
      peewee.PeeweeException: a database failed.
    """
    tables = common_tables(source, target)
    for table in reversed(tables):
        target.execute_sql(f'DELETE FROM "{table.name}"')  # noqa: S608 ours
    total = 0
    for table in tables:
        written, read = Digest(), Digest()
        try:
            _write(target, table, written.of(table.rows(source)))
        except Exception as error:
            reason = " ".join(str(error).split())
            raise BackupError(f"the table {table.name} cannot be copied: {reason}") from error
        for _ in read.of(table.rows(target)):
            pass
        if read != written:
            raise BackupError(
                f"the table {table.name} is not the same in the copy ({read.count:,} rows of "
                f"{written.count:,}): nothing was changed"
            )
        total += written.count
        done(table.name, written.count)
    continue_ids(source, target)
    return total


def common_tables(source: peewee.Database, target: peewee.Database) -> list[Table]:
    """The tables of both databases, those first that others refer to."""
    shared = set(table_names(source)) & set(table_names(target))
    refers = {
        name: {key.dest_table for key in target.get_foreign_keys(name)} & shared - {name}
        for name in shared
    }
    order = TopologicalSorter({name: sorted(refers[name]) for name in sorted(refers)})
    return [_table(name, source, target) for name in order.static_order()]


def table_names(database: peewee.Database) -> list[str]:
    """The tables with rows of their own: without those of a search index of SQLite's."""
    names = set(database.get_tables()) - {APPLIED, "sqlite_sequence"}
    if isinstance(database, peewee.SqliteDatabase):
        virtual = database.execute_sql(
            "SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%'"
        ).fetchall()
        for (index,) in virtual:
            names = {n for n in names if n != index and not n.startswith(f"{index}_")}
    return sorted(names)


def _table(name: str, source: peewee.Database, target: peewee.Database) -> Table:
    types = {column.name: column.data_type.lower() for column in source.get_columns(name)}
    columns, plain, booleans = [], [], []
    for column in target.get_columns(name):
        if column.name not in types:
            raise BackupError(
                f"the source has no column {name}.{column.name}: run gifster migrate there first"
            )
        both = {types[column.name], column.data_type.lower()}
        columns.append(column.name)
        plain.append(_plain(both, (source, target)))
        booleans.append(column.data_type == "boolean")
    return Table(name, columns, plain, booleans)


def _plain(types: set[str], databases: Sequence[peewee.Database]) -> Plain | None:
    """How to make a value of these types the same on both kinds of databases; None if it is."""
    if "boolean" in types:
        return int
    if types & {"bytea", "blob"}:
        return bytes
    # SQLite's REAL has eight bytes, PostgreSQL's four.
    is_postgresql = any(isinstance(d, peewee.PostgresqlDatabase) for d in databases)
    if types == {"real"} and is_postgresql:
        return _of_four_bytes
    return float if types & {"real", "double precision"} else None


def _of_four_bytes(number: float) -> float:
    rounded: float = struct.unpack("f", struct.pack("f", number))[0]
    return rounded


def _write(target: peewee.Database, table: Table, rows: Iterator[Row]) -> None:
    columns = ", ".join(f'"{column}"' for column in table.columns)
    if isinstance(target, peewee.PostgresqlDatabase):
        statement = f'COPY "{table.name}" ({columns}) FROM STDIN'
        with target.connection().cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(
                    [
                        bool(value) if is_boolean and value is not None else value
                        for value, is_boolean in zip(row, table.booleans, strict=True)
                    ]
                )
        return
    marks = ", ".join("?" * len(table.columns))
    statement = f'INSERT INTO "{table.name}" ({columns}) VALUES ({marks})'  # noqa: S608 ours
    while batch := list(islice(rows, BATCH)):
        target.connection().executemany(statement, batch)
