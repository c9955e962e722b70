"""What each upload weighs, so that quotas need not read JSON."""

import json

from peewee import BigIntegerField, CharField, Model, SqliteDatabase, TextField


def up(migrator, db):
    class Gif(Model):
        id = CharField(12, primary_key=True)
        image = TextField(null=True)
        image_tmp = TextField(null=True)
        bytes = BigIntegerField(default=0)

        class Meta:
            database = db

    # In SQL: on SQLite the migrator would copy the table and drop the old one, and with it, by
    # their foreign keys, all tags of all GIFs.
    kind = "INTEGER" if isinstance(db, SqliteDatabase) else "BIGINT"
    db.execute_sql(f'ALTER TABLE "gif" ADD COLUMN "bytes" {kind} NOT NULL DEFAULT 0')
    db.execute_sql('CREATE INDEX "gif_user_id_bytes" ON "gif" ("user_id", "bytes")')
    for gif_id, image, image_tmp in list(Gif.select(Gif.id, Gif.image, Gif.image_tmp).tuples()):
        upload = image_tmp or image
        if upload:
            Gif.update(bytes=json.loads(upload)["bytes"]).where(Gif.id == gif_id).execute()


def down(migrator, db):
    db.execute_sql('DROP INDEX "gif_user_id_bytes"')
    db.execute_sql('ALTER TABLE "gif" DROP COLUMN "bytes"')
