"""What people say about a GIF: alternative text, rating, visibility; and since when it is in the
trash.

The columns have constant defaults, so no row is written, and a web process of the release before
goes on. The index makes lists fast however many GIFs are not listed."""


def up(migrator, db):
    # In SQL: on SQLite the migrator would copy the table (see 0002).
    moment = "INTEGER" if "Sqlite" in type(db).__name__ else "BIGINT"
    for column in (
        "\"alt_text\" VARCHAR(1000) NOT NULL DEFAULT ''",
        "\"rating\" VARCHAR(5) NOT NULL DEFAULT 'g'",
        "\"visibility\" VARCHAR(8) NOT NULL DEFAULT 'public'",
        f'"trashed_at" {moment}',
    ):
        db.execute_sql(f'ALTER TABLE "gif" ADD COLUMN {column}')
    db.execute_sql(
        'CREATE INDEX "gif_listed" ON "gif" ("created_at", "id") '
        'WHERE "visibility" = \'public\' AND "trashed_at" IS NULL'
    )
    # For the job that empties the trash.
    db.execute_sql(
        'CREATE INDEX "gif_trashed" ON "gif" ("trashed_at") WHERE "trashed_at" IS NOT NULL'
    )


def down(migrator, db):
    db.execute_sql('DROP INDEX "gif_trashed"')
    db.execute_sql('DROP INDEX "gif_listed"')
    for name in ("trashed_at", "visibility", "rating", "alt_text"):
        db.execute_sql(f'ALTER TABLE "gif" DROP COLUMN "{name}"')
