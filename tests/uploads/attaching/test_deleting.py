"""Deleting many rows, by queries and with `delete_instance(recursive=True)`: their files go too."""

from typing import Any

import peewee
import pytest

from gifster.jobs import Job
from gifster.uploads import (
    CacheField,
    CacheListField,
    HasUploads,
    UploadError,
    errors,
    mount_uploader,
    mount_uploaders,
    process_in_background,
    store_in_background,
    sweep,
)
from tests import images
from tests.uploads.framework import Application, AvatarUploader, Base, LogoUploader, db
from tests.uploads.records import atomic, fail

ONE, TWO = (images.still("PNG", (width, 40)) for width in (60, 70))


class Shop(Base):
    """A parent without uploads."""

    name = peewee.CharField(default="")


class Street(peewee.Model):
    """A parent that knows nothing of uploads."""

    class Meta:
        database = db


@store_in_background("image")
@store_in_background("images")
class Product(Base):
    name = peewee.CharField(default="")
    shop = peewee.ForeignKeyField(Shop, null=True, backref="products")
    street = peewee.ForeignKeyField(Street, null=True)
    parent = peewee.ForeignKeyField("self", null=True)
    image = mount_uploader(AvatarUploader)
    image_tmp = CacheField()
    images = mount_uploaders(AvatarUploader)
    images_tmp = CacheListField()


@process_in_background("picture")
class Review(Base):
    product = peewee.ForeignKeyField(Product, backref="reviews")
    picture = mount_uploader(AvatarUploader)
    logo = mount_uploader(LogoUploader)


@pytest.fixture
def app(application: Application) -> Application:
    application.create_tables(Shop, Street, Product, Review)
    return application


def product(**values: Any) -> Product:
    return Product.create(image=ONE, images=[ONE, TWO], **values)


def shop_with_products(name: str = "") -> Shop:
    shop = Shop.create(name=name)
    for _ in range(2):
        Review.create(product=product(shop=shop), picture=ONE, logo=TWO)
    return shop


def files() -> list[str]:
    """The keys that rows name."""
    rows = [*((p.image, *p.images) for p in Product), *((r.picture, r.logo) for r in Review)]
    return sorted(key for row in rows for one in row if one for _, key in one.stored.files)


def is_clean(app: Application) -> bool:
    app.work()
    return app.cached == [] and app.stored == files()


@pytest.mark.parametrize("state", ["stored", "waiting"])
def test_childrens_files_go_with_their_parent(app: Application, state: str):
    gone, stays = shop_with_products(), shop_with_products()
    if state == "stored":
        app.work()

    assert gone.delete_instance(recursive=True, delete_nullable=True) == 1
    assert (Product.select().count(), Review.select().count()) == (2, 2)
    assert is_clean(app)
    assert app.stored

    stays.delete_instance(True, True)
    app.work()
    assert app.stored == app.cached == []
    assert Job.select().count() == 0


def test_a_rolled_back_deletion_keeps_everything(app: Application):
    shop = shop_with_products()
    waiting = shop_with_products()
    app.work()
    for one in Product.select().where(Product.shop == waiting):
        one.image = TWO
        one.save()
    before = app.stored

    fail(lambda: [s.delete_instance(recursive=True, delete_nullable=True) for s in Shop.select()])

    assert app.stored == before
    assert is_clean(app)
    assert len(Product.select()) == 4
    shop.delete_instance(recursive=True, delete_nullable=True)
    assert is_clean(app)


def test_children_with_a_nullable_parent_keep_their_files(app: Application):
    shop = shop_with_products()
    app.work()
    shop.delete_instance(recursive=True)
    assert [one.shop for one in Product.select()] == [None, None]
    assert is_clean(app)
    assert len(app.stored) == 2 * (3 * 2 + 2 * 2)


def test_a_parent_need_not_know_of_uploads(app: Application):
    street = Street.create()
    product(street=street)
    app.work()
    street.delete_instance(recursive=True, delete_nullable=True)
    assert Product.select().count() == 0
    assert is_clean(app)


