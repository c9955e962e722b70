"""What the last sweep found, for whoever watches."""

from peewee import BigIntegerField, CharField, IntegerField, Model


def up(migrator, db):
    class Finding(Model):
        kind = CharField(20, primary_key=True)
        count = IntegerField()
        found_at = BigIntegerField()

        class Meta:
            database = db

    db.create_tables([Finding])


def down(migrator, db):
    db.execute_sql('DROP TABLE "finding"')
