"""Reads the keys that the database names: in rows of the models, in jobs, and in other tables.

It reads columns, not records, in batches. So a `select()` that the application overrides hides no
row, and a row that makes no sense stops only the reading of its table.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import peewee

from gifster.jobs import Job
from gifster.jobs.database_errors import is_database_error, sqlstate_of
from gifster.jobs.job import Unreadable
from gifster.uploads.columns.rows import bare_record, real_database
from gifster.uploads.columns.states import FAILED
from gifster.uploads.files.stored import StoredFile
from gifster.uploads.resumable import table as resumable
from gifster.uploads.resumable.table import ResumableUpload
from gifster.uploads.storage.base import is_key
from gifster.uploads.storage.shapes import cache_dir, folder_of, store_dir_and_folder
from gifster.uploads.sweep.ledger import Ledger, Notes
from gifster.uploads.sweep.owners import Owner
from gifster.uploads.sweep.places import Places

logger = logging.getLogger("gifster.uploads")

BATCH = 500
#: In place of a storage's number: a copy that a mirror may have. It may be missing as yet.
COPY = -1
_KEY_IN_JSON = re.compile(r'"(?:key|source)":\s?"([^"\\]+)"')
#: What SQLite says of a virtual table that this process has no code for.
_NEVER = re.compile("no such module|(?:no such|unknown) tokenizer")
_TEXT = re.compile("text|char|json|clob|^$", re.IGNORECASE)

#: The tables of PostgreSQL in all schemas, such as those of other tenants; and whether this
#: connection means a table by its bare name (`search_path`).
_ALL_TABLES = """
SELECT n.nspname, c.relname, pg_catalog.pg_table_is_visible(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|information_schema$)'
"""


class NotRead(Exception):
    """A table could not be read completely; says why."""


class Rows:
    """Reads the rows of one model into the ledger.

    Parameters:
      owners: its mounted columns, with their numbers.
    """

    def __init__(self, owners: dict[int, Owner], places: Places, ledger: Notes) -> None:
        self._owners, self._places, self._ledger = owners, places, ledger
        self._model = next(iter(owners.values())).mount.model

    def read(self) -> None:
        """Read all rows.

        Raises:
          NotRead: that is not possible. The rows read so far are in the ledger.
        """
        keys = self._model._meta.get_primary_keys()
        if not keys:
            raise NotRead("the model has no primary key")
        fields: list[Any] = []
        has_upload: Any = peewee.SQL("1 = 0")
        for owner in self._owners.values():
            tmp, state = (owner.mount.companion(name) for name in ("tmp", "state"))
            fields += [owner.mount, *filter(None, (tmp, state))]
            for column in filter(None, (owner.mount, tmp)):
                has_upload |= column.is_null(False)
        unreadable = []
        try:
            query = peewee.ModelSelect(self._model, [*keys, *fields]).where(has_upload)
            for row in streamed(self._model._meta.database, *query.sql()):
                pk = row[: len(keys)] if len(keys) > 1 else row[0]
                try:
                    self._note(pk, dict(zip(fields, row[len(keys) :], strict=True)))
                except Exception as error:  # noqa: BLE001 reported below
                    unreadable.append(f"{pk}: {error!r}")
                    del unreadable[3:]
        except Exception as error:
            raise NotRead(str(error).strip() or repr(error)) from error
        if unreadable:
            rows = "; ".join(f"{self._model._meta.table_name} {row}" for row in unreadable)
            raise NotRead(f"these rows cannot be read: {rows}")

    def _note(self, pk: object, values: dict[peewee.Field, Any]) -> None:
        read = {field.name: field.python_value(value) for field, value in values.items()}
        record = bare_record(self._model, read)
        for number, owner in self._owners.items():
            failed = read.get(f"{owner.mount.name}_state") == FAILED
            for stored in owner.mount.stored_files(record):
                self._note_stored(number, owner, pk, stored, failed)
            for cached in owner.mount.pending(record):
                self._note_named(cached.storage, cached.key)
                self._ledger.add("folders", folder_of(cached.key))
                if not failed:
                    self._ledger.add_waiting(number, pk, cached.key)

    def _note_stored(
        self, number: int, owner: Owner, pk: object, stored: StoredFile, failed: bool
    ) -> None:
        for storage, key in stored.files:
            owner.named.add(storage)
            self._note_named(storage, key)
        if stored.unprocessed:
            note_folder(self._ledger, stored.key)
            if not failed:
                self._ledger.add_waiting(number, pk, stored.key)

    def _note_named(self, storage: str, key: str) -> None:
        at = self._places.numbered(storage)
        if at is None:
            self._ledger.add("keys", key)
        else:
            number, place = at
            self._ledger.add("named", number, place.prefix + key)
        for copy in self._places.copies_of(storage):
            self._ledger.add("named", COPY, copy.prefix + key)


def note_folder(ledger: Notes, key: str) -> None:
    """Note that a job may still store files beside the file of a key, or for it."""
    stored = store_dir_and_folder(key)
    if stored is not None:
        ledger.add("folders", stored[1])
    elif cache_dir(key) is not None:
        ledger.add("folders", folder_of(key))


def read_jobs(ledger: Ledger, known: set[tuple[str, str]]) -> list[str]:
    """Note the keys that jobs name, dead jobs too.

    Parameters:
      known: the tables and mounted columns that this process knows.

    Returns:
      up to three columns that jobs name and that this process does not know.

    Raises:
      NotRead: the outbox cannot be read.
    """
    unknown: set[str] = set()
    try:
        query = peewee.ModelSelect(Job, [Job.arguments])
        for (text,) in streamed(Job._meta.database, *query.sql()):
            arguments = _arguments(text)
            for value in _texts(arguments):
                if is_key(value):
                    ledger.add("in_jobs", value)
                    note_folder(ledger, value)
            about = _column(arguments)
            if about is not None and about not in known and len(unknown) < 3:
                unknown.add(".".join(about))
    except Exception as error:
        raise NotRead(str(error).strip() or repr(error)) from error
    return sorted(unknown)


def _arguments(text: str) -> list[Any]:
    """A job's arguments. If they are no JSON: every quoted text, as it may be a key."""
    arguments: list[Any] = Job.arguments.python_value(text)
    if isinstance(arguments, Unreadable):
        return re.findall(r'"([^"\\]+)"', text)
    return arguments


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _column(arguments: list[Any]) -> tuple[str, str] | None:
    """The mounted column that a job is about; None if it is no job of the framework."""
    match arguments:
        case [str(table), _, str(column), str(key), *_] if (
            cache_dir(key) is not None or store_dir_and_folder(key) is not None
        ):
            return table, column
        case [str(table), _, str(column), [[str(), str()], *_]]:
            return table, column
    return None


