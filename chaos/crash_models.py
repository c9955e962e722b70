"""The models whose uploads are in hand when a process dies, and the record that an operation is
done to."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import peewee

from gifster.uploads import (
    Backgrounder,
    CacheField,
    CacheListField,
    ErrorField,
    Image,
    ImageInfo,
    ProcessingField,
    StateField,
    Uploader,
    UploadError,
    mount,
    mount_uploader,
    mount_uploaders,
    process,
    process_in_background,
    store_in_background,
    version,
)
from tests import images
from tests.uploads.framework import Base

HEIGHT, WIDTH, EDITED = 90, 120, 30
#: The last one is refused when its versions are to be made.
BROKEN = 7
#: The uploads, which differ in their width.
GIFS = [images.gif((WIDTH + number, HEIGHT), [100, 100]) for number in range(BROKEN + 1)]


def width(number: int) -> int:
    return WIDTH + number


class PlainUploader(Backgrounder, Uploader):
    max_bytes = 1_000_000

    def cache_owner(self) -> str:
        return "ann"

    def before_process(self, info: ImageInfo) -> None:
        if info.width == width(BROKEN):
            raise UploadError("It cannot be processed.")

    @process(original=False)
    def edited(self, image: Image) -> Image:
        wide = getattr(self.record, "wide", 0)
        return image.crop(wide, HEIGHT) if wide else image

    @version
    def small(self, image: Image) -> Image:
        return image.fit(60, 60)

    @version(later=True)
    def large(self, image: Image) -> Image:
        return image.fit(100, 100)


class MovedUploader(PlainUploader):
    move_to_store = True


class MirroredUploader(PlainUploader):
    storage = "mirror"


class LateUploader(PlainUploader):
    """Jobs do everything in the second storage of its mirror."""

    storage = "late"


class CutOffUploader(PlainUploader):
    """The second storage of its mirror is away while the process runs that dies."""

    storage = "cut-off"


UPLOADERS: dict[str, type[Uploader]] = {
    "plain": PlainUploader,
    "moved": MovedUploader,
    "mirrored": MirroredUploader,
    "late": LateUploader,
    "cut-off": CutOffUploader,
}
STORED_LATER, PROCESSED_LATER, AT_ONCE = "stored-later", "processed-later", "at-once"
HOW = (STORED_LATER, PROCESSED_LATER, AT_ONCE)


@dataclass(frozen=True)
class Kind:
    """A model, and what its name says of it."""

    uploader: str
    many: bool
    how: str
    model: Any

    def __str__(self) -> str:
        return f"{self.uploader}-{'list' if self.many else 'one'}-{self.how}"


def _kinds() -> list[Kind]:
    """All kinds. A sweep knows nothing of their tables until `know_only()`."""
    others = dict(mount._models)
    found = list(_each_kind())
    mount._models.clear()
    mount._models.update(others)
    return found


def know_only(kind: Kind) -> None:
    """Have the library know the model of this kind alone."""
    mount._models.clear()
    mount._models[kind.model] = None


def _each_kind() -> Iterator[Kind]:
    for uploader, many, how in itertools.product(UPLOADERS, (False, True), HOW):
        if many and uploader in ("late", "cut-off"):
            continue  # what they add does not depend on it
        yield Kind(uploader, many, how, _model(uploader, many, how))


def _model(uploader: str, many: bool, how: str) -> Any:
    columns: dict[str, Any] = {
        "wide": peewee.IntegerField(default=0),
        "beside": peewee.BooleanField(default=False),
        "file": (mount_uploaders if many else mount_uploader)(UPLOADERS[uploader]),
        "file_state": StateField(),
        "file_error": ErrorField(),
    }
    if how != AT_ONCE:
        columns["file_processing"] = ProcessingField()
    if how == STORED_LATER:
        columns["file_tmp"] = CacheListField() if many else CacheField()
    words = [uploader, "many" if many else "one", how]
    name = "".join(part.title() for word in words for part in word.split("-"))
    model: Any = type(name, (Base,), {"__module__": __name__, "__qualname__": name, **columns})
    if how == STORED_LATER:
        return store_in_background("file")(model)
    return model if how == AT_ONCE else process_in_background("file")(model)


KINDS = _kinds()
#: What a record promises: its files' widths, and whether they are edited; None is no record.
State = tuple[tuple[int, ...], bool] | None


def first_state(kind: Kind) -> State:
    """What a record of a kind promises after `Subject.create()`."""
    return ((width(0), width(1)) if kind.many else (width(0),)), False


class Subject:
    """The record that operations are done to.

    Parameters:
      application: a `tests.uploads.framework.Application`.
    """

    def __init__(self, kind: Kind, application: Any) -> None:
        self.kind, self.model, self.app = kind, kind.model, application

    def gifs(self, *numbers: int) -> Any:
        """Uploads, as they are assigned: a list, or the first."""
        return [GIFS[number] for number in numbers] if self.kind.many else GIFS[numbers[0]]

    def create(self, *, beside: bool = False) -> None:
        """A record with its first files; or another one beside it."""
        record = self.model(beside=beside)
        record.file = self.gifs(0, 1)
        record.save()

    def record(self) -> Any:
        """The record as its row is now; None if there is none."""
        return self.model.select().where(~self.model.beside).first()

    def files(self, record: Any) -> list[Any]:
        """Its files, as an application has them in hand."""
        if self.kind.many:
            return list(record.file)
        return [record.file] if record.file else []

    @property
    def notes(self) -> Any:
        """A file in which a client can keep something between two processes."""
        return self.app.folder / "notes"
