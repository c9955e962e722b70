"""An application with films, which are uploaded by tus."""

from typing import Any

import peewee

from gifster.uploads import (
    Backgrounder,
    CacheField,
    Uploader,
    mount_uploader,
    store_in_background,
)
from tests import images
from tests.uploads.framework import Base

GIF = images.gif((300, 200))


class FilmUploader(Backgrounder, Uploader):
    max_bytes = 1_000_000

    def cache_owner(self) -> str:
        return self.record.owner


@store_in_background("film")
class Show(Base):
    owner = peewee.CharField(default="ann")
    film = mount_uploader(FilmUploader)
    film_tmp = CacheField()


def who(about: dict[str, Any]) -> str:
    """The person of a request: Ann, unless a header names another."""
    headers = dict(about.get("headers", ()))
    return headers.get(b"x-user", b"").decode() or about.get("HTTP_X_USER", "ann")


def show(told: dict[str, Any]) -> Show:
    """A record that has taken a complete upload."""
    record = Show()
    record.film_cache = told["cache_id"]
    record.save()
    return record
