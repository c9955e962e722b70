"""The storages, told apart by where they keep their files: two names can mean one folder, and one
folder can lie within another."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gifster.uploads.mirror import MirrorStorage, mirrors_of
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
    #: The storages of all its names. A mirror among them has copies of its files.
    storages: list[Storage] = field(default_factory=list)

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
            prefix = _prefix_of(storage)
            place = Place(len(found), name, storage, prefix)
            self._of[name] = place = found.setdefault(prefix, place)
            place.storages.append(storage)
        self._all = list(found.values())
        self._mirrors = [_within(kept, found) for kept in storages.values()]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._all)

    def of(self, name: str) -> Place | None:
        """The place of a storage, by its name."""
        return self._of.get(name)

    def copies_of(self, name: str) -> list[Place]:
        """Other places that may have copies of a storage's files, by its name: those of a mirror
        that it is, or is a part of, if they have names of their own."""
        own = self._of.get(name)
        groups = [group for group in self._mirrors if own in group]
        return [place for group in groups for place in group if place is not own]

    def numbered(self, name: str) -> tuple[int, Place] | None:
        """The number of a storage's name, and its place."""
        return (self.names.index(name), self._of[name]) if name in self._of else None


def _within(storage: Storage, places: Mapping[str, Place]) -> list[Place]:
    """The places of a storage, and of those that it consists of."""
    if isinstance(storage, MirrorStorage):
        return [*_within(storage.first, places), *_within(storage.second, places)]
    own = places.get(_prefix_of(storage))
    return [] if own is None else [own]


def _prefix_of(storage: Storage) -> str:
    storage, _ = mirrors_of([storage])
    return getattr(storage, "place", None) or f"{type(storage).__name__} {id(storage)}:"
