"""The numbers that a database gives out next. A copy continues them: some ids are reserved, and
none may come twice."""

import peewee

SERIALS = """
SELECT c.table_name, c.column_name,
    pg_get_serial_sequence(quote_ident(c.table_schema) || '.' || quote_ident(c.table_name),
        c.column_name)
FROM information_schema.columns c
WHERE c.table_schema = current_schema()
    AND (c.column_default LIKE 'nextval(%%' OR c.is_identity = 'YES')
"""


def continue_ids(source: peewee.Database, target: peewee.Database) -> None:
    """Have the target give out no id that the source has given out."""
    last = _last_ids(source)
    if isinstance(target, peewee.SqliteDatabase):
        counted = target.execute_sql(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"
        ).fetchall()
        for (table,) in counted:
            number = last.get(table, 0)
            sql = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?"
            if not target.execute_sql(sql, (number, table)).rowcount:
                sql = "INSERT INTO sqlite_sequence (seq, name) VALUES (?, ?)"
                target.execute_sql(sql, (number, table))
        return
    for table, column, sequence in target.execute_sql(SERIALS, ()).fetchall():
        highest = f'SELECT COALESCE(MAX("{column}"), 0) FROM "{table}"'  # noqa: S608 the server's
        number = max(last.get(table, 0), target.execute_sql(highest).fetchone()[0])
        target.execute_sql("SELECT setval(%s, %s, %s)", (sequence, max(number, 1), number > 0))


def _last_ids(database: peewee.Database) -> dict[str, int]:
    """By table, the last number that was given out."""
    if isinstance(database, peewee.SqliteDatabase):
        if "sqlite_sequence" not in database.get_tables():
            return {}
        return dict(database.execute_sql("SELECT name, seq FROM sqlite_sequence").fetchall())
    found = {}
    for table, _, sequence in database.execute_sql(SERIALS, ()).fetchall():
        last, is_called = database.execute_sql(
            f"SELECT last_value, is_called FROM {sequence}"  # noqa: S608 quoted by the server
        ).fetchone()
        found[table] = last if is_called else 0
    return found
