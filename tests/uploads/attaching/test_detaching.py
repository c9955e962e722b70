"""Records that let go of their file: None is assigned, or the row is only marked as deleted."""

from typing import Any

import peewee
import pytest

from gifster.uploads import CacheField, mount_uploader, store_in_background
from tests.combinations import on_one_platform
from tests.uploads.framework import Application, AvatarUploader, Base, Person, fresh
from tests.uploads.records import BOTH, ONE, TWO, PhotoFolder, is_clean, stored

#: These tests do not depend on the database or the storage: one platform is enough.
pytestmark = on_one_platform


@BOTH
def test_none_clears_an_assigned_file(application: Application, model: Any, column: str):
    record = stored(application, model, column)
    setattr(record, column, TWO)
    setattr(record, column, None)
    record.save()
    application.work()
    assert not getattr(fresh(record), column)

    new = model(name="Bob", **{column: TWO})
    setattr(new, column, None)
    new.save()
    application.work()
    assert not getattr(fresh(new), column)
    assert application.stored == []


@BOTH
def test_none_detaches_a_file_that_was_not_loaded(
    application: Application, model: Any, column: str
):
    application.create_tables(PhotoFolder)
    record = stored(application, model, column)
    folder = PhotoFolder.create(photos=[ONE, TWO])

    part = model.select(model.id, model.name).get()
    assert part.save() == 1
    setattr(part, column, None)
    part.save()
    part = PhotoFolder.select(PhotoFolder.id).get()
    part.photos = []
    part.save()
    application.work()

    assert not getattr(fresh(record), column)
    assert list(fresh(folder).photos) == []
    assert application.stored == application.cached == []


@pytest.mark.parametrize("first", ["tmp", "column"])
def test_none_detaches_a_cached_upload(application: Application, first: str):
    class Backwards(Base):
        avatar_tmp = CacheField()
        avatar = mount_uploader(AvatarUploader)

    model = store_in_background("avatar")(Backwards) if first == "tmp" else Person
    application.create_tables(Backwards)
    model.create(avatar=ONE)

    # Loading the record detaches nothing, in whatever order its columns come
    record = model.get()
    record.save()
    assert model.get().avatar_tmp is not None
    record.avatar = None
    record.save()
    application.work()

    assert model.get().avatar_tmp is None
    assert not model.get().avatar
    assert application.cached == application.stored == []


@BOTH
def test_a_model_that_only_marks_rows_as_deleted_keeps_their_files(
    application: Application, model: Any, column: str
):
    class Soft(Base):
        name = peewee.CharField(default="")
        deleted = peewee.BooleanField(default=False)
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()

        @classmethod
        def select(cls, *fields: Any) -> Any:
            return super().select(*fields).where(~cls.deleted)

        def delete_instance(self, *arguments: Any, **options: Any) -> int:
            self.deleted = True
            return self.save()

    store_in_background("avatar")(Soft)
    application.create_tables(Soft)
    # Given a row that is hidden while its upload waits, and one that is hidden afterwards
    hidden, later = Soft.create(avatar=ONE), Soft.create(avatar=TWO)
    hidden.delete_instance()
    application.work()
    later.delete_instance()
    application.work()
    assert list(Soft.select()) == []

    rows = list(peewee.Model.select.__func__(Soft).order_by(Soft.id))
    assert [row.avatar.stored.width for row in rows] == [80, 90]
    assert is_clean(application, *(row.avatar for row in rows))
    hidden.avatar = TWO
    hidden.save()
    application.work()
    assert peewee.Model.select.__func__(Soft).order_by(Soft.id)[0].avatar.stored.width == 90
