"""A stored upload: its facts, which the mounted column has as JSON."""

import functools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from gifster.uploads.config import storage
from gifster.uploads.files.access import delete_file
from gifster.uploads.files.extraction import without_empty_metadata
from gifster.uploads.files.kept_file import KeptFile
from gifster.uploads.storage.shapes import folder_of

#: Stored files: for each the name of its storage, and its key.
Files = list[tuple[str, str]]


@dataclass(frozen=True)
class StoredVersion(KeptFile):
    """One stored version.

    Attributes:
      storage, key: the name of its storage, and its key there.
      content_type: such as `image/webp`.
      bytes: its size.
      width, height: in pixels; 0 if it is not an image.
      sha256: of its content, in hexadecimal; empty if an earlier release stored it.
    """

    storage: str
    key: str
    content_type: str
    bytes: int
    width: int
    height: int
    sha256: str = ""

    def url(self, expires_s: int | None = None, **options: Any) -> str:
        """The URL for a browser; see `Storage.url`."""
        return storage(self.storage).url(self.key, expires_s, **options)

    def as_json(self) -> dict[str, Any]:
        """What others may know of it, for JSON: its URL, type and size."""
        names = ("content_type", "bytes", "width", "height")
        return {"url": self.url()} | {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        return self.url()


@dataclass(frozen=True)
class StoredFile(KeptFile):
    """A stored upload: the original's facts, then its versions.

    Attributes:
      storage, key: the name of the original's storage, and its key there.
      filename: the client's name for the file, cleaned; only a label.
      content_type: the original's, such as `image/gif`.
      bytes: its size.
      sha256: of its content, in hexadecimal.
      width, height: in pixels, of the picture turned upright; 0 for a file that is not an image.
      frames: the number of frames; 1 for a still.
      duration_ms: the duration of one pass of an animation.
      loop: how often it plays, 0 for forever; None if the file does not tell.
      versions: by name.
      color: the dominant colour, `#rrggbb`; None if there is none.
      thumbhash: its ThumbHash in base64 (see `uploads.placeholder`).
      dhash: similar for near duplicates, 16 hexadecimal digits (see `imaging.fingerprint`).
      source: the key that the upload had in the cache.
      position: its place in a list-valued column.
      unprocessed: whether a worker has still to make its versions.
      metadata: the facts that its uploader declares (see `extraction`).
      has_sound: whether it is a video with sound, which no version has.
      steps: a digest of the steps with which its versions begin (`process(original=False)`), as
        they were when these were made; empty for none.
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
    metadata: dict[str, Any] = field(default_factory=dict)
    has_sound: bool = False
    steps: str = ""

    _from_row: ClassVar[bool] = False
    _notes: ClassVar[dict[Any, Any] | None] = None

    def from_row(self) -> "StoredFile":
        """This file, marked as one that the database gives to a record being loaded."""
        object.__setattr__(self, "_from_row", True)
        return self

    def is_from_row(self) -> bool:
        """Whether it comes from the database; true once, then false."""
        was = self._from_row
        object.__setattr__(self, "_from_row", False)
        return was

    def url(self, expires_s: int | None = None, **options: Any) -> str:
        """The URL of the original for a browser; see `Storage.url`."""
        return storage(self.storage).url(self.key, expires_s, **options)

    @property
    def identifier(self) -> str:
        """A name for the upload that differs from those of all others, for forms: 16 hexadecimal
        digits. It stays when the file is stored, processed or moved in a list."""
        return folder_of(self.source or self.key)

    def as_json(self) -> dict[str, Any]:
        """What others may know of it, for JSON: its URL and its facts, and the same of each
        version. Keys and names of storages are not among them."""
        names = ("filename", "content_type", "bytes", "width", "height", "frames", "duration_ms")
        facts = {name: getattr(self, name) for name in (*names, "loop")}
        versions = {name: version.as_json() for name, version in self.versions.items()}
        return {"url": self.url(), **facts, "versions": versions}

    def __str__(self) -> str:
        return self.url()

    @property
    def notes(self) -> dict[Any, Any]:
        """A place to keep what was made of the facts, such as their JSON. All that are loaded from
        the same text share it, for as long as `loads()` remembers the text. So it may be empty each
        time, and nothing in it may be changed."""
        return {} if self._notes is None else self._notes

    @property
    def files(self) -> Files:
        """All its files, the original first."""
        kept = [(version.storage, version.key) for version in self.versions.values()]
        return [(self.storage, self.key), *kept]

    def dump(self) -> dict[str, Any]:
        """As a dict that goes into JSON."""
        facts = without_empty_metadata(asdict(self))
        if not self.has_sound:  # a fact of videos alone, which earlier releases do not know
            del facts["has_sound"]
        if not self.steps:
            del facts["steps"]
        return facts

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

    @classmethod
    def loads(cls, text: str) -> "StoredFile":
        """The reverse of `json.dumps(stored.dump())`. Pages and lists read the same texts again and
        again, so the last ones are not parsed anew.

        Raises:
          TypeError: as `load()`.
        """
        known = _load(text)
        if known.metadata:  # may have anything, which somebody may change
            return cls.load(json.loads(text))
        copied = object.__new__(cls)
        copied.__dict__.update(known.__dict__)
        copied.__dict__.update(versions=dict(known.versions), metadata={})
        return copied


@functools.lru_cache(256)
def _load(text: str) -> StoredFile:
    stored = StoredFile.load(json.loads(text))
    object.__setattr__(stored, "_notes", {})
    return stored


def delete_files(files: Iterable[tuple[str, str]]) -> None:
    """Delete files from their storages; no error for one that is gone already."""
    for name, key in files:
        delete_file(name, key)
