"""A stored upload: what the mounted column keeps of it, as JSON."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from gifster.uploads.config import storage

#: Files as storages know them: the name of the storage, and a key.
Files = list[tuple[str, str]]


@dataclass(frozen=True)
class StoredVersion:
    """One stored version: where, and its size in bytes and pixels. `sha256` is empty for one that
    an earlier release stored."""

    storage: str
    key: str
    content_type: str
    bytes: int
    width: int
    height: int
    sha256: str = ""

    def url(self, expires_s: int | None = None) -> str:
        """Where a browser finds it; see `Storage.url`."""
        return storage(self.storage).url(self.key, expires_s)


@dataclass(frozen=True)
class StoredFile:
    """A stored upload, its original first. Sizes: bytes, pixels; the duration: ms.

    `filename` is what the client called it. `color` and `thumbhash` are its placeholder, `dhash` is
    alike for images that look alike (see `imaging.looks`). Of what is no image, all sizes in pixels
    are 0. `source` is the key that it had in the cache, `position` its place in a list-valued
    mount; `unprocessed`: a worker has its versions still to make.
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
        """The same, as the database gives it to the record that it loads."""
        object.__setattr__(self, "_from_row", True)
        return self

    def is_from_row(self) -> bool:
        """Whether it is on its way from the database to a record; said once."""
        was = self._from_row
        object.__setattr__(self, "_from_row", False)
        return was

    def url(self, expires_s: int | None = None) -> str:
        """Where a browser finds the original; see `Storage.url`."""
        return storage(self.storage).url(self.key, expires_s)

    @property
    def files(self) -> Files:
        """All its files."""
        kept = [(version.storage, version.key) for version in self.versions.values()]
        return [(self.storage, self.key), *kept]

    def dump(self) -> dict[str, Any]:
        """As a dict that goes into JSON."""
        return asdict(self)

    @classmethod
    def load(cls, data: dict[str, Any]) -> "StoredFile":
        """The reverse of `dump()`; also of what earlier releases have written. What a later one has
        written cannot be read: it may name files that this one would take for nobody's."""
        versions = {
            name: StoredVersion(**{"storage": data["storage"]} | item)
            for name, item in data["versions"].items()
        }
        return cls(**data | {"versions": versions})


def delete_files(files: Iterable[tuple[str, str]]) -> None:
    """Delete files from their storages; no error for one that is gone already."""
    for name, key in files:
        storage(name).delete(key)
