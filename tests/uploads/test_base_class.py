"""`HasUploads` among a model's base classes, and options that are set after the declarations."""

from typing import Any

import dramatiq
import peewee
import pytest

from gifster import uploads
from gifster.uploads import CacheField, HasUploads, Uploader, mount_uploader, store_in_background
from gifster.uploads.actors import store_actor
from gifster.uploads.promotion import Promotion
from tests import images
from tests.conftest import PLATFORMS
from tests.uploads.framework import Application, AvatarUploader, LogoUploader, db

pytestmark = pytest.mark.parametrize("platform", PLATFORMS[:1], indirect=True)

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
    assert "_uploads" not in vars(tag)


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
    assert issubclass(Undeclared, HasUploads)

    record.logo = TWO
    record.save()
    application.work()
    assert Undeclared.get().logo.stored.width == 90
    assert len(application.stored) == 2


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


def test_limits_may_be_set_after_the_class_is_defined(application: Application):
    class Limited(Uploader):
        max_bytes = 10

    class Narrower(Limited):
        pass

    Limited.set_limits(max_bytes=len(ONE), max_frames=7)

    assert (Narrower.max_bytes, Narrower.max_frames) == (len(ONE), 7)
    assert Uploader.max_frames == 5_000
    with pytest.raises(TypeError, match="Limited has no limit 'max_byte'"):
        Limited.set_limits(max_byte=1)
    with pytest.raises(TypeError):
        Limited.set_limits(check_name=None)
