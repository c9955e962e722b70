"""The name of this database's outbox, by which workers tell its messages from those of another
application on the same broker. `gifster.jobs.identity` writes its one row when first asked."""

from peewee import CharField, IntegerField, Model


def up(migrator, db):
    class OutboxIdentity(Model):
        id = IntegerField(primary_key=True)
        name = CharField(32)

        class Meta:
            database = db
            table_name = "outbox_identity"

    db.create_tables([OutboxIdentity], safe=True)


def down(migrator, db):
    db.execute_sql('DROP TABLE "outbox_identity"')