def read_elsewhere(ledger: Ledger, known: Iterable[Owner]) -> None:
    """Note the keys in all other columns of the outbox's database: of models that this process has
    not imported, of an earlier or a later release, or of another application; and those of
    unfinished uploads.

    Raises:
      NotRead: a table cannot be read, as it is locked or damaged, say. One that nobody can ever
        read is left out.
    """
    database = real_database(Job._meta.database)
    read = {
        (owner.mount.model._meta.schema, owner.mount.model._meta.table_name, field.column_name)
        for owner in known
        for field in (owner.mount, owner.mount.companion("tmp"))
        if field is not None
    }
    for schema, table, is_visible in _tables(database):
        # A model may name its schema, or leave it to the connection.
        as_declared = {schema, None} if is_visible else {schema}
        if Job._meta.table_name == table and Job._meta.schema in as_declared:
            continue
        try:
            with guarded(database):
                columns = database.get_columns(table, schema)
            for column in columns:
                is_read = any((each, table, column.name) in read for each in as_declared)
                if not is_read and _TEXT.search(column.data_type or ""):
                    _read_column(ledger, database, (schema, table, column.name))
        except Exception as error:
            if not _is_never_readable(error):
                why = " ".join(str(error).split()) or repr(error)
                raise NotRead(f"the table {table} could not be read: {why}") from error
            # A virtual table of SQLite, or one that we may not read.
            logger.debug("not read table=%s reason=%r", table, str(error))


