"""`HasUploads` among a model's base classes, and options that are set after the declarations."""

from typing import Any

import dramatiq
import peewee
import pytest

from gifster import uploads
from gifster.uploads import CacheField, HasUploads, Uploader, mount_uploader, store_in_background
from gifster.uploads.actors import store_actor
from gifster.uploads.backgrounding.promotion import Promotion
from tests import images
from tests.combinations import on_one_platform
from tests.uploads.framework import Application, AvatarUploader, LogoUploader, db

pytestmark = on_one_platform

ONE, TWO = (images.gif(size=(width, 60)) for width in (80, 90))


class Plain(peewee.Model):
    class Meta:
        database = db


def test_a_model_may_also_have_a_base_class_with_its_own_save(application: Application):
    class Stamped(Plain):
        saves = peewee.IntegerField(default=0)

        def save(self, *arguments: Any, **options: Any) -> Any:
            self.saves += 1
            return super().save(*arguments, **options)

    @store_in_background("avatar")
    class Beside(HasUploads, Stamped):
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()

    application.create_tables(Beside)
    record = Beside.create(avatar=ONE)
    assert Beside.get_by_id(record.id).avatar_tmp is not None
    application.work()

    record = Beside.get_by_id(record.id)
    assert (record.avatar.stored.width, record.saves) == (80, 1)
    record.delete_instance()
    application.work()
    assert application.stored == application.cached == []


def test_a_model_without_uploads_behaves_as_in_peewee(application: Application):
    class Tag(HasUploads, Plain):
        name = peewee.CharField()

    application.create_tables(Tag)
    tag = Tag.create(name="a")
    Tag.insert_many([{"name": "b"}]).execute()
    tag.name = "c"
    tag.save()
    tag.delete_instance()

    assert [tag.name for tag in Tag.select()] == ["b"]
    assert "_gifster_uploads" not in vars(tag)


def test_a_model_that_does_not_declare_the_base_class_works_with_a_warning(
    application: Application,
):
    with pytest.warns(DeprecationWarning, match=r"class Undeclared\(gifster.uploads.HasUploads"):

        class Undeclared(Plain):
            logo = mount_uploader(LogoUploader)

            def save(self, *arguments: Any, **options: Any) -> Any:
                if not self.logo and not self.logo.changed:
                    self.logo = ONE
                return super().save(*arguments, **options)

    application.create_tables(Undeclared)
    record = Undeclared.create()
    assert len(application.stored) == 2
    assert not issubclass(Undeclared, HasUploads)

    record.logo = TWO
    record.save()
    application.work()
    assert Undeclared.get().logo.stored.width == 90
    assert len(application.stored) == 2


def test_what_an_undeclared_model_does_when_it_saves_is_in_the_same_transaction(
    application: Application,
):
    # Given a model as the release before had them, which names its parent and may fail at the end
    with pytest.warns(DeprecationWarning, match="class Strict") as told:

        class Strict(Plain):
            logo = mount_uploader(LogoUploader)
            name = peewee.CharField()

            def save(self, *arguments: Any, **options: Any) -> Any:
                result = Plain.save(self, *arguments, **options)
                if self.name == "bad":
                    raise ValueError(self.name)
                return result

            def delete_instance(self, *arguments: Any, **options: Any) -> Any:
                Plain.delete_instance(self, *arguments, **options)
                if self.name == "kept":
                    raise ValueError(self.name)

    assert told[0].filename == __file__
    application.create_tables(Strict)

    # When a save and a deletion fail
    record = Strict(name="bad", logo=ONE)
    with pytest.raises(ValueError, match="bad"):
        record.save()
    assert Strict.select().count() == 0
    assert record.logo.changed
    record.name = "kept"
    record.save()
    with pytest.raises(ValueError, match="kept"):
        record.delete_instance()

    # I expect nothing to be lost
    application.work()
    assert Strict.get().logo.stored.width == 80
    assert len(application.stored) == 2


def test_a_declared_model_may_put_its_own_writes_into_one_transaction(application: Application):
    class Careful(HasUploads, Plain):
        logo = mount_uploader(LogoUploader)

        def delete_instance(self, *arguments: Any, **options: Any) -> Any:
            with self._meta.database.atomic():
                super().delete_instance(*arguments, **options)
                raise ValueError("not now")

    application.create_tables(Careful)
    record = Careful.create(logo=ONE)
    with pytest.raises(ValueError, match="not now"):
        record.delete_instance()
    application.work()

    assert Careful.get().logo.stored.width == 80
    assert len(application.stored) == 2


