"""Whether an account's address is confirmed and whether the account is disabled; the secrets in
mails, invitations, and users' exports; where a session was begun.

New columns are empty or have constant defaults: no row is written, however many there are, and a
web process of the release before goes on adding rows. It knows nothing of disabled accounts: stop
it before you disable one."""

from peewee import BigIntegerField, CharField, ForeignKeyField, IntegerField, Model


def up(migrator, db):
    # In SQL: on SQLite the migrator would copy the table (see 0002).
    moment = "INTEGER" if "Sqlite" in type(db).__name__ else "BIGINT"
    for table, column in (
        ("user", f'"confirmed_at" {moment}'),
        ("user", f'"disabled_at" {moment}'),
        ("user", '"new_email" VARCHAR(254)'),
        ("token", "\"address\" VARCHAR(45) NOT NULL DEFAULT ''"),
        ("token", "\"browser\" VARCHAR(200) NOT NULL DEFAULT ''"),
    ):
        db.execute_sql(f'ALTER TABLE "{table}" ADD COLUMN {column}')

    class Base(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Base):
        id = CharField(12, primary_key=True)

    class MailSecret(Base):
        digest = CharField(64, primary_key=True)
        user = ForeignKeyField(User, on_delete="CASCADE")
        purpose = CharField(8)
        email = CharField(254)
        created_at = BigIntegerField()
        expires_at = BigIntegerField(index=True)

    class Invitation(Base):
        id = CharField(12, primary_key=True)
        digest = CharField(64, null=True, unique=True)
        email = CharField(254)
        made_by = ForeignKeyField(User, null=True, on_delete="SET NULL")
        created_at = BigIntegerField()
        expires_at = BigIntegerField(index=True)
        used_at = BigIntegerField(null=True)
        used_by = ForeignKeyField(User, null=True, on_delete="SET NULL")

    class Export(Base):
        id = CharField(12, primary_key=True)
        user = ForeignKeyField(User, unique=True, on_delete="CASCADE")
        created_at = BigIntegerField()
        finished_at = BigIntegerField(null=True)
        expires_at = BigIntegerField(null=True, index=True)
        gifs = IntegerField()
        left_out = IntegerField()
        bytes = BigIntegerField()

    db.create_tables([MailSecret, Invitation, Export])


def down(migrator, db):
    for table in ("export", "invitation", "mail_secret"):
        db.execute_sql(f'DROP TABLE "{table}"')
    for table, column in (
        ("token", "browser"),
        ("token", "address"),
        ("user", "new_email"),
        ("user", "disabled_at"),
        ("user", "confirmed_at"),
    ):
        db.execute_sql(f'ALTER TABLE "{table}" DROP COLUMN "{column}"')
