"""One version of a record's file: what `user.avatar.thumb` is."""

from typing import Any, BinaryIO

from gifster.uploads.files.stored import StoredVersion


class UploaderVersion:
    """One version of a record's file (CarrierWave's `user.avatar.thumb`).

    It is false while the version is not stored. Then `url()` is the uploader's `default_url()`.
    """

    def __init__(self, uploader: Any, name: str) -> None:
        self.uploader, self.name = uploader, name

    @property
    def stored(self) -> StoredVersion | None:
        """The stored version, with its facts; None if it is not stored."""
        stored = self.uploader.stored
        found: StoredVersion | None = None if stored is None else stored.versions.get(self.name)
        return found

    def __bool__(self) -> bool:
        return self.stored is not None

    def url(self, expires_s: int | None = None) -> str | None:
        """The URL for a browser; see `Uploader.url()`."""
        url: str | None = self.uploader.url(self.name, expires_s)
        return url

    def open(self) -> BinaryIO:
        """The content as an open binary file, at its first byte; see `Uploader.open()`."""
        if self.stored is None:
            raise FileNotFoundError(f"{self!r}: there is no such file now")
        return self.stored.open()

    def read(self) -> bytes | None:
        """The whole content, in memory; None while it is not stored."""
        return None if self.stored is None else self.stored.read()

    @property
    def size(self) -> int:
        """The size in bytes; 0 while it is not stored."""
        return 0 if self.stored is None else self.stored.bytes

    @property
    def content_type(self) -> str | None:
        """The type, such as `image/gif`; None while it is not stored."""
        return None if self.stored is None else self.stored.content_type

    def as_json(self) -> dict[str, Any]:
        """What others may know of it, for JSON; while it is not stored, only its URL."""
        return {"url": self.url()} if self.stored is None else self.stored.as_json()

    def __str__(self) -> str:
        return self.url() or ""

    def __repr__(self) -> str:
        return f"<{self.name} of {self.uploader!r}: {_facts(self.stored)}>"


def _facts(stored: StoredVersion | None) -> str:
    return "not stored" if stored is None else f"{stored.content_type}, {stored.bytes} bytes"
