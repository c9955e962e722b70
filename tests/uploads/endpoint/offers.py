"""What the endpoint's tests upload, and the records that take it."""

from typing import Any

import peewee

from gifster.uploads import (
    Backgrounder,
    CacheField,
    Uploader,
    mount_uploader,
    mount_uploaders,
    store_in_background,
)
from gifster.uploads.columns.fields import CacheListField
from tests import images
from tests.uploads.framework import Base

GIF = images.gif((300, 200))


class PhotoUploader(Backgrounder, Uploader):
    max_bytes = 1_000_000

    def cache_owner(self) -> str:
        return self.record.owner


@store_in_background("photo")
class Offer(Base):
    owner = peewee.CharField(default="ann")
    photo = mount_uploader(PhotoUploader)
    photo_tmp = CacheField()


@store_in_background("photos")
class Offers(Base):
    owner = peewee.CharField(default="ann")
    photos = mount_uploaders(PhotoUploader)
    photos_tmp = CacheListField()


def ann(about: dict[str, Any]) -> str:
    """What an application says of every request: it is Ann's."""
    return "ann"


def form(content: bytes, name: str = "file", filename: str = "cat.gif") -> dict[str, Any]:
    """A form as Uppy sends it: with the file, and a field beside it."""
    return {"files": {name: (filename, content)}, "data": {"relativePath": "null"}}