def test_a_record_and_its_children_of_the_same_model_go_together(app: Application):
    parent, other = product(), product()
    product(parent=parent)
    app.work()
    parent.delete_instance(recursive=True, delete_nullable=True)
    assert is_clean(app)
    assert list(Product.select()) == [other]


def test_children_saved_in_the_same_transaction_leave_nothing(app: Application):
    shop = shop_with_products()
    app.work()
    with atomic():
        child = Product.select().first()
        child.image = TWO
        child.save()
        review = Review.select().first()
        review.logo = ONE
        review.save()
        shop.delete_instance(recursive=True, delete_nullable=True)
    app.work()
    assert app.stored == []
    # What was assigned is the records' again, until they are forgotten
    del child, review
    sweep(repair=True, min_age_s=-60)
    assert app.cached == []


def test_a_query_deletes_the_files_of_its_rows(app: Application):
    first = product(name="first")
    product(name="second")
    product(name="third")
    app.work()
    waiting = product(name="waiting")

    assert Product.delete().where(Product.name << ["second", "waiting"]).execute() == 2
    assert {one.name for one in Product.select()} == {"first", "third"}
    assert is_clean(app)
    assert waiting.image_tmp is not None

    assert Product.delete_by_id(first.id) == 1
    assert is_clean(app)
    assert Product.delete().where(Product.name == "nobody").execute() == 0
    assert Product.delete().execute() == 1
    app.work()
    assert app.stored == app.cached == []


def test_a_query_that_returns_columns_deletes_the_files_too(app: Application):
    product(name="first")
    product(name="second")
    app.work()
    query = Product.delete().where(Product.name == "first").returning(Product.name)
    assert [row.name for row in query.execute()] == ["first"]
    assert is_clean(app)
    assert [row.name for row in Product.delete().returning(Product.name).execute()] == ["second"]
    assert is_clean(app)


def test_a_query_that_is_rolled_back_keeps_the_files(app: Application):
    product()
    app.work()
    before = app.stored
    fail(Product.delete().execute)
    app.work()
    assert app.stored == before


def test_a_hook_can_refuse_a_deletion(app: Application, monkeypatch: pytest.MonkeyPatch):
    shop = shop_with_products()
    app.work()

    def refuse(self: Any, stored: Any) -> None:
        if stored.width == 70:
            raise UploadError("kept")

    monkeypatch.setattr(LogoUploader, "before_remove", refuse)
    for deletion in (
        lambda: shop.delete_instance(recursive=True, delete_nullable=True),
        Review.delete().execute,
        lambda: Review.get().delete_instance(),
    ):
        with pytest.raises(UploadError, match="kept"):
            deletion()
    assert (Shop.select().count(), Product.select().count(), Review.select().count()) == (1, 2, 2)
    assert is_clean(app)


def test_hooks_see_the_whole_row(app: Application, monkeypatch: pytest.MonkeyPatch):
    seen = []
    monkeypatch.setattr(
        AvatarUploader, "before_remove", lambda self, stored: seen.append(self.record.name)
    )
    product(name="Ann")
    app.work()
    Product.delete().execute()
    assert seen == ["Ann"] * 3


def test_rows_without_files_are_deleted_within_manual_commit(app: Application):
    shop, one = Shop.create(), Product.create()
    Product.create()
    with app.database.manual_commit():
        app.database.begin()
        shop.delete_instance(recursive=True)
        one.delete_instance()
        assert Product.delete().execute() == 1
        app.database.commit()
    assert Product.select().count() == 0


def test_soft_deletion_keeps_the_files(app: Application):
    class Soft(HasUploads, peewee.Model):
        gone = peewee.BooleanField(default=False)
        image = mount_uploader(LogoUploader)

        class Meta:
            database = db

        def delete_instance(self) -> int:
            return type(self).update(gone=True).where(type(self).id == self.id).execute()

    app.create_tables(Soft)
    soft = Soft.create(image=ONE)
    assert soft.delete_instance() == 1
    app.work()
    assert len(app.stored) == 2
    Soft.delete().where(Soft.gone).execute()
    app.work()
    assert app.stored == []


