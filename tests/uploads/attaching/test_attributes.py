"""The attributes beside a mounted column, declared on the model or not."""

from itertools import permutations

import peewee
import pytest

from gifster import uploads
from gifster.uploads import mount_uploader, mount_uploaders
from tests import images
from tests.combinations import on_one_platform
from tests.uploads.framework import Application, AvatarUploader, Base, Company, LogoUploader, Person

pytestmark = on_one_platform

LOGO = images.still("PNG", (60, 40))


def declared() -> type[Base]:
    @uploads.store_in_background("avatar")
    class Declared(Base):
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = uploads.CacheField()
        remove_avatar = uploads.RemoveFlag()
        remote_avatar_url = uploads.RemoteUrl()
        avatar_cache = uploads.CacheId()
        process_avatar_upload = uploads.ProcessFlag()

    return Declared


def added() -> type[Base]:
    @uploads.store_in_background("avatar")
    class Added(Base):
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = uploads.CacheField()

    return Added


@pytest.mark.parametrize("define", [declared, added])
def test_a_declared_attribute_does_the_same_as_one_that_is_added(application: Application, define):
    model = define()
    application.create_tables(model)
    record = model(process_avatar_upload=True)
    assert (record.remove_avatar, record.remote_avatar_url, record.avatar_cache) == (
        False,
        None,
        None,
    )

    # When a form is shown again, its file is retrieved
    record.avatar = LOGO
    again = model(process_avatar_upload=True, avatar_cache=record.avatar_cache)
    again.save()
    assert again.avatar.stored.width == 60

    # When the check box is set, the file goes
    again.remove_avatar = False
    assert not again.remove_avatar
    again.remove_avatar = True
    assert again.remove_avatar
    again.save()
    assert model.get_by_id(again.id).avatar.stored is None

    # And a URL is fetched
    with pytest.raises(uploads.UploadError, match="http"):
        again.remote_avatar_url = "ftp://example.org/cat.png"
    assert isinstance(model.remove_avatar, uploads.RemoveFlag)


def test_models_inherit_the_attributes_with_the_column(application: Application):
    class Child(declared()):
        pass

    application.create_tables(Child)
    child = Child(process_avatar_upload=True, avatar=LOGO)
    child.save()
    child.remove_avatar = True
    child.save()

    assert not Child.get_by_id(child.id).avatar


def test_a_class_that_is_no_model_may_declare_them(application: Application):
    class Removable:
        remove_logo = uploads.RemoveFlag()

    class Poster(Removable, Base):
        logo = mount_uploader(LogoUploader)

    application.create_tables(Poster)
    poster = Poster.create(logo=LOGO)
    poster.remove_logo = True
    poster.save()

    assert not Poster.get_by_id(poster.id).logo


def misspelt() -> None:
    class Misspelt(Base):
        logo = mount_uploader(LogoUploader)
        remove_lgoo = uploads.RemoveFlag()


def misnamed() -> None:
    class Misnamed(Base):
        logo = mount_uploader(LogoUploader)
        logo_remove = uploads.RemoveFlag()


def of_another_kind() -> None:
    class Another(Base):
        logo = mount_uploader(LogoUploader)
        remove_logo = uploads.CacheId()


def of_a_list() -> None:
    class Listed(Base):
        photos = mount_uploaders(LogoUploader)
        remote_photos_url = uploads.RemoteUrl()


def without_a_column() -> None:
    class Columnless(Base):
        remove_logo = uploads.RemoveFlag()


def a_method() -> None:
    class Methodical(Base):
        logo = mount_uploader(LogoUploader)

        def remove_logo(self) -> None: ...


def a_column() -> None:
    class Columnar(Base):
        logo = mount_uploader(LogoUploader)
        logo_cache = peewee.CharField()


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (misspelt, r"Misspelt.remove_lgoo = RemoveFlag\(\) .*: name it remove_logo$"),
        (misnamed, r"Misnamed.logo_remove = RemoveFlag\(\) .*: name it remove_logo$"),
        (of_another_kind, r"Another.remove_logo is a CacheId.*declare remove_logo = .*RemoveFlag"),
        (of_a_list, r"Listed.remote_photos_url = RemoteUrl\(\) .*: Listed has no column that can"),
        (without_a_column, r"Columnless.remove_logo = RemoveFlag\(\) .*Columnless has no column"),
        (a_method, r"Methodical.remove_logo is a function, .*: rename yours, or declare"),
        (a_column, r"Columnar.logo_cache is a \w+, .*: rename yours, or declare"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_one_that_does_not_fit_its_column_is_refused(
    application: Application, define, message: str
):
    with pytest.raises(TypeError, match=message):
        define()


def test_a_column_that_leaves_nothing_to_a_worker_has_nothing_to_process_at_once(
    application: Application,
):
    class AtOnce(Base):
        logo = mount_uploader(LogoUploader)
        process_logo_upload = uploads.ProcessFlag()

    record = AtOnce()
    assert record.process_logo_upload is False
    with pytest.raises(TypeError, match=r'@store_in_background\("logo"\)'):
        record.process_logo_upload = True


def test_the_order_of_a_constructors_values_changes_nothing(application: Application):
    file, other = images.gif((80, 60)), images.gif((90, 60))
    shown = Company(logo=other).logo_cache

    # A file of a form counts more than the cache id beside it
    for values in permutations({"name": "Ann", "logo": file, "logo_cache": shown}.items()):
        assert Company(**dict(values)).logo.read() == file
    # What is to be removed is removed
    given = {"logo_cache": shown, "remove_logo": "1", "name": "Ann"}
    for values in permutations(given.items()):
        company = Company(**dict(values))
        assert company.remove_logo
        assert company.logo.assigned is None
    # And a file is stored as its record says
    given = {"avatar": file, "process_avatar_upload": True, "name": "Ann"}
    for values in permutations(given.items()):
        person = Person(**dict(values))
        person.save()
        assert person.avatar.stored is not None
