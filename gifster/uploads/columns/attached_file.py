"""The file that a record has in a mounted column: to show it, to read it, and to put it into JSON.

`Uploader` inherits from it, and adds the rules for the file and what changes it.
"""

from typing import Any, BinaryIO

from gifster.uploads.columns.column import UploadColumn
from gifster.uploads.columns.record import Slot
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.stored import StoredFile
from gifster.uploads.files.uploader_version import UploaderVersion
from gifster.uploads.versions.declaring import check_versions, versions_of


class AttachedFile:
    """The file of a record in one column. The names are CarrierWave's."""

    __slots__ = ()

    record: Any
    mount: UploadColumn[Any]
    item: CachedFile | StoredFile | None
    slot: Slot

    # What the record has in this column.

    @property
    def assigned(self) -> CachedFile | None:
        """The upload that was assigned since the record was last saved; None if there is none."""
        return self.slot.assigned

    @property
    def removing(self) -> bool:
        """Whether the next save detaches the file."""
        return self.slot.removing

    @property
    def stored(self) -> StoredFile | None:
        """The stored file, with its facts; None if nothing is stored."""
        if self.mount.many:
            return self.item if isinstance(self.item, StoredFile) else None
        stored: StoredFile | None = self.record.__data__.get(self.mount.name)
        return stored

    @property
    def cached(self) -> CachedFile | None:
        """The upload that waits for a worker to store it; None if there is none."""
        if self.mount.many:
            return self.item if isinstance(self.item, CachedFile) else None
        cached: CachedFile | None = self.record.__data__.get(f"{self.mount.name}_tmp")
        return cached

    @property
    def changed(self) -> bool:
        """Whether the next save has to change this column (CarrierWave's `avatar_changed?`)."""
        return self.assigned is not None or self.removing

    @property
    def file(self) -> CachedFile | StoredFile | None:
        """The file to read: the one that was assigned since the last save; else the stored one;
        else the one that waits for a worker, as it was sent. None if there is none, or if the next
        save detaches it."""
        return None if self.removing else self.assigned or self.stored or self.cached

    @property
    def metadata(self) -> dict[str, Any]:
        """The facts of `file` that the uploader declares (see `extraction`); empty without one."""
        return {} if self.file is None else self.file.metadata

    @property
    def identifier(self) -> str | None:
        """A name for the upload, for forms (16 hexadecimal digits). It stays when a worker stores
        the file, and when a list gets another order. None if there is no file: never for one that
        is in a list (see `identifiers` of the list)."""
        return None if self.file is None else self.file.identifier

    def __bool__(self) -> bool:
        return self.stored is not None

    # To show it.

    def default_url(self, version: str | None) -> str | None:
        """The URL that `url()` returns while the file or version does not exist."""
        return None

    def url(
        self, version: str | None = None, expires_s: int | None = None, **options: Any
    ) -> str | None:
        """The URL of the file, or of one of its versions, for a browser.

        Parameters:
          version: the version's name; None for the original.
          expires_s: for how many seconds a signed URL is valid; None leaves it to the storage.
          options: of the storage's `url()`, such as S3's `ResponseContentDisposition`.

        Returns:
          the URL; `default_url()` while there is no such file or version.

        Raises:
          LookupError: the uploader has no version of that name, and no such file is stored.
        """
        stored = self.stored
        if version is not None and (stored is None or version not in stored.versions):
            check_versions(type(self), [version])
        if stored is None or (version is not None and version not in stored.versions):
            return self.default_url(version)
        file = stored.versions[version] if version is not None else stored
        return file.url(expires_s, **options)

    @property
    def versions(self) -> dict[str, UploaderVersion]:
        """The versions that the uploader declares, by name, stored or not. Each is an attribute,
        too: `user.avatar.thumb`."""
        return {name: UploaderVersion(self, name) for name in versions_of(type(self))}

    # To read it.

    def open(self) -> BinaryIO:
        """The content of `file` as an open binary file, at its first byte. Close it, or use `with`.

        A file that is open can be read to its end, even if a worker replaces it meanwhile.

        Raises:
          FileNotFoundError: there is no file, or it was replaced or removed since the record was
            loaded.
          StorageUnavailable, OSError: the storage cannot be used now.
        """
        if self.file is None:
            raise FileNotFoundError(f"{self!r}: there is no file to open")
        return self.file.open()

    def read(self) -> bytes | None:
        """The whole content of `file`, in memory; None if there is no file. Otherwise it raises
        what `open()` raises."""
        return None if self.file is None else self.file.read()

    @property
    def size(self) -> int:
        """The size of `file` in bytes; 0 if there is no file."""
        return 0 if self.file is None else self.file.bytes

    @property
    def content_type(self) -> str | None:
        """The type of `file` by its content, such as `image/gif`; None if there is no file."""
        return None if self.file is None else self.file.content_type

    def as_json(self) -> dict[str, Any]:
        """What others may know of the stored file, for JSON (CarrierWave's `serializable_hash`).

        Returns:
          `url` and, once it is stored, `filename`, `content_type`, `bytes`, `width`, `height`,
          `frames`, `duration_ms` and `loop`; and `versions`, by name, with the first of these.
        """
        stored = self.stored
        facts: dict[str, Any] = {"url": self.url()} if stored is None else stored.as_json()
        declared = {name: version.as_json() for name, version in self.versions.items()}
        return facts | {"versions": facts.get("versions", {}) | declared}

    def __str__(self) -> str:
        return self.url() or ""

    def __repr__(self) -> str:
        file = self.file
        facts = f"{file.filename!r}, {file.content_type}, {file.bytes} bytes" if file else "no file"
        owner = f"{type(self.record).__name__} {self.record._pk!r}"
        return f"<{type(self).__name__} of {owner}.{self.mount.name}: {facts}>"


def json_default(value: object) -> Any:
    """A file as JSON, for `json.dumps(data, default=uploads.json_default)`.

    It knows all that has an `as_json()`: uploaders, lists of them, versions, and what Peewee's
    `model_to_dict()` finds in mounted columns and their companions.

    Raises:
      TypeError: it is something else.
    """
    as_json = getattr(value, "as_json", None)
    if as_json is None:
        raise TypeError(f"an object of type {type(value).__name__} cannot be put into JSON")
    return as_json()
