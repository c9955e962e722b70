"""What the page of the jobs shows: workers, paused queues, counts, recurring jobs, when a job is
due and what it failed with. And who may see it: admins."""

from peewee import (
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    DoubleField,
    IntegerField,
    Model,
)

OUTBOX = {
    "due_at": {"sqlite": "REAL", "postgresql": "DOUBLE PRECISION"},
    "thread": dict.fromkeys(("sqlite", "postgresql"), "VARCHAR(255)"),
    "started_at": {"sqlite": "REAL", "postgresql": "DOUBLE PRECISION"},
    "traceback": dict.fromkeys(("sqlite", "postgresql"), "TEXT"),
}


def up(migrator, db):
    class Worker(Model):
        id = CharField(primary_key=True)
        host = CharField()
        pid = IntegerField()
        threads = IntegerField()
        queues = CharField()
        started_at = DoubleField()
        seen_at = DoubleField()
        memory_bytes = BigIntegerField(default=0)
        quiet = BooleanField(default=False)

        class Meta:
            database = db

    class PausedQueue(Model):
        queue = CharField(primary_key=True)
        paused_at = DoubleField()

        class Meta:
            database = db
            table_name = "paused_queue"

    class Tally(Model):
        span_s = IntegerField()
        begin = BigIntegerField()
        queue = CharField()
        actor = CharField()
        done = BigIntegerField(default=0)
        failed = BigIntegerField(default=0)
        ms = BigIntegerField(default=0)

        class Meta:
            database = db
            primary_key = CompositeKey("span_s", "begin", "queue", "actor")

    class RecurringJob(Model):
        name = CharField(32, primary_key=True)
        rule = CharField()
        next_at = DoubleField()
        last_at = DoubleField(null=True)

        class Meta:
            database = db
            table_name = "recurring_job"

    db.create_tables([Worker, PausedQueue, Tally, RecurringJob])
    kind = "sqlite" if "Sqlite" in type(db).__name__ else "postgresql"
    for name, types in OUTBOX.items():
        db.execute_sql(f'ALTER TABLE "outbox" ADD COLUMN "{name}" {types[kind]}')
    default = {
        "sqlite": "INTEGER NOT NULL DEFAULT 0",
        "postgresql": "BOOLEAN NOT NULL DEFAULT false",
    }
    db.execute_sql(f'ALTER TABLE "user" ADD COLUMN "is_admin" {default[kind]}')


def down(migrator, db):
    for table in ("worker", "paused_queue", "tally", "recurring_job"):
        db.execute_sql(f'DROP TABLE "{table}"')
    for name in OUTBOX:
        db.execute_sql(f'ALTER TABLE "outbox" DROP COLUMN "{name}"')
    db.execute_sql('ALTER TABLE "user" DROP COLUMN "is_admin"')
