"""Uploaders without a backgrounder, and the sources that can be assigned."""

import io
from pathlib import Path

import peewee
import pytest

from gifster.uploads import StateField, errors, mount_uploader
from gifster.uploads.columns.column import mounts_of
from tests import images
from tests.uploads.framework import Application, AvatarUploader, Base, Company, LogoUploader, Person

LOGO = images.still("PNG", (60, 40))


def test_without_a_backgrounder_save_stores_the_file(application: Application):
    company = Company(name="Acme")
    company.logo = LOGO
    company.save()

    saved = Company.get_by_id(company.id)
    assert saved.logo.stored.width == 60
    assert saved.logo.url("small") == f"/files/{saved.logo.stored.versions['small'].key}"
    assert len(application.stored) == 2
    assert application.cached == []
    assert company.logo.url() == saved.logo.url()


def test_a_failed_save_stores_nothing_and_can_be_retried(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    company = Company(name="Acme")
    company.logo = LOGO
    with monkeypatch.context() as patch:
        patch.setattr(type(application.store), "upload", _fail_at("small"))
        with pytest.raises(OSError, match="small"):
            company.save()
    assert application.stored == []
    assert Company.select().count() == 0

    company.save(force_insert=True)
    assert len(application.stored) == 2


def _fail_at(name: str):
    def upload(storage, source: Path, key: str, content_type: str) -> None:
        if name in key:
            raise OSError(f"no room for {name}")

    return upload


def test_a_plain_save_leaves_the_file_alone(application: Application):
    company = Company(name="Acme")
    company.logo = LOGO
    company.save()

    again = Company.get_by_id(company.id)
    again.name = "Other"
    again.save()

    assert Company.get_by_id(company.id).logo.stored == company.logo.stored


def test_saving_a_record_that_has_only_its_file_does_no_harm(application: Application):
    class Picture(Base):
        image = mount_uploader(LogoUploader)

    Picture._meta.database.create_tables([Picture])
    picture = Picture()
    picture.image = LOGO
    picture.save()

    assert Picture.get_by_id(picture.id).save() == 0
    assert Picture.get_by_id(picture.id).image.stored.width == 60


@pytest.mark.parametrize("kind", ["bytes", "file", "path"])
def test_bytes_open_files_and_paths_can_be_assigned(
    application: Application, tmp_path: Path, kind: str
):
    path = tmp_path / "me.png"
    path.write_bytes(LOGO)
    source = {"bytes": LOGO, "file": io.BytesIO(LOGO), "path": path}[kind]

    person = Person()
    person.avatar = source

    assert person.avatar.assigned.bytes == len(LOGO)
    assert person.avatar.assigned.filename == ("me.png" if kind == "path" else "upload")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", errors.EmptyFile),
        (b"Hello" * 9, errors.TypeNotAllowed),
        (LOGO + bytes(1_000_000), errors.TooLarge),
        (LOGO[:-30], errors.Truncated),
        (b"\0\0\0\x10ftypmif3avif\0\0\0\x20mini" + bytes(24), errors.Unsupported),
        (images.huge_header(), errors.TooManyPixels),
        (images.gif((90, 30), [20] * 21), errors.TooManyFrames),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_refused_file_leaves_nothing(
    application: Application,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    error: type[errors.UploadError],
):
    monkeypatch.setattr(AvatarUploader, "max_frames", 20)
    person = Person()

    with pytest.raises(error):
        person.avatar = content

    assert application.cached == []
    assert not person.avatar.changed


def test_a_column_can_be_mounted_on_a_model_in_use():
    class Shop(Base):
        name = peewee.TextField(default="")

    assert mounts_of(Shop) == []

    Shop._meta.add_field("logo", mount_uploader(LogoUploader))

    assert mounts_of(Shop) == [Shop.logo]
    assert Shop.logo.columns == ["logo"]
    Shop._meta.add_field("logo_state", StateField())
    assert Shop.logo.columns == ["logo", "logo_state"]
