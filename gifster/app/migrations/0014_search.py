"""The index of the search. A job fills it with the GIFs that are there already (`search.upkeep`):
here they would block all writers for minutes.

The ids of those GIFs in the index are reserved, so that newer ones have higher ids."""

#: The words that FTS5 and the GIN index have. Blocks of 4,096 ids are words on PostgreSQL, so that
#: a search can ask for the newest ones.
LEXEMES = (
    "array_to_tsvector(string_to_array("
    "\"words\" || ' ' || \"facts\" || ' _w' || (\"id\" >> 12)::text, ' '))"
)
#: For what web processes of the release before add until they stop.
SPARE = 100_000
ADD = "INSERT INTO search_fts (rowid, words, facts) VALUES ({new}); "
REMOVE = "INSERT INTO search_fts (search_fts, rowid, words, facts) VALUES ('delete', {old}); "
TRIGGERS = {
    "added": ("INSERT", ADD),
    "removed": ("DELETE", REMOVE),
    "changed": ("UPDATE OF words, facts", REMOVE + ADD),
}


def up(migrator, db):
    sqlite = "Sqlite" in type(db).__name__
    number, real = ("INTEGER", "REAL") if sqlite else ("BIGINT", "DOUBLE PRECISION")
    key = (
        "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT" if sqlite else "BIGSERIAL NOT NULL PRIMARY KEY"
    )
    # Ranges of them are prefixes, in no language's order.
    byte_order = "" if sqlite else ' COLLATE "C"'
    for statement in (
        f'CREATE TABLE "search_entry" ("id" {key}, '
        '"gif_id" VARCHAR(12) NOT NULL REFERENCES "gif" ("id") ON DELETE CASCADE, '
        '"words" TEXT NOT NULL, "facts" TEXT NOT NULL, '
        f'"ratio" REAL NOT NULL, "heat" {real} NOT NULL)',
        'CREATE UNIQUE INDEX "search_entry_gif_id" ON "search_entry" ("gif_id")',
        'CREATE INDEX "search_entry_heat" ON "search_entry" ("heat") WHERE "heat" > 0',
        f'CREATE TABLE "search_term" ("term" VARCHAR(40){byte_order} NOT NULL PRIMARY KEY, '
        '"count" INTEGER NOT NULL)',
        'CREATE INDEX "search_term_one" ON "search_term" (substr("term", 1, 1), "count")',
        'CREATE INDEX "search_term_two" ON "search_term" (substr("term", 1, 2), "count")',
        'CREATE TABLE "search_tag" ("token" VARCHAR(10) NOT NULL PRIMARY KEY, '
        f'"name" VARCHAR(50) NOT NULL, "folded" VARCHAR(200){byte_order} NOT NULL, '
        '"count" INTEGER NOT NULL)',
        'CREATE INDEX "search_tag_folded" ON "search_tag" ("folded")',
        'CREATE INDEX "search_tag_count" ON "search_tag" ("count")',
        f'CREATE TABLE "search_query" ("words" VARCHAR(200){byte_order} NOT NULL PRIMARY KEY, '
        f'"heat" {real} NOT NULL)',
        'CREATE INDEX "search_query_heat" ON "search_query" ("heat")',
        f'CREATE TABLE "search_fill" ("id" {number} NOT NULL PRIMARY KEY, '
        f'"created_at" {number} NOT NULL, "gif_id" VARCHAR(12) NOT NULL)',
    ):
        db.execute_sql(statement)
    if sqlite:
        _index_on_sqlite(db)
    else:
        # Without the list of what is not in the index yet, which each search would read.
        db.execute_sql(
            f'CREATE INDEX "search_entry_lexemes" ON "search_entry" USING gin (({LEXEMES})) '
            "WITH (fastupdate = off)"
        )
    _reserve(db, sqlite)


def _index_on_sqlite(db):
    # `ascii` takes all other characters as letters, and the words are clean already.
    db.execute_sql(
        "CREATE VIRTUAL TABLE search_fts USING fts5 (words, facts, content='search_entry', "
        "content_rowid='id', detail=none, columnsize=0, tokenize=\"ascii tokenchars '_'\")"
    )
    rows = {row: f"{row}.id, {row}.words, {row}.facts" for row in ("old", "new")}
    for name, (event, statements) in TRIGGERS.items():
        db.execute_sql(
            f"CREATE TRIGGER search_entry_{name} AFTER {event} ON search_entry "
            f"BEGIN {statements.format(**rows)} END"
        )


def _reserve(db, sqlite):
    (count,) = db.execute_sql('SELECT count(*) FROM "gif"').fetchone()
    if not count:
        return
    count += SPARE
    if sqlite:
        db.execute_sql(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('search_entry', ?)", (count,)
        )
    else:
        db.execute_sql(f'ALTER SEQUENCE "search_entry_id_seq" RESTART WITH {count + 1}')
    db.execute_sql("INSERT INTO \"search_fill\" VALUES (1, -1, '')")


def down(migrator, db):
    if "Sqlite" in type(db).__name__:
        db.execute_sql("DROP TABLE search_fts")
    for table in ("fill", "query", "tag", "term", "entry"):
        db.execute_sql(f'DROP TABLE "search_{table}"')
