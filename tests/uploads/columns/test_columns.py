"""Saving only some columns, names of columns, and the database and key that a model needs."""

from pathlib import Path
from typing import Any

import peewee
import pytest

from gifster.uploads import CacheField, HasUploads, mount_uploader, store_in_background
from gifster.uploads.columns import bulk
from tests.combinations import on_one_platform
from tests.uploads.framework import (
    Application,
    AvatarUploader,
    Base,
    Company,
    LogoUploader,
    Person,
    fresh,
)
from tests.uploads.records import BOTH, ONE, TWO, is_clean, width

#: These tests do not depend on the database or the storage: one platform is enough.
pytestmark = on_one_platform


@BOTH
def test_an_upload_is_among_the_dirty_fields(application: Application, model: Any, column: str):
    record = fresh(model.create(name="Ann"))
    assert record.save(only=record.dirty_fields) == 0
    setattr(record, column, ONE)

    record.save(only=record.dirty_fields)
    assert not record.is_dirty()
    application.work()

    assert width(record, column) == 80


@BOTH
@pytest.mark.parametrize("by", ["field", "name", "column name"])
def test_only_the_upload_of_a_new_record_is_saved(
    application: Application, model: Any, column: str, by: str
):
    record = model(name="Ann", **{column: ONE})
    field = getattr(model, column)

    record.save(only=[{"field": field, "name": field.name, "column name": field.column_name}[by]])
    application.work()

    assert (fresh(record).name, width(record, column)) == ("", 80)


@BOTH
def test_a_model_with_only_save_dirty_saves_the_upload(
    application: Application, monkeypatch: pytest.MonkeyPatch, model: Any, column: str
):
    monkeypatch.setattr(model._meta, "only_save_dirty", True)
    record = model(name="Ann", **{column: ONE})
    record.save()
    application.work()
    assert width(record, column) == 80

    record = fresh(record)
    setattr(record, column, TWO)
    record.save()
    application.work()
    assert width(record, column) == 90
    assert is_clean(application, getattr(fresh(record), column))


def test_a_mounted_column_may_have_a_column_name(application: Application):
    class Named(Base):
        avatar = mount_uploader(AvatarUploader, column_name="picture")
        avatar_tmp = CacheField(column_name="picture_waiting")

    store_in_background("avatar")(Named)
    application.create_tables(Named)
    named = Named.create(avatar=ONE)
    named.avatar = TWO
    named.save(only=["picture"])
    application.work()

    assert fresh(named).avatar.stored.width == 90


def test_the_json_of_a_column_can_be_searched(application: Application):
    Person.create(avatar=ONE)
    ready = Person.create(avatar=ONE)
    application.work()
    Person.create()

    assert Person.select().where(Person.avatar.is_null(False)).count() == 2
    assert Person.select().where(Person.avatar.cast("text").contains(f"/{ready.id}/")).count() == 1
    with pytest.raises(TypeError, match=r'Person\.avatar has files.*cast\("text"\)\.contains'):
        Person.select().where(Person.avatar.contains("gif")).count()


def test_a_second_database_is_refused(application: Application, tmp_path: Path):
    elsewhere = peewee.SqliteDatabase(tmp_path / "elsewhere.db")

    with pytest.raises(TypeError, match=r"Far has uploads.*another database.*TABLES"):

        class Far(HasUploads, peewee.Model):
            avatar = mount_uploader(LogoUploader)

            class Meta:
                database = elsewhere

    class Later(Base):
        logo = mount_uploader(LogoUploader)

    Later.bind(elsewhere)
    elsewhere.create_tables([Later])
    later = Later(logo=ONE)
    with pytest.raises(TypeError, match="another database"):
        later.save()
    assert Later.select().count() == 0
    Later.bind(application.database)


def test_a_row_of_a_second_database_cannot_have_its_files_deleted(
    application: Application, tmp_path: Path
):
    # Given a copy of the database, in which a row names the same files
    company, elsewhere = Company.create(logo=ONE), peewee.SqliteDatabase(tmp_path / "copy.db")
    stored = application.stored
    with elsewhere.bind_ctx([Company]):
        elsewhere.create_tables([Company])
        with bulk.saving():
            Company.insert(id=company.id, logo=company.logo.stored).execute()
        copied = Company.get_by_id(company.id)

        # When it is to be deleted there, I expect that to be refused: the jobs are in our database
        for change in (
            copied.delete_instance,
            Company.delete().execute,
            copied.logo.recreate_versions,
            copied.logo.update_versions,
        ):
            with pytest.raises(TypeError, match="another database than the outbox"):
                change()
        assert Company.select().count() == 1

    # And no file is gone
    application.work()
    assert application.stored == stored


@pytest.mark.parametrize("column", ["logo", "logo_tmp"])
def test_a_column_that_may_not_be_null_is_refused(application: Application, column: str):
    fields = {"logo": mount_uploader(LogoUploader), "logo_tmp": CacheField()}
    fields[column].null = False

    with pytest.raises(TypeError, match=rf"Required\.{column} has null=False.*record\.logo\.file"):
        type("Required", (Base,), fields)


def test_a_model_without_a_key_is_refused(application: Application):
    with pytest.raises(TypeError, match="needs a primary key"):

        class Keyless(Base):
            logo = mount_uploader(LogoUploader)

            class Meta:
                primary_key = False
