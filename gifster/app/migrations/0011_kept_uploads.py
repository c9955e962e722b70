"""The files that refused forms keep in the cache, so that they count for their users' quotas."""

from peewee import BigIntegerField, CharField, ForeignKeyField, Model


def up(migrator, db):
    class User(Model):
        id = CharField(12, primary_key=True)

        class Meta:
            database = db

    class KeptUpload(Model):
        key = CharField(512, primary_key=True)
        storage = CharField()
        user = ForeignKeyField(User, null=True, on_delete="CASCADE")
        bytes = BigIntegerField()
        kept_at = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "kept_upload"

    db.create_tables([KeptUpload])


def down(migrator, db):
    db.execute_sql('DROP TABLE "kept_upload"')
