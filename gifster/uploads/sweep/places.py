"""The storages, told apart by where they keep their files: two names can mean one folder, and one
folder can lie within another."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gifster.uploads.storage.base import Listing, Storage


@dataclass
class Place:
    """Where a storage keeps files, under one name or several."""

    number: int
    #: The first of its names, and the storage of that name.
    name: str
    storage: Storage
    #: Together with a key, the full name of a file.
    prefix: str
    #: Files that were last written after this moment, by the storage's clock, are left alone
    #: (seconds since the epoch).
    before: float = 0.0
    #: The number of its files; None if it could not be listed.
    files: int | None = None

    @property
    def listing(self) -> Listing | None:
        """The storage, if it can list its files."""
        return self.storage if isinstance(self.storage, Listing) else None

    def key(self, name: str) -> str:
        """The key of a full name."""
        return name[len(self.prefix) :]


class Places:
    """The places of all storages that `configure()` was given."""

    def __init__(self, storages: Mapping[str, Storage]) -> None:
        self.names = list(storages)
        self._of: dict[str, Place] = {}
        found: dict[str, Place] = {}
        for name, storage in storages.items():
            prefix = getattr(storage, "place", None) or f"{type(storage).__name__} {id(storage)}:"
            place = Place(len(found), name, storage, prefix)
            self._of[name] = found.setdefault(prefix, place)
        self._all = list(found.values())

    def __iter__(self) -> Iterator[Place]:
        return iter(self._all)

    def of(self, name: str) -> Place | None:
        """The place of a storage, by its name."""
        return self._of.get(name)

    def numbered(self, name: str) -> tuple[int, Place] | None:
        """The number of a storage's name, and its place."""
        return (self.names.index(name), self._of[name]) if name in self._of else None
