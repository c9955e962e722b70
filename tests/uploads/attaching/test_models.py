"""Models as applications write them: with their own `save()`, with signals, made of dicts."""

import itertools
from functools import partial
from typing import Any

import peewee
import pytest
from playhouse import signals
from playhouse.shortcuts import dict_to_model, model_to_dict

from gifster.uploads import (
    CacheField,
    CacheListField,
    HasUploads,
    ImageInfo,
    Uploader,
    UploadError,
    mount_uploader,
    mount_uploaders,
    process_in_background,
    store_in_background,
)
from gifster.uploads.files.stored import Files
from tests.combinations import on_one_platform
from tests.uploads.framework import (
    Application,
    AvatarUploader,
    Base,
    LogoUploader,
    Person,
    db,
    fresh,
)
from tests.uploads.records import BOTH, ONE, TWO, atomic, is_clean, width

#: These tests do not depend on the database or the storage: one platform is enough.
pytestmark = on_one_platform

WAYS = pytest.mark.parametrize("uploader", [LogoUploader, AvatarUploader])


@store_in_background("photos")
class Case(Base):
    photos = mount_uploaders(AvatarUploader)
    photos_tmp = CacheListField()


def in_background(model: Any, uploader: type[Uploader]) -> None:
    if uploader is AvatarUploader:
        store_in_background("avatar")(model)


# A model's own save(), and signals.


@WAYS
def test_a_file_assigned_in_a_models_own_save_is_saved(
    application: Application, uploader: type[Uploader]
):
    notified = []

    class Own(Base):
        name = peewee.CharField(default="")
        avatar = mount_uploader(uploader)
        avatar_tmp = CacheField()

        def save(self, notify: bool = True, **options: Any) -> Any:
            notified.append(notify)
            if not (self.avatar or self.avatar_tmp or self.avatar.changed):
                self.avatar = ONE
            return super().save(**options)

    in_background(Own, uploader)
    application.create_tables(Own)
    own = Own.create(name="Ann")
    own.avatar = TWO
    other = Own(name="Bob")
    other.save(notify=False)
    application.work()
    assert width(own, "avatar") == width(other, "avatar") == 80

    own.save()
    application.work()
    assert width(own, "avatar") == 90
    assert notified == [True, False, True]
    assert is_clean(application, fresh(own).avatar, fresh(other).avatar)


@WAYS
def test_a_file_assigned_by_a_signals_receiver_is_saved(
    application: Application, uploader: type[Uploader]
):
    class Signalling(HasUploads, signals.Model):
        key = peewee.CharField(primary_key=True)
        count = peewee.IntegerField(default=0)
        avatar = mount_uploader(uploader)
        avatar_tmp = CacheField()

        class Meta:
            database = db

    @signals.pre_save(sender=Signalling)
    def assign(_: Any, instance: Any, created: bool) -> None:
        if created and not instance.avatar.changed:
            instance.avatar = ONE

    @signals.post_save(sender=Signalling)
    def count(_: Any, instance: Any, created: bool) -> None:
        if created:
            instance.count += 1
            instance.save()

    in_background(Signalling, uploader)
    application.create_tables(Signalling)
    made = [Signalling.create(key="a"), Signalling.create(key="b", avatar=TWO)]
    application.work()

    assert [width(one, "avatar") for one in made] == [80, 90]
    assert [fresh(one).count for one in made] == [1, 1]
    assert is_clean(application, *(fresh(one).avatar for one in made))


def test_a_refused_file_of_a_receiver_takes_the_row_with_it_in_a_transaction(
    application: Application,
):
    class Refusing(LogoUploader):
        def before_process(self, info: ImageInfo) -> None:
            raise UploadError("Not this one.")

    class Signalled(HasUploads, signals.Model):
        avatar = mount_uploader(Refusing)

        class Meta:
            database = db

    @signals.pre_save(sender=Signalled)
    def assign(_: Any, instance: Any, created: bool) -> None:
        instance.avatar = ONE

    application.create_tables(Signalled)
    made = Signalled()
    with pytest.raises(UploadError), atomic():
        made.save()

    assert (Signalled.select().count(), made.id) == (0, None)


def test_attributes_that_a_hook_sets_reach_later_hooks(application: Application):
    seen = []

    class Noting(Uploader):
        def after_cache(self, cached: Any) -> None:
            self.noted = cached.bytes

        def after_store(self, stored: Any) -> None:
            seen.append(self.noted)

    class Noted(Base):
        avatar = mount_uploader(Noting)

    application.create_tables(Noted)
    Noted.create(avatar=ONE)

    assert seen == [len(ONE)]


# Records made of dicts, and records loaded in part.


@BOTH
@pytest.mark.parametrize("way", ["a row", "a dict of a record"])
def test_saving_a_record_made_of_a_rows_values_detaches_nothing(
    application: Application, model: Any, column: str, way: str
):
    record = model.create(name="Ann", **{column: ONE})

    def made() -> Any:
        if way == "a row":
            return model(**model.select().dicts().get())
        return dict_to_model(model, model_to_dict(fresh(record)))

    # Given two records made while the upload waits; one is saved only after it was stored
    stale = made()
    first = made()
    first.name = "Anna"
    first.save()
    application.work()
    assert width(record, column) == 80
    stale.save()
    application.work()
    assert width(record, column) == 80
    assert is_clean(application, getattr(fresh(record), column))


