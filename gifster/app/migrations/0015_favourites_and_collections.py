"""Users' favourites, and their collections of GIFs. New tables alone: nothing waits for them."""

from peewee import BigIntegerField, CharField, CompositeKey, ForeignKeyField, Model


def up(migrator, db):
    class Base(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Base):
        id = CharField(12, primary_key=True)

    class Gif(Base):
        id = CharField(12, primary_key=True)

    class Favourite(Base):
        user = ForeignKeyField(User, on_delete="CASCADE")
        gif = ForeignKeyField(Gif, on_delete="CASCADE")
        added_at = BigIntegerField()

        class Meta:
            primary_key = CompositeKey("user", "gif")
            indexes = ((("user", "added_at"), False),)

    class Collection(Base):
        id = CharField(12, primary_key=True)
        user = ForeignKeyField(User, on_delete="CASCADE")
        name = CharField(100)
        visibility = CharField(8)
        created_at = BigIntegerField()

    class CollectionGif(Base):
        collection = ForeignKeyField(Collection, on_delete="CASCADE")
        gif = ForeignKeyField(Gif, on_delete="CASCADE")
        position = BigIntegerField()

        class Meta:
            primary_key = CompositeKey("collection", "gif")
            indexes = ((("collection", "position"), False),)

    db.create_tables([Favourite, Collection, CollectionGif])


def down(migrator, db):
    for table in ("collection_gif", "collection", "favourite"):
        db.execute_sql(f'DROP TABLE "{table}"')
