"""An uploader: the rules for one kind of file, and one record's file under those rules.

The class says what is taken, where it is kept and what versions are made. An instance belongs to
one column of one record: `gif.image` is one.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gifster.jobs import enqueue
from gifster.uploads import imaging
from gifster.uploads.cache import CachedFile, take_in
from gifster.uploads.config import config, storage
from gifster.uploads.imaging.probe import ImageInfo, probe
from gifster.uploads.validation import EXTENSIONS, Limits
from gifster.uploads.versions import versions_of

if TYPE_CHECKING:
    from gifster.uploads.mount import Mount

#: What the names of the folders begin with in which versions are made.
WORK_PREFIX = "gifster-uploads-"


@dataclass(frozen=True)
class StoredVersion:
    """One stored version: its key, and its size in bytes and pixels."""

    key: str
    content_type: str
    bytes: int
    width: int
    height: int


@dataclass(frozen=True)
class ProcessedFile:
    """A file ready to be stored: `original`, or a version by its name."""

    name: str
    path: Path
    info: ImageInfo


@dataclass(frozen=True)
class StoredFile:
    """A stored upload, as the mounted column keeps it. Sizes: bytes, pixels; the duration: ms."""

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

    @property
    def keys(self) -> list[str]:
        """The keys of all its files."""
        return [self.key, *(version.key for version in self.versions.values())]

    def dump(self) -> dict[str, Any]:
        """As a dict that goes into JSON."""
        return asdict(self)

    @classmethod
    def load(cls, data: dict[str, Any]) -> "StoredFile":
        """The reverse of `dump()`."""
        versions = {name: StoredVersion(**item) for name, item in data["versions"].items()}
        return cls(**data | {"versions": versions})


class Uploader(Limits):
    """Rules for one kind of file. Subclass it and change what differs."""

    #: The name of the storage (given to `configure()`) where files stay.
    storage = "store"

    def __init__(self, record: Any, mount: "Mount[Any]") -> None:
        self.record = record
        self.mount = mount
        #: The upload assigned since the record was last saved.
        self.assigned: CachedFile | None = None
        #: Whether the file goes when the record is saved.
        self.removing = False
        self._processed: list[ProcessedFile] = []
        self._storing: StoredFile | None = None

    def store_dir(self) -> str:
        """The first part of the keys of this record's files."""
        return f"{self.record._meta.table_name}/{self.mount.name}/{self.record._pk}"

    # What the record has.

    @property
    def stored(self) -> StoredFile | None:
        """The file that is stored, with its facts."""
        stored: StoredFile | None = self.record.__data__.get(self.mount.name)
        return stored

    def __bool__(self) -> bool:
        return self.stored is not None

    def url(self, version: str | None = None) -> str | None:
        """Where a browser finds the file, or one version of it; None while that is not stored."""
        stored = self.stored
        if stored is None or (version is not None and version not in stored.versions):
            return None
        key = stored.versions[version].key if version else stored.key
        return storage(stored.storage).url(key)

    # What is done with it.

    def assign(self, source: "CachedFile | BinaryIO | Path | bytes", filename: str = "") -> None:
        """Take a new file, which replaces the present one when the record is saved.

        Parameters:
          source: an open file, a path, bytes, or what is in the cache already.
          filename: the name to remember; by default the source's own.

        Raises:
          UploadError: the uploader does not take it.
        """
        if not isinstance(source, CachedFile):
            name = filename or str(getattr(source, "name", "")) or "upload"
            source = take_in(type(self), source, name)
        self.assigned, self.removing = source, False

    def remove(self) -> None:
        """Let the file go when the record is saved."""
        self.assigned, self.removing = None, True

    @property
    def changed(self) -> bool:
        """Whether saving the record has something to do here."""
        return self.assigned is not None or self.removing

    # What the record's `save()` calls, in this order; `Backgrounder` leaves most of it to a worker.

    def prepare(self, resources: ExitStack) -> None:
        """Before the transaction: the slow part that needs no row."""
        if self.assigned is not None:
            self._processed = resources.enter_context(self.process(self.assigned))

    def write(self, before: dict[str, Any]) -> None:
        """In the transaction, before the row is written.

        Parameters:
          before: the columns of the row as it is now, by name; empty for a new one.
        """
        self.discard(before.get(self.mount.name))
        state = {"tmp": None, "processing": False, "state": None, "error": None}
        self.record.__data__.update(self.mount.values(stored=None, **state))

    def written(self) -> None:
        """In the transaction, after the row is written and has an id."""
        if self.assigned is not None:
            self._storing = self.plan(self._processed, self.assigned)
            self.store(self._processed, self._storing)
            values = self.mount.values(stored=self._storing, state="ready")
            type(self.record).update(**values).where(self.record._pk_expr()).execute()
            self.record.__data__.update(values)

    def saved(self) -> None:
        """After the transaction."""
        if self._storing is not None and self.assigned is not None:
            self.assigned.delete()
        self.assigned, self.removing, self._storing = None, False, None

    def undo(self) -> None:
        """After a transaction that failed. What was assigned stays, to be saved again."""
        if self._storing is not None:
            delete_files(self._storing.storage, self._storing.keys)
            self._storing = None

    def discard(self, stored: StoredFile | None) -> None:
        """Have a stored file removed by a worker, once the current transaction has committed.

        A job, so that it happens exactly if the transaction does, also when that is a savepoint.
        """
        if stored is not None:
            enqueue("remove_files", stored.storage, stored.keys, queue=config.queue)

    # Making and storing the files.

    @contextmanager
    def process(self, cached: CachedFile) -> Iterator[list[ProcessedFile]]:
        """Make the versions, in a temporary folder that lasts as long as the `with` block.

        Raises:
          UploadError: it cannot be processed.
        """
        with (
            cached.on_disk() as original,
            tempfile.TemporaryDirectory(prefix=WORK_PREFIX) as folder,
        ):
            files = []
            for name, version in versions_of(type(self)).items():
                target = Path(folder) / name
                imaging.render(original, cached.info, version.recipe(self), target)
                files.append(ProcessedFile(name, target, probe(target)))
            yield [*files, ProcessedFile("original", original, cached.info)]

    def folder(self, cached: CachedFile) -> str:
        """What the keys of an upload begin with."""
        return f"{self.store_dir()}/{hashlib.sha256(cached.key.encode()).hexdigest()[:16]}"

    def plan(self, files: list[ProcessedFile], cached: CachedFile) -> StoredFile:
        """What storing the processed files will come to.

        The keys follow from the cached file alone: no other upload has them, and storing the same
        upload once more, after a crash, writes the same ones.
        """
        folder = self.folder(cached)
        versions = {
            file.name: StoredVersion(
                key=f"{folder}/{file.name}.{EXTENSIONS[file.info.content_type]}",
                content_type=file.info.content_type,
                bytes=file.path.stat().st_size,
                width=file.info.width,
                height=file.info.height,
            )
            for file in files
        }
        return StoredFile(
            storage=self.storage,
            key=versions.pop("original").key,
            filename=cached.filename,
            sha256=cached.sha256,
            versions=versions,
            bytes=cached.bytes,
            **asdict(cached.info),
        )

    def store(self, files: list[ProcessedFile], stored: StoredFile) -> None:
        """Store the processed files as planned."""
        keys = {name: version.key for name, version in stored.versions.items()}
        for file in files:
            key = keys.get(file.name, stored.key)
            storage(self.storage).upload(file.path, key, file.info.content_type)


def delete_files(storage_name: str, keys: Iterable[str]) -> None:
    """Delete files from a storage; no error for one that is gone already."""
    for key in keys:
        storage(storage_name).delete(key)
