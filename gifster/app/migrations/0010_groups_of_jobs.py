"""Whose a job is, and whether it is held in the outbox until fewer of that group are with the
broker: so that one person's jobs do not hold up everybody's."""

HELD = {"sqlite": "INTEGER NOT NULL DEFAULT 0", "postgresql": "BOOLEAN NOT NULL DEFAULT false"}


def up(migrator, db):
    kind = "sqlite" if "Sqlite" in type(db).__name__ else "postgresql"
    db.execute_sql('ALTER TABLE "outbox" ADD COLUMN "group_key" VARCHAR(255)')
    db.execute_sql(f'ALTER TABLE "outbox" ADD COLUMN "held" {HELD[kind]}')
    db.execute_sql(
        'CREATE INDEX "outbox_group" ON "outbox" ("group_key", "held") '
        'WHERE "group_key" IS NOT NULL'
    )


def down(migrator, db):
    db.execute_sql('DROP INDEX "outbox_group"')
    db.execute_sql('ALTER TABLE "outbox" DROP COLUMN "held"')
    db.execute_sql('ALTER TABLE "outbox" DROP COLUMN "group_key"')
