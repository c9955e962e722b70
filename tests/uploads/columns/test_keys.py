"""Models with a primary key of any type."""

import datetime
import uuid
from decimal import Decimal
from typing import Any

import peewee
import pytest

from gifster.jobs import Job
from gifster.uploads import (
    CacheField,
    CacheListField,
    LocalFile,
    StateField,
    metadata,
    mount_uploader,
    mount_uploaders,
    process_in_background,
    recreate_all,
    store_in_background,
    sweep,
)
from gifster.uploads.storage.base import is_key
from gifster.uploads.sweep import contents
from gifster.uploads.sweep.contents import records
from gifster.uploads.testing import assert_enqueued, keep
from tests import databases, images
from tests.combinations import on_s3
from tests.machine import examples
from tests.uploads.framework import Application, AvatarUploader, Base, Person, fresh
from tests.uploads.records import fail

ONE, TWO = images.still("PNG", (80, 60)), images.still("PNG", (90, 60))
ID = uuid.UUID("0c1b2f3e-0000-4000-8000-00000000abcd")


class Moment(peewee.BigIntegerField):
    """A key of the application's own type: a datetime, kept as a number."""

    def db_value(self, value: Any) -> Any:
        return int(value.timestamp()) if isinstance(value, datetime.datetime) else value

    def python_value(self, value: Any) -> Any:
        return datetime.datetime.fromtimestamp(value, datetime.UTC)


