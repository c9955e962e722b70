"""A stored upload: its facts, which the mounted column has as JSON."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from gifster.uploads.config import storage

#: Stored files: for each the name of its storage, and its key.
Files = list[tuple[str, str]]


@dataclass(frozen=True)
class StoredVersion:
    """One stored version: its place, and its size in bytes and pixels. `sha256` is empty if an
    earlier release stored it."""

    storage: str
    key: str
    content_type: str
    bytes: int
    width: int
    height: int
    sha256: str = ""

    def url(self, expires_s: int | None = None) -> str:
        """The URL for a browser; see `Storage.url`."""
        return storage(self.storage).url(self.key, expires_s)


@dataclass(frozen=True)
class StoredFile:
    """A stored upload: the original's facts, then its versions.

    `bytes`, `width` and `height` (pixels), `frames`, `duration_ms` and `loop` are the original's.
    Files that are not images have 0 pixels. `filename` is the client's name for the file. `color`
    and `thumbhash` are its placeholder, and `dhash` is similar for near duplicates (see
    `imaging.fingerprint`). `source` is the key that the upload had in the cache, `position` its
    place in a list-valued mount. `unprocessed`: a worker has still to make its versions.
    """

    storage: str
    key: str
    filename: str
    content_type: str
    bytes: int
    sha256: str
    width: int
    height: int
    frames: int
    duration_ms: int
    loop: int | None
    versions: dict[str, StoredVersion] = field(default_factory=dict)
    color: str | None = None
    thumbhash: str | None = None
    dhash: str | None = None
    source: str = ""
    position: int = 0
    unprocessed: bool = False

    _from_row: ClassVar[bool] = False

    def from_row(self) -> "StoredFile":
        """This file, marked as one that the database gives to a record being loaded."""
        object.__setattr__(self, "_from_row", True)
        return self

    def is_from_row(self) -> bool:
        """Whether it comes from the database; true once, then false."""
        was = self._from_row
        object.__setattr__(self, "_from_row", False)
        return was

    def url(self, expires_s: int | None = None) -> str:
        """The URL of the original for a browser; see `Storage.url`."""
        return storage(self.storage).url(self.key, expires_s)

    @property
    def files(self) -> Files:
        """All its files, the original first."""
        kept = [(version.storage, version.key) for version in self.versions.values()]
        return [(self.storage, self.key), *kept]

    def dump(self) -> dict[str, Any]:
        """As a dict that goes into JSON."""
        return asdict(self)

    @classmethod
    def load(cls, data: dict[str, Any]) -> "StoredFile":
        """The reverse of `dump()`, also for rows of earlier releases.

        Raises:
          TypeError: a later release wrote it. It may name files that this one would take for
            unknown files.
        """
        versions = {
            name: StoredVersion(**{"storage": data["storage"]} | item)
            for name, item in data["versions"].items()
        }
        return cls(**data | {"versions": versions})


def delete_files(files: Iterable[tuple[str, str]]) -> None:
    """Delete files from their storages; no error for one that is gone already."""
    for name, key in files:
        storage(name).delete(key)
