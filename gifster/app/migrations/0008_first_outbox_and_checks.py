"""Brings the outbox of the very first version to today's shape: migration 0001 was given two more
columns after libraries had run it. Adds what readiness writes, which stored files are damaged, and
where the nightly check of stored files has come to."""

from peewee import (
    BigIntegerField,
    BlobField,
    CharField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
)

OUTBOX = {"leased_by": "VARCHAR(255)", "deaths": "INTEGER NOT NULL DEFAULT 0"}


def up(migrator, db):
    class WriteProbe(Model):
        id = IntegerField(primary_key=True)
        content = BlobField()

        class Meta:
            database = db
            table_name = "write_probe"

    class Gif(Model):
        id = CharField(12, primary_key=True)

        class Meta:
            database = db

    class DamagedFile(Model):
        gif = ForeignKeyField(Gif, on_delete="CASCADE")
        storage = CharField()
        key = CharField(512)
        reason = TextField()
        found_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "damaged_file"
            primary_key = CompositeKey("storage", "key")

    class FileCheck(Model):
        column = CharField(primary_key=True)
        position = TextField(null=True)

        class Meta:
            database = db
            table_name = "file_check"

    present = {column.name for column in db.get_columns("outbox")}
    for name, definition in OUTBOX.items():
        if name not in present:
            db.execute_sql(f'ALTER TABLE "outbox" ADD COLUMN "{name}" {definition}')
    db.create_tables([WriteProbe, DamagedFile, FileCheck])


def down(migrator, db):
    # The columns of the outbox stay: migration 0001 makes them.
    for table in ("write_probe", "damaged_file", "file_check"):
        db.execute_sql(f'DROP TABLE "{table}"')
