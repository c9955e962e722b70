"""Uploads that come in several requests, until they are complete (tus).

A new table, which an earlier release never reads or writes: it takes no time, however large the
library is."""

from peewee import BigIntegerField, CharField, DoubleField, IntegerField, Model, TextField


def up(migrator, db):
    class ResumableUpload(Model):
        id = CharField(32, primary_key=True)
        rules = CharField(255)
        owner = CharField(255, index=True)
        storage = CharField(255)
        length = BigIntegerField()
        received = BigIntegerField()
        parts = TextField()
        metadata = TextField()
        stage = CharField(8)
        outcome = TextField(null=True)
        lives_s = IntegerField()
        expires_at = DoubleField(index=True)

        class Meta:
            database = db
            table_name = "resumable_upload"
            legacy_table_names = False

    db.create_tables([ResumableUpload])


def down(migrator, db):
    db.execute_sql('DROP TABLE "resumable_upload"')