def read_unfinished(ledger: Ledger) -> None:
    """Note the keys of unfinished uploads, if their table is in another database than the outbox:
    `read_elsewhere()` does not see it there.

    Raises:
      NotRead: it cannot be read.
    """
    if not resumable.is_bound():
        return
    database = real_database(resumable.database())
    if database is real_database(Job._meta.database):
        return
    name, schema = ResumableUpload._meta.table_name, ResumableUpload._meta.schema
    try:
        with resumable.connected(), guarded(database):
            if database.table_exists(name, schema):
                for field in (ResumableUpload.parts, ResumableUpload.outcome):
                    _read_column(ledger, database, (schema, name, field.column_name))
    except Exception as error:
        raise NotRead(f"the table {name} could not be read: {error}") from error


def _tables(database: peewee.Database) -> list[tuple[str | None, str, bool]]:
    """All tables, each with its schema, and whether its bare name means it."""
    if isinstance(database, peewee.PostgresqlDatabase):
        return list(database.execute_sql(_ALL_TABLES).fetchall())
    return [(None, table, True) for table in database.get_tables()]


def _is_never_readable(error: Exception) -> bool:
    """Whether nobody can read a table, today or later: it is gone, or not ours to read. After any
    other error, it may name files that nothing else names."""
    is_refused = (sqlstate_of(error) or "").startswith("42")  # PostgreSQL: no privilege, no table
    return is_refused or bool(is_database_error(error) and _NEVER.search(str(error)))


def _read_column(
    ledger: Ledger, database: peewee.Database, its_name: tuple[str | None, str, str]
) -> None:
    schema, table, column = its_name
    of = _quoted(table) if schema is None else f"{_quoted(schema)}.{_quoted(table)}"
    text = f"CAST({_quoted(column)} AS TEXT)"
    sql = f"SELECT {text} FROM {of} WHERE {text} LIKE '%\"key\"%'"  # noqa: S608 quoted
    with any_text(database):
        for (value,) in streamed(database, sql):
            for key in _KEY_IN_JSON.findall(value):
                ledger.add("keys", key)
                note_folder(ledger, key)


@contextmanager
def any_text(database: peewee.Database) -> Iterator[None]:
    """A block in which texts of SQLite need not be UTF-8, which it does not check when they are
    written: keys are ASCII."""
    if not isinstance(database, peewee.SqliteDatabase):
        yield
        return
    connection = database.connection()
    before = connection.text_factory
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    try:
        yield
    finally:
        connection.text_factory = before


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def streamed(
    database: peewee.Database | peewee.DatabaseProxy, sql: str, values: Sequence[object] = ()
) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, a batch in memory at a time.

    A query that fails does not end the transaction around it, as PostgreSQL would.
    """
    database = real_database(database)
    inside = database.in_transaction()
    with guarded(database):
        if isinstance(database, peewee.PostgresqlDatabase):
            if not inside:  # a table may be large
                database.execute_sql("SET LOCAL statement_timeout = 0")
            # psycopg2, which Peewee prefers, does not see the transaction that Peewee has begun. It
            # refuses a cursor that lasts no longer than a transaction.
            with database.connection().cursor(name="gifster_sweep", withhold=True) as cursor:
                cursor.itersize = BATCH
                cursor.execute(sql, values or None)
                yield from cursor
            return
        cursor = database.execute_sql(sql, values or None)
        while rows := cursor.fetchmany(BATCH):
            yield from rows


def guarded(
    database: peewee.Database | peewee.DatabaseProxy,
) -> AbstractContextManager[object]:
    """A `with` block in which a failure leaves the transaction around it usable."""
    if database.in_transaction() or isinstance(database, peewee.PostgresqlDatabase):
        guard: AbstractContextManager[object] = database.atomic()
        return guard
    return nullcontext()
