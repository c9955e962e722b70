"""What GIFs are known by: the SHA-256 of the upload, and the quarters of the perceptual hash, so
that those that are there already are found."""

import json

from peewee import CharField, CompositeKey, ForeignKeyField, IntegerField, Model, TextField


def up(migrator, db):
    class Gif(Model):
        id = CharField(12, primary_key=True)
        image = TextField(null=True)
        image_tmp = TextField(null=True)
        sha256 = CharField(64, null=True)

        class Meta:
            database = db

    class Likeness(Model):
        gif = ForeignKeyField(Gif, on_delete="CASCADE")
        quarter = IntegerField()

        class Meta:
            database = db
            primary_key = CompositeKey("quarter", "gif")

    db.execute_sql('ALTER TABLE "gif" ADD COLUMN "sha256" VARCHAR(64)')  # not copied: see 0002
    db.execute_sql('CREATE INDEX "gif_sha256_created_at" ON "gif" ("sha256", "created_at")')
    db.create_tables([Likeness])
    for gif_id, image, image_tmp in list(Gif.select(Gif.id, Gif.image, Gif.image_tmp).tuples()):
        stored = json.loads(image) if image else {}
        upload = json.loads(image_tmp) if image_tmp else stored
        if "sha256" in upload:
            Gif.update(sha256=upload["sha256"]).where(Gif.id == gif_id).execute()
        bits = int(stored.get("dhash") or "0", 16)
        for at in range(4) if bits else ():
            quarter = at << 16 | bits >> 16 * at & 0xFFFF
            Likeness.insert(gif=gif_id, quarter=quarter).execute()


def down(migrator, db):
    db.execute_sql('DROP TABLE "likeness"')
    db.execute_sql('DROP INDEX "gif_sha256_created_at"')
    db.execute_sql('ALTER TABLE "gif" DROP COLUMN "sha256"')
