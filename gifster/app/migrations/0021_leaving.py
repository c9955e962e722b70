"""What becomes of the GIFs of an account that its user left, so that the removal goes on even if
its job is lost.

The column is empty: no row is written, and a web process of the release before goes on."""


def up(migrator, db):
    # In SQL: on SQLite the migrator would copy the table (see 0002).
    flag = "INTEGER" if "Sqlite" in type(db).__name__ else "BOOLEAN"
    db.execute_sql(f'ALTER TABLE "user" ADD COLUMN "leaves_gifs" {flag}')


def down(migrator, db):
    db.execute_sql('ALTER TABLE "user" DROP COLUMN "leaves_gifs"')