def test_saving_a_list_made_of_a_rows_values_detaches_nothing(application: Application):
    application.create_tables(Case)
    case = Case.create(photos=[ONE, TWO])
    for _ in range(2):
        Case(**Case.select().dicts().get()).save()
        application.work()
        assert [photo.stored.width for photo in fresh(case).photos] == [80, 90]
    assert is_clean(application, *fresh(case).photos)


@BOTH
def test_a_queried_file_assigned_to_a_record_loaded_in_part_is_copied(
    application: Application, model: Any, column: str
):
    ann, bob = (model.create(name=n, **{column: f}) for n, f in (("Ann", ONE), ("Bob", TWO)))
    application.work()

    part = model.select(model.id).where(model.name == "Bob").get()
    setattr(part, column, model.select(getattr(model, column)).where(model.name == "Ann").scalar())
    part.save()
    application.work()
    fresh(ann).delete_instance()
    application.work()

    assert width(bob, column) == 80
    assert is_clean(application, getattr(fresh(bob), column))


def test_a_queried_list_assigned_to_a_record_loaded_in_part_is_copied(application: Application):
    application.create_tables(Case)
    one, two = Case.create(photos=[ONE]), Case.create(photos=[TWO])
    application.work()

    part = Case.select(Case.id).where(Case.id == two.id).get()
    part.photos = Case.select(Case.photos).where(Case.id == one.id).scalar()
    part.save()
    application.work()
    fresh(one).delete_instance()
    application.work()

    assert [photo.stored.width for photo in fresh(two).photos] == [80]
    assert is_clean(application, *fresh(two).photos)


def test_saving_a_record_loaded_in_any_way_detaches_nothing(application: Application):
    class Pet(Base):
        owner = peewee.ForeignKeyField(Person, backref="pets")

    application.create_tables(Pet)
    ann = Person.create(avatar=ONE)
    application.work()
    # Given a second record, whose upload waits
    bob = Person.create(avatar=TWO)
    for owner in (ann, bob):
        Pet.create(owner=owner)

    loaded = [
        *Person.select(),
        *(pet.owner for pet in Pet.select(Pet, Person).join(Person)),
        *(pet.owner for pet in Pet.select()),
        *Person.raw("select * from person"),
        *peewee.prefetch(Person.select(), Pet.select()),
        *Person.alias().select(),
        *Person.select().objects(partial(Person)),
    ]
    assert len(loaded) == 14
    assert not any("_gifster_uploads" in vars(person) for person in loaded)  # It would be slow.
    for person in loaded:
        person.save()
    application.work()

    assert (width(ann, "avatar"), width(bob, "avatar")) == (80, 90)
    assert is_clean(application, fresh(ann).avatar, fresh(bob).avatar)


def test_a_worker_makes_no_new_record_of_a_model(application: Application):
    # Given a model that numbers its records, and needs an argument to make one
    numbers, removed = itertools.count(1), []

    class NoteUploader(AvatarUploader):
        def after_remove(self, files: Files) -> None:
            removed.append((self.record.id, self.record.number))

    @store_in_background("image")
    @process_in_background("scan")
    class Invoice(Base):
        number = peewee.IntegerField(default=lambda: next(numbers))
        image = mount_uploader(NoteUploader)
        image_tmp = CacheField()
        scan = mount_uploader(AvatarUploader)

        def __init__(self, *arguments: Any, **values: Any) -> None:
            super().__init__(*arguments, **values)
            if "__no_default__" not in values and "image" not in values:
                raise TypeError("an invoice needs an image")

    application.create_tables(Invoice)
    first = Invoice.create(image=ONE, scan=ONE)

    # When workers store, process and remove its files
    application.work()
    first = fresh(first)
    first.remove_image = True
    first.save()
    application.work()

    # Then no number is lost, and a hook gets only the key
    assert Invoice.create(image=ONE).number == 2
    assert removed == [(first.id, None)]


# Models without a database.


class Unbound(HasUploads, peewee.Model):
    avatar = mount_uploader(LogoUploader)


@pytest.mark.parametrize("database", [None, peewee.DatabaseProxy()], ids=["none", "proxy"])
def test_a_record_whose_model_has_no_database_yet_says_what_to_do(
    application: Application, monkeypatch: pytest.MonkeyPatch, database: Any
):
    monkeypatch.setattr(Unbound._meta, "database", database)
    record = Unbound(avatar=ONE)

    for change in (record.save, Unbound(id=1).delete_instance, lambda: Unbound.create(avatar=ONE)):
        with pytest.raises(peewee.InterfaceError, match=r"bind it \(database\.bind\(\[Unbound\]\)"):
            change()

    # Once it has one, the record that could not be saved is
    monkeypatch.setattr(Unbound._meta, "database", db)
    db.create_tables([Unbound])
    record.save()
    assert fresh(record).avatar.stored