def test_a_record_cannot_delete_all_rows_by_mistake(app: Application):
    with pytest.raises(TypeError, match="cannot be called from an instance"):
        product().delete()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_record_without_a_database_is_told_so():
    class Draft(HasUploads, peewee.Model):
        name = peewee.CharField()

    with pytest.raises(peewee.InterfaceError, match="must be bound to a database"):
        Draft(id=1, name="a").delete_instance()


def test_files_of_undeclared_models_go_too(app: Application):
    class Market(Base):
        pass

    class Bare(peewee.Model):
        market = peewee.ForeignKeyField(Market)
        image = mount_uploader(LogoUploader)

        class Meta:
            database = db

    app.create_tables(Market, Bare)
    market = Market.create()
    Bare.create(market=market, image=ONE)
    Bare.create(market=Market.create(), image=ONE)
    market.delete_instance(recursive=True)
    app.work()
    assert len(app.stored) == 2
    with pytest.raises(TypeError, match="cannot be called from an instance"):
        Bare.get().delete()
    Bare.delete().execute()
    app.work()
    assert app.stored == []


def test_the_columns_of_models_without_uploads_are_deleted_as_before(app: Application):
    Shop.create(name="a")
    assert Shop.delete().where(Shop.name == "a").execute() == 1
    assert type(Shop.delete()) is peewee.ModelDelete


DAMAGED = pytest.mark.parametrize(
    "text", ["{broken", "7", "[7]", '{"storage": "store", "key": "a"}', '{"versions": {}}']
)


def damage(row: peewee.Model, column: str, text: str) -> None:
    table = row._meta.table_name
    db.execute_sql(f"UPDATE {table} SET {column} = '{text}' WHERE id = {row.id}")


@pytest.mark.parametrize("text", ["{broken", "7"])
@pytest.mark.parametrize("column", ["image", "image_tmp", "images", "images_tmp"])
def test_an_unreadable_column_keeps_no_row_from_being_deleted(
    app: Application, text: str, column: str, caplog: pytest.LogCaptureFixture
):
    # Given two products, of which one has a column that cannot be read
    damaged, good = product(), product()
    app.work()
    damage(damaged, column, text)

    # When both are deleted
    assert Product.delete().where(Product.id.in_([damaged.id, good.id])).execute() == 2
    app.work()

    # Then the other's files are gone, and what the readable columns named of this one
    assert Product.select().count() == 0
    assert f"table=product id={damaged.id} column={column} reason=" in caplog.text
    assert f"id={good.id} " not in caplog.text
    # And the sweep finds the rest
    sweep(repair=True, min_age_s=-60)
    assert app.stored == app.cached == []


@pytest.mark.parametrize("column", ["image", "image_tmp", "images", "images_tmp"])
def test_a_record_with_an_unreadable_column_is_deleted(
    app: Application, column: str, caplog: pytest.LogCaptureFixture
):
    damaged = product()
    app.work()
    damage(damaged, column, "{broken")

    assert Product(id=damaged.id).delete_instance() == 1

    assert Product.select().count() == 0
    assert f"table=product id={damaged.id} column={column} reason=" in caplog.text


def test_a_hook_that_may_keep_a_file_keeps_those_of_an_unreadable_column(app: Application):
    class Kept(LogoUploader):
        def before_remove(self, stored: object) -> None:
            """Might refuse."""

    class Contract(Base):
        scan = mount_uploader(Kept)

    app.create_tables(Contract)
    contract = Contract.create(scan=ONE)
    damage(contract, "scan", '{"storage": "store"}')

    with pytest.raises(errors.UnreadableColumn, match=r"contract\.scan"):
        Contract.delete().execute()
    assert Contract.select(Contract.id).count() == 1


@DAMAGED
@pytest.mark.parametrize("column", ["image", "image_tmp", "images", "images_tmp"])
def test_a_column_that_cannot_be_read_says_which_it_is(app: Application, text: str, column: str):
    damage(product(), column, text)

    for read in (Product.get, lambda: list(Product.select())):
        with pytest.raises(errors.UnreadableColumn, match=rf"product\.{column} the text .*NULL"):
            read()
