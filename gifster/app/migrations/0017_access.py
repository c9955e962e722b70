"""Moderators; GIFs that they have hidden; readers' reports, and the log of what moderators did.

The columns have constant defaults, so no row is written, and a web process of the release before
goes on. The index has hidden GIFs alone: making it reads the table of GIFs once."""

from peewee import BigIntegerField, CharField, ForeignKeyField, Model, TextField


def up(migrator, db):
    # In SQL: on SQLite the migrator would copy the table (see 0002).
    flag = "INTEGER NOT NULL DEFAULT 0"
    if "Sqlite" not in type(db).__name__:
        flag = "BOOLEAN NOT NULL DEFAULT FALSE"
    db.execute_sql(f'ALTER TABLE "user" ADD COLUMN "is_moderator" {flag}')
    db.execute_sql('ALTER TABLE "gif" ADD COLUMN "hidden_from" VARCHAR(8)')
    db.execute_sql(
        'CREATE INDEX "gif_hidden" ON "gif" ("created_at", "id") WHERE "hidden_from" IS NOT NULL'
    )
    _make_tables(db)
    # Open reports are few, however many are closed.
    db.execute_sql(
        'CREATE INDEX "report_open" ON "report" ("created_at", "id") WHERE "closed_at" IS NULL'
    )


def _make_tables(db):
    class Base(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Base):
        id = CharField(12, primary_key=True)

    class Gif(Base):
        id = CharField(12, primary_key=True)

    class Report(Base):
        id = CharField(12, primary_key=True)
        gif = ForeignKeyField(Gif, on_delete="CASCADE")
        user = ForeignKeyField(User, null=True, on_delete="SET NULL")
        reason = CharField(12)
        text = CharField(1000)
        created_at = BigIntegerField()
        closed_at = BigIntegerField(null=True, index=True)
        verdict = CharField(9, null=True)

    class ModerationEntry(Base):
        id = CharField(12, primary_key=True)
        at = BigIntegerField()
        moderator = ForeignKeyField(User, null=True, on_delete="SET NULL")
        moderator_name = CharField(100)
        action = CharField(12)
        gif_id = CharField(12, null=True, index=True)
        user_id = CharField(12, null=True)
        subject = CharField(200)
        reason = CharField(1000)
        changes = TextField()

        class Meta:
            table_name = "moderation_entry"
            indexes = ((("at", "id"), False),)

    db.create_tables([Report, ModerationEntry])


def down(migrator, db):
    db.execute_sql('DROP TABLE "moderation_entry"')
    db.execute_sql('DROP TABLE "report"')
    db.execute_sql('DROP INDEX "gif_hidden"')
    db.execute_sql('ALTER TABLE "gif" DROP COLUMN "hidden_from"')
    db.execute_sql('ALTER TABLE "user" DROP COLUMN "is_moderator"')
