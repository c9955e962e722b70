"""Models whose tables have one name, in several schemas of a database."""

import pytest

from gifster.uploads import CacheField, mount, mount_uploader, store_in_background, sweep
from gifster.uploads.storage.contract import keep
from gifster.uploads.testing import assert_enqueued
from tests.combinations import on_s3
from tests.uploads.framework import Application, AvatarUploader, Base, fresh
from tests.uploads.records import ONE, TWO


@on_s3
def test_tables_of_one_name_in_two_schemas_are_told_apart(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given two tables `paper`, the second of a tenant's schema, each with an upload for row 1
    monkeypatch.setattr(mount, "_models", {})
    application.database.execute_sql("CREATE SCHEMA tenant")

    @store_in_background("avatar")
    class Paper(Base):
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()

    @store_in_background("avatar")
    class TenantsPaper(Base):
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()

        class Meta:
            schema, table_name = "tenant", "paper"

    application.create_tables(Paper, TenantsPaper)
    paper, tenants = Paper.create(avatar=ONE), TenantsPaper.create(avatar=TWO)
    assert_enqueued("store_asset", tenants)

    # When the jobs run, I expect each to store the file of its own table
    application.work()
    assert [fresh(one).avatar.stored.width for one in (paper, tenants)] == [80, 90]

    # When processes sweep that know only one of the tables, I expect them to keep the other's file
    for known in (Paper, TenantsPaper):
        monkeypatch.setattr(mount, "_models", {known: None})
        assert sweep(repair=True, min_age_s=-60).counts()["orphans"] == 0
    assert [fresh(one).avatar.read() for one in (paper, tenants)] == [ONE, TWO]

    # And a job of the release before, which named the table alone, to find the only one it can mean
    assert mount.mount_named("paper", "avatar").model is TenantsPaper

    # but none if there are two
    class OthersPaper(TenantsPaper):
        class Meta:
            schema, table_name = "other", "paper"

    with pytest.raises(LookupError, match="paper"):
        mount.mount_named("paper", "avatar")


@on_s3
def test_a_model_that_names_the_schema_of_its_connection_leaves_no_leftovers(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a model that names the schema in which its connection looks first
    monkeypatch.setattr(mount, "_models", {})

    @store_in_background("avatar")
    class Leaflet(Base):
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()

        class Meta:
            schema = "public"

    application.create_tables(Leaflet)
    leaflet = Leaflet.create(avatar=ONE)
    application.work()
    # And a file that nobody names, beside its stored one
    folder = fresh(leaflet).avatar.stored.key.rpartition("/")[0]
    keep(application.store, f"{folder}/left.png", TWO)

    # When the sweep reads all tables, I expect it not to take this one for a stranger's
    assert sweep(repair=True, min_age_s=-60).counts()["orphans"] == 1
    assert fresh(leaflet).avatar.read() == ONE
