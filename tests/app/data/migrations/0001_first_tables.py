"""The first tables. A frozen copy of the models, so that it means the same for ever."""

from peewee import (
    SQL,
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    DoubleField,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
)


def up(migrator, db):
    class Base(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Base):
        id = CharField(12, primary_key=True)
        email = CharField(254, unique=True)
        name = CharField(100)
        password_hash = CharField()
        created_at = BigIntegerField()
        welcome_claimed_at = BigIntegerField(null=True)
        welcomed_at = BigIntegerField(null=True)

    class Token(Base):
        digest = CharField(64, primary_key=True)
        user = ForeignKeyField(User, on_delete="CASCADE")
        created_at = BigIntegerField()
        expires_at = BigIntegerField(null=True)

    class Gif(Base):
        id = CharField(12, primary_key=True)
        user = ForeignKeyField(User, null=True, on_delete="SET NULL")
        title = CharField(200)
        created_at = BigIntegerField(index=True)
        image = TextField(null=True)
        image_tmp = TextField(null=True)
        image_processing = BooleanField(default=False, constraints=[SQL("DEFAULT false")])
        image_state = CharField(16, null=True, index=True)
        image_error = TextField(null=True)

    class Tag(Base):
        name = CharField(50, unique=True)

    class GifTag(Base):
        gif = ForeignKeyField(Gif, on_delete="CASCADE")
        tag = ForeignKeyField(Tag, on_delete="CASCADE")

        class Meta:
            primary_key = CompositeKey("gif", "tag")

    class Outbox(Base):
        id = CharField(32, primary_key=True)
        actor = CharField()
        queue = CharField()
        arguments = TextField()
        created_at = DoubleField()
        send_at = DoubleField(index=True)
        sendings = IntegerField(default=0)
        error = TextField(null=True)
        failed_at = DoubleField(null=True)

    db.create_tables([User, Token, Gif, Tag, GifTag, Outbox])


def down(migrator, db):
    for table in ("gif_tag", "tag", "gif", "token", "user", "outbox"):
        migrator.migrate(migrator.sql(f'DROP TABLE "{table}"'))
