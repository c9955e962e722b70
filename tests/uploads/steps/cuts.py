"""Films whose versions begin with a step that depends on the record."""

from typing import Any

import peewee
import pytest

from gifster.imaging import Image
from gifster.jobs import transaction
from gifster.uploads import (
    Backgrounder,
    CacheField,
    CacheListField,
    ErrorField,
    ImageInfo,
    ProcessingField,
    StateField,
    Uploader,
    UploadError,
    mount_uploader,
    mount_uploaders,
    process,
    process_in_background,
    store_in_background,
    version,
)
from tests import images
from tests.uploads.framework import Application, Base, fresh

GIF = images.gif(size=(120, 90), durations=[100] * 6)


class ClipUploader(Backgrounder, Uploader):
    @process(original=False)
    def edited(self, image: Image) -> Image:
        return image.crop(self.record.wide, 90) if self.record.wide else image

    @version
    def small(self, image: Image) -> Image:
        return image.fit(60, 60)

    @version(later=True)
    def large(self, image: Image) -> Image:
        return image.fit(100, 100)

    def before_process(self, info: ImageInfo) -> None:
        if self.record.wide == 13:
            raise UploadError("Thirteen is too many.")


@store_in_background("file")
class Cut(Base):
    wide = peewee.IntegerField(default=0)
    file = mount_uploader(ClipUploader)
    file_tmp = CacheField()
    file_processing = ProcessingField()
    file_state = StateField()
    file_error = ErrorField()


@process_in_background("file")
class CutShown(Base):
    wide = peewee.IntegerField(default=0)
    file = mount_uploader(ClipUploader)
    file_processing = ProcessingField()
    file_state = StateField()
    file_error = ErrorField()


@store_in_background("files")
class Reel(Base):
    wide = peewee.IntegerField(default=0)
    files = mount_uploaders(ClipUploader)
    files_tmp = CacheListField()
    files_processing = ProcessingField()
    files_state = StateField()


BOTH = pytest.mark.parametrize("model", [Cut, CutShown])


def clip(model: Any = Cut, wide: int = 0) -> Any:
    record = model(wide=wide)
    record.file = GIF
    record.save()
    return record


def change(record: Any, wide: int) -> Any:
    """What an application does: both in one transaction."""
    record = fresh(record)
    with transaction(record._meta.database):
        record.wide = wide
        record.save()
        return record.file.update_versions()


def sizes(record: Any) -> dict[str, tuple[int, int]]:
    return {
        name: images.size(version.read()) for name, version in fresh(record).file.versions.items()
    }


def check_files(application: Application, *records: Any) -> None:
    """All files that the rows name are there, and no others."""
    named = [key for record in records for _, key in fresh(record).file.stored.files]
    assert sorted(application.stored) == sorted(named)
    assert application.cached == []


EDITED = {"small": (20, 60), "large": (30, 90)}


WHOLE = {"small": (60, 45), "large": (100, 75)}


OTHER = {"small": (60, 60), "large": (90, 90)}