def test_an_undeclared_model_may_have_a_base_class_with_slots(application: Application):
    class Slotted:
        __slots__ = ()

    with pytest.warns(DeprecationWarning, match="class Mixed"):

        class Mixed(Slotted, Plain):
            logo = mount_uploader(LogoUploader)

    application.create_tables(Mixed)
    assert Mixed.create(logo=ONE).logo.stored.width == 80

    with pytest.raises(TypeError, match="let that class declare it"):

        class Late(HasUploads, Mixed):
            pass


def test_a_model_with_an_actor_of_its_own_can_be_inherited_from(application: Application):
    @store_actor(queue_name="slow")
    def store_slowly(promotion: Promotion) -> None:
        promotion.promote()

    @store_in_background("avatar", actor=store_slowly)
    class Animal(HasUploads, Plain):
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()

    class Dog(Animal):
        pass

    application.create_tables(Animal, Dog)
    dog = Dog.create(avatar=ONE)
    assert [job.queue for job in application.jobs()] == ["slow"]
    application.work()

    assert Dog.get_by_id(dog.id).avatar.stored.width == 80


def test_bulk_queries_of_models_without_uploads_are_peewees(application: Application):
    class Word(HasUploads, Plain):
        text = peewee.CharField()

    application.create_tables(Word)
    Word.insert_many([{"text": "a"}]).execute()
    Word.insert_many(Word.select(Word.text), fields=[Word.text]).execute()

    assert [word.text for word in Word.select()] == ["a", "a"]
    with pytest.raises(peewee.OperationalError, match="syntax"):  # as Peewee's
        Word.bulk_update(list(Word.select()), [])


def test_the_base_class_must_come_before_peewees_model(application: Application):
    with pytest.raises(TypeError, match=r"write class Late\(HasUploads, ...\)"):

        class Late(Plain, HasUploads):
            logo = mount_uploader(LogoUploader)


def test_options_may_be_set_after_the_actors_are_declared(application: Application):
    # Given actors that were declared with the earlier options, and columns left to them
    @store_actor()
    def store_late(promotion: Promotion) -> None:
        promotion.promote()

    @store_actor(queue_name="fixed", max_retries=1)
    def store_fixed(promotion: Promotion) -> None:
        promotion.promote()

    @store_in_background("avatar", actor=store_late)
    class Later(HasUploads, Plain):
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()

    @store_in_background("avatar", actor=store_fixed)
    class Fixed(HasUploads, Plain):
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()

    application.create_tables(Later, Fixed)

    # When the options are set
    application.configure(queue="pictures", max_retries=3)

    # Then the workers' queues include the new one, and the jobs go there
    try:
        assert "pictures" in dramatiq.get_broker().get_declared_queues()
        assert (store_late.queue_name, store_late.options["max_retries"]) == ("pictures", 3)
        assert (store_fixed.queue_name, store_fixed.options["max_retries"]) == ("fixed", 1)
        Later.create(avatar=ONE)
        Fixed.create(avatar=ONE)
        assert {job.queue for job in application.jobs()} == {"pictures", "fixed"}
        Later.get().avatar.recreate_versions()
        application.work()
        Later.get().delete_instance()
        assert [job.queue for job in application.jobs()] == ["pictures"]
    finally:
        application.configure()
    assert uploads.actors.store_asset.queue_name == "carrierwave"
    with pytest.raises(ValueError, match="queue is 'bad queue!'"):
        application.configure(queue="bad queue!")


def test_limits_may_be_set_after_the_class_is_defined(application: Application):
    class Limited(Uploader):
        max_bytes = 10

    class Narrower(Limited):
        pass

    Limited.set_limits(max_bytes=len(ONE), max_frames=7)

    assert (Narrower.max_bytes, Narrower.max_frames) == (len(ONE), 7)
    assert Uploader.max_frames == 5_000
    with pytest.raises(TypeError, match="Limited has no limit 'max_byte'"):
        Limited.set_limits(max_bytes=1, max_byte=1)
    assert Limited.max_bytes == len(ONE)
    with pytest.raises(TypeError):
        Limited.set_limits(check_name=None)
