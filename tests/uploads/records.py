"""Records whose files a test replaces, copies or rolls back. The width of a picture says which of
them a record has."""

from typing import Any

import pytest

from gifster.uploads import CacheListField, StateField, mount_uploaders, store_in_background
from tests import images
from tests.uploads.framework import Application, AvatarUploader, Base, Company, Person, fresh

ONE, TWO, THREE = (images.gif(size=(width, 60)) for width in (80, 90, 100))
#: A model whose files a worker stores, and one that stores them in `save()`; each with its column.
BOTH = pytest.mark.parametrize(("model", "column"), [(Person, "avatar"), (Company, "logo")])


@store_in_background("photos")
class PhotoFolder(Base):
    photos = mount_uploaders(AvatarUploader)
    photos_tmp = CacheListField()
    photos_state = StateField()


class RolledBack(Exception):
    """Stands for a serialization failure or a deadlock."""


def atomic() -> Any:
    return Person._meta.database.atomic()


def fail(*steps: Any) -> None:
    """Do these steps in a transaction that fails at its end."""
    with pytest.raises(RolledBack), atomic():
        for step in steps:
            step()
        raise RolledBack


def stored(application: Application, model: Any, column: str) -> Any:
    """A record whose picture is stored."""
    record = model.create(name="Ann", **{column: ONE})
    application.work()
    return fresh(record)


def width(record: Any, column: str) -> int | None:
    stored = getattr(fresh(record), column).stored
    return stored and stored.width


def widths(record: Any) -> list[int]:
    return [photo.stored.width for photo in fresh(record).photos]


def is_clean(application: Application, *columns: Any) -> bool:
    """Whether the storages have exactly the files of these uploaders."""
    named = [key for uploader in columns for _, key in uploader.stored.files]
    return application.cached == [] and application.stored == sorted(named)
