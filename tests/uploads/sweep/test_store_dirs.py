"""How the sweep learns from `store_dir()` which keys are an uploader's own."""

import peewee

from gifster.uploads import (
    Backgrounder,
    CacheField,
    Uploader,
    mount_uploader,
    store_in_background,
)
from gifster.uploads.testing import keep
from tests.uploads.framework import Application, Base
from tests.uploads.sweep.scene import (
    FOLDER,
    GIF,
    orphan,
    reasons,
    sweep_old,
)


def test_a_store_dir_that_raises_does_not_stop_the_rest(application: Application):
    class ByOwner(Backgrounder, Uploader):
        broken = False

        def store_dir(self) -> str:
            if self.broken:
                raise KeyError("owner")
            return f"scans/{self.record.owner}/{self.record.id}"

    @store_in_background("scan")
    class Scan(Base):
        owner = peewee.CharField()
        scan = mount_uploader(ByOwner)
        scan_tmp = CacheField()

        class Meta:
            table_name = "sweep_scan"

    application.create_tables(Scan)
    scan = Scan(owner="Ann")
    scan.scan = GIF
    scan.save()
    lost = f"scans/Ann/7/{FOLDER}/original.gif"
    keep(application.store, lost, GIF)
    mine = orphan(application)
    ByOwner.broken = True

    found = sweep_old()

    assert found.orphans == [f"store:{mine}"]
    assert application.stored == [lost]
    assert len(application.cached) == 1
    assert "ByOwner" in reasons(found)
    assert "store_prefix" in reasons(found)


def test_a_store_dir_that_reads_other_columns_needs_a_prefix(application: Application):
    class ByOwner(Uploader):
        def store_dir(self) -> str:
            return f"plans/{self.record.owner}/{self.record.id}"

    class Plan(Base):
        owner = peewee.CharField()
        plan = mount_uploader(ByOwner)

        class Meta:
            table_name = "sweep_plan"

    application.create_tables(Plan)
    plan = Plan(owner="Ann")
    plan.plan = GIF
    plan.save()
    named = application.stored
    lost = f"plans/Bob/7/{FOLDER}/original.gif"
    keep(application.store, lost, GIF)

    found = sweep_old()
    assert found.orphans == []
    assert "ByOwner.store_dir() reads owner" in reasons(found)

    # When the uploader names its keys
    ByOwner.store_prefix = "plans"
    assert sweep_old().orphans == [f"store:{lost}"]
    assert application.stored == named


def test_store_dirs_are_worked_out_from_sample_primary_keys(application: Application):
    class Sharded(Uploader):
        def store_dir(self) -> str:
            return f"shots/{self.record.id % 100:02d}/shot-{self.record.id}"

    class Shot(Base):
        shot = mount_uploader(Sharded)

        class Meta:
            table_name = "sweep_shot"

    class Alike(Uploader):
        def store_dir(self) -> str:
            return "all"

    class Thing(Base):
        thing = mount_uploader(Alike)

        class Meta:
            table_name = "sweep_thing"

    application.create_tables(Shot, Thing)
    lost, other = f"shots/07/shot-7/{FOLDER}/original.gif", f"shots/7/{FOLDER}/original.gif"
    mixed = f"all/{FOLDER}/original.gif"
    for key in (lost, other, mixed):
        keep(application.store, key, GIF)

    found = sweep_old()

    assert found.orphans == [f"store:{lost}"]
    assert application.stored == [mixed, other]
    assert "Alike.store_dir() says nothing of the primary key" in reasons(found)