KEYS: dict[str, tuple[peewee.Field, list[Any]]] = {
    "a UUID": (peewee.UUIDField(primary_key=True), [ID]),
    "a binary UUID": (peewee.BinaryUUIDField(primary_key=True), [ID]),
    "a date": (peewee.DateField(primary_key=True), [datetime.date(2026, 3, 29)]),
    "a date and a time": (
        peewee.DateTimeField(primary_key=True),
        [datetime.datetime(2026, 3, 29, 2, 30), datetime.datetime(2026, 3, 29, 2, 30, 1, 5)],
    ),
    "a time": (peewee.TimeField(primary_key=True), [datetime.time(0, 5), datetime.time(13, 30)]),
    "a decimal": (peewee.DecimalField(primary_key=True), [Decimal("1.50000"), Decimal("-2.5")]),
    "a number": (peewee.BigIntegerField(primary_key=True), [-5, 0, 2**60]),
    "bytes": (peewee.BlobField(primary_key=True), [b"\x00\xff/..", b"a"]),
    "a text": (
        peewee.CharField(primary_key=True),
        ["ann@example.org", "Zoë", "..", "a/../b", "", "x" * 200, "7"],
    ),
    "a type of the application's": (
        Moment(primary_key=True),
        [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)],
    ),
    "another table's key": (peewee.ForeignKeyField(Person, primary_key=True), [None]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_any_key_of_one_column_works(application: Application, kind: str):
    field, keys = KEYS[kind]
    if isinstance(application.database, peewee.PostgresqlDatabase):
        keys = keys[: examples(1, of=len(keys))]

    @store_in_background("avatar")
    class Keyed(Base):
        id = field.__class__(Person, primary_key=True) if kind.startswith("another") else field
        now = mount_uploader(AvatarUploader)
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()
        avatar_state = StateField()

        class Meta:
            table_name = "keyed_" + "".join(c if c.isalpha() else "_" for c in kind)

    application.create_tables(Keyed)
    made = []
    for key in keys:
        record = Keyed(id=Person.create() if key is None else key, avatar=ONE, now=ONE)
        record.save(force_insert=True)
        assert_enqueued("store_asset", record)
        made.append(record)
    application.work()

    rows = list(Keyed.select())
    assert len(rows) == len(keys)
    for record in made:
        row = Keyed.get(Keyed.id == record._pk)
        assert row.avatar_state == "ready"
        stored = [key for column in (row.avatar, row.now) for _, key in column.stored.files]
        assert all(is_key(key) and key in application.stored for key in stored)
        # When both files are replaced, and the job of one is lost
        row.avatar, row.now = TWO, TWO
        row.save()
        row.now.recreate_versions()
    Job.delete().where(Job.actor == "store_asset").execute()
    # When there is a file that no row names
    for record in made:
        keep(application.store, f"{record.avatar.store_dir()}/0123456789abcdef/original.png", ONE)
    found = sweep(repair=True, min_age_s=-60)
    assert len(found.stuck) == len(found.orphans) == len(keys)
    application.work()
    for row in Keyed.select():
        assert row.avatar.stored.width == row.now.stored.width == 90
        row.delete_instance()
    application.work()
    assert application.cached == application.stored == []


@pytest.fixture
def psycopg2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver that Peewee prefers, as other applications may use it."""
    pytest.importorskip("psycopg2")
    monkeypatch.setattr(databases, "prefer_psycopg3", False)


@on_s3
@pytest.mark.parametrize("kind", ["a UUID", "bytes"])
def test_any_key_works_with_peewees_own_driver(psycopg2: None, application: Application, kind: str):
    test_any_key_of_one_column_works(application, kind)


def test_different_keys_have_different_folders(application: Application):
    class Named(Base):
        id = peewee.CharField(primary_key=True)
        avatar = mount_uploader(AvatarUploader)

    names = ["a@b", "a b", "a-b", "a/b", "ä", "ö", "." * 3, "..", "x" * 150, "x" * 151]
    folders = {Named(id=name).avatar.store_dir() for name in names}
    assert len(folders) == len(names)
    assert all(folder.count("/") == 2 and is_key(folder) for folder in folders)
    assert Named(id="a-b_1.c").avatar.store_dir() == "named/avatar/a-b_1.c"


def test_a_bad_store_dir_is_refused_at_once(application: Application):
    class Careless(AvatarUploader):
        def store_dir(self) -> str:
            return f"people/{self.record.name}"

    @store_in_background("avatar")
    class Careful(Base):
        name = peewee.CharField()
        avatar = mount_uploader(Careless)
        avatar_tmp = CacheField()

    application.create_tables(Careful)
    with pytest.raises(
        ValueError, match=r"Careless\.store_dir\(\) .* 'people/Ann Lee.* uploads.safe_name"
    ):
        Careful.create(name="Ann Lee", avatar=ONE)
    assert Careful.select().count() == 0
    assert application.jobs() == []


@pytest.mark.parametrize("background", [False, True])
def test_a_bad_filename_is_refused_at_once(application: Application, background: bool):
    class Raw(AvatarUploader):
        def filename(self, version: str | None, upload: Any) -> str:
            return version or upload.filename

    class File(Base):
        file = mount_uploader(Raw)
        file_tmp = CacheField()

    if background:
        store_in_background("file")(File)
    application.create_tables(File)
    record = File()
    for name in ("my cat.gif", "ÄÖÜ.gif"):
        record.file.assign(ONE, name)
        with pytest.raises(
            ValueError, match=r"Raw\.store_dir\(\) and filename\(\) make .* uploads.safe_name"
        ):
            record.save()
    assert File.select().count() == 0
    assert application.jobs() == []

    record.file.assign(ONE, "cat.gif")
    record.save()
    application.work()
    assert fresh(record).file.url().endswith("/cat.gif.png")


def test_a_filename_may_read_a_fact_that_the_worker_reads(application: Application):
    class Sized(AvatarUploader):
        @metadata(later=True)
        def size_of_it(self, file: LocalFile) -> int:
            return file.path.stat().st_size

        def filename(self, version: str | None, upload: Any) -> str:
            return f"{version or 'full'}-{upload.metadata['size_of_it']}"

    @store_in_background("file")
    class Later(Base):
        file = mount_uploader(Sized)
        file_tmp = CacheField()

    application.create_tables(Later)
    record = Later.create(file=ONE)
    application.work()
    assert fresh(record).file.url().endswith(f"/full-{len(ONE)}.png")


# Keys of several columns.


class Guest(Base):
    pass


@store_in_background("avatar")
@store_in_background("photos")
class Seat(Base):
    person = peewee.ForeignKeyField(Guest)
    room = peewee.CharField()
    code = peewee.UUIDField(default=lambda: ID)
    name = peewee.CharField(default="")
    now = mount_uploader(AvatarUploader)
    avatar = mount_uploader(AvatarUploader)
    avatar_tmp = CacheField()
    avatar_state = StateField()
    photos = mount_uploaders(AvatarUploader)
    photos_tmp = CacheListField()

    class Meta:
        primary_key = peewee.CompositeKey("person", "room", "code")


@process_in_background("avatar")
class Place(Base):
    row = peewee.IntegerField()
    column = peewee.DateField()
    avatar = mount_uploader(AvatarUploader)

    class Meta:
        primary_key = peewee.CompositeKey("row", "column")


def test_a_key_of_several_columns_works(application: Application):
    application.create_tables(Guest, Seat)
    ann, bob = Guest.create(), Guest.create()
    seats = [
        Seat.create(person=person, room=room, avatar=ONE, now=ONE, photos=[ONE, TWO])
        for person, room in ((ann, "b/c"), (ann, "b-c"), (bob, "b-c"), (bob, ""))
    ]
    assert_enqueued("store_asset", seats[0], 3)
    application.work()

    rows = list(Seat.select())
    assert len(rows) == 4
    assert len({row.avatar.store_dir() for row in rows}) == 4
    for row in rows:
        assert row.avatar_state == "ready"
        assert [photo.stored.width for photo in row.photos] == [80, 90]
        assert row.avatar.read() == row.now.read() == ONE
        # When files are replaced, moved and added, and the jobs are lost
        row.avatar, row.now, row.photos = TWO, TWO, [row.photos[1], row.photos[0]]
        row.save()
        row.now.recreate_versions()
    Job.delete().where(Job.actor == "store_asset").execute()
    for row in rows:
        keep(application.store, f"{row.avatar.store_dir()}/0123456789abcdef/original.png", ONE)
    found = sweep(repair=True, min_age_s=-60)
    assert (len(found.stuck), len(found.orphans), found.left_alone) == (4, 4, [])
    application.work()
    for row in Seat.select():
        assert row.avatar.stored.width == row.now.stored.width == 90
        assert [photo.stored.width for photo in row.photos] == [90, 80]

    assert len(list(recreate_all(Seat.now))) == 4
    assert [row._pk for row in records(Seat.now)] == [
        row._pk for row in Seat.select().order_by(*Seat._meta.get_primary_keys())
    ]
    application.work()
    first = Seat.select().first()
    fail(first.delete_instance)
    assert Seat.select().count() == 4
    ann.delete_instance(recursive=True)
    assert Seat.select().count() == 2
    Seat.delete().execute()
    application.work()
    assert application.cached == application.stored == []


def test_a_key_of_several_columns_is_saved_and_processed(application: Application):
    application.create_tables(Place)
    place = Place(row=-1, column=datetime.date(2026, 3, 29), avatar=ONE)
    with pytest.raises(Place.DoesNotExist, match=r"save\(force_insert=True\)"):
        place.save()
    fail(lambda: place.save(force_insert=True))
    place.save(force_insert=True)
    application.work()

    place = Place.get_by_id((-1, datetime.date(2026, 3, 29)))
    assert place.avatar.thumb.read()
    place.avatar = TWO
    fail(place.save)
    place.save()
    application.work()
    assert Place.get().avatar.stored.width == 90
    assert len(application.stored) == 2

    one = Person.create(avatar=Place.get().avatar)
    application.work()
    Place.get().delete_instance()
    application.work()
    assert Person.get_by_id(one.id).avatar.stored.width == 90
    assert application.cached == []


def test_a_large_batch_of_keys_of_several_columns_is_read_in_order(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(contents, "BATCH", 2)
    application.create_tables(Place)
    for row in (1, 2):
        for day in (1, 2, 3):
            Place.create(row=row, column=datetime.date(2026, 1, day), avatar=ONE)
    found = [(place.row, place.column.day) for place in records(Place.avatar)]
    assert found == [(row, day) for row in (1, 2) for day in (1, 2, 3)]
