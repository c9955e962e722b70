"""Other ways to log in than a password: identities of a sign-in service, passkeys; and the second
factor: the codes of an authenticator app, recovery codes, log-ins that wait for it.

New tables alone: nothing waits for them, and a web process of the release before works on. It knows
no second factor: stop it before you tell people that theirs holds."""

from peewee import (
    BigIntegerField,
    BlobField,
    CharField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    Model,
)


def up(migrator, db):
    class Base(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Base):
        id = CharField(12, primary_key=True)

    class Identity(Base):
        issuer = CharField(255)
        subject = CharField(255)
        id = CharField(12, unique=True)
        user = ForeignKeyField(User, on_delete="CASCADE")
        email = CharField(254)
        linked_at = BigIntegerField()
        last_used_at = BigIntegerField(null=True)

        class Meta:
            primary_key = CompositeKey("issuer", "subject")

    class AuthenticatorApp(Base):
        user = ForeignKeyField(User, primary_key=True, on_delete="CASCADE")
        secret = CharField(64)
        created_at = BigIntegerField()
        confirmed_at = BigIntegerField(null=True)
        last_step = BigIntegerField()
        failures = IntegerField()
        locked_until = BigIntegerField(null=True)

    class RecoveryCode(Base):
        digest = CharField(64, primary_key=True)
        user = ForeignKeyField(User, on_delete="CASCADE")

    class Passkey(Base):
        id = CharField(12, primary_key=True)
        user = ForeignKeyField(User, on_delete="CASCADE")
        credential = CharField(1364, unique=True)
        public_key = BlobField()
        sign_count = BigIntegerField()
        name = CharField(100)
        created_at = BigIntegerField()
        last_used_at = BigIntegerField(null=True)

    class SignInStep(Base):
        digest = CharField(64, primary_key=True)
        user = ForeignKeyField(User, null=True, on_delete="CASCADE")
        failures = IntegerField()
        expires_at = BigIntegerField(index=True)

    db.create_tables([Identity, AuthenticatorApp, RecoveryCode, Passkey, SignInStep])


def down(migrator, db):
    for table in ("sign_in_step", "passkey", "recovery_code", "authenticator_app", "identity"):
        db.execute_sql(f'DROP TABLE "{table}"')
