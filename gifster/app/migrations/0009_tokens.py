"""What tokens are called and may do, so that their user can tell them apart and revoke one.

Those that are there keep all their rights. One that expires is a session; one that does not is what
signing up gave to a program, which goes on working."""

import secrets

from peewee import BigIntegerField, CharField, Model

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def up(migrator, db):
    class Token(Model):
        digest = CharField(64, primary_key=True)
        id = CharField(12)
        expires_at = BigIntegerField(null=True)
        kind = CharField(8)
        name = CharField(100)

        class Meta:
            database = db

    for column, default in [
        ('"id" VARCHAR(12)', ""),
        ('"kind" VARCHAR(8)', "token"),
        ('"name" VARCHAR(100)', ""),
        ('"scope" VARCHAR(8)', "admin"),
    ]:
        db.execute_sql(f"ALTER TABLE \"token\" ADD COLUMN {column} NOT NULL DEFAULT '{default}'")
    kind = "INTEGER" if "Sqlite" in type(db).__name__ else "BIGINT"
    db.execute_sql(f'ALTER TABLE "token" ADD COLUMN "last_used_at" {kind}')
    Token.update(kind="session").where(Token.expires_at.is_null(False)).execute()
    Token.update(name="sign-up").where(Token.expires_at.is_null()).execute()
    for (digest,) in list(Token.select(Token.digest).tuples()):
        new_id = "".join(secrets.choice(ALPHABET) for _ in range(12))
        Token.update(id=new_id).where(Token.digest == digest).execute()
    # Not unique: a web process of the release before adds tokens without one, until it is stopped.
    db.execute_sql('CREATE INDEX "token_id" ON "token" ("id")')


def down(migrator, db):
    db.execute_sql('DROP INDEX "token_id"')
    for name in ("id", "kind", "name", "scope", "last_used_at"):
        db.execute_sql(f'ALTER TABLE "token" DROP COLUMN "{name}"')
