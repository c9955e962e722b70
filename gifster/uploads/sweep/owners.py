"""Whose a stored file is: each mounted column, with the keys that are its own.

They are worked out from the uploader's `store_dir()`, of records that have nothing but a primary
key: what is the same for all of them must be there, what differs may be anything. An uploader whose
`store_dir()` says more than that has to name what is its own, in `store_prefix`.
"""

import re
import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import takewhile
from typing import Any

import peewee

from gifster.uploads.column import UploadColumn
from gifster.uploads.versions import versions_of

_DIGITS = "1234"


class Unclear(Exception):
    """Which keys are an uploader's own cannot be told; says why."""


class Owner:
    """A mounted column, as an owner of files."""

    def __init__(self, mount: UploadColumn[Any]) -> None:
        self.mount = mount
        self.table: str = mount.model._meta.table_name
        #: The names of the storages that its files go to, and of those that its rows name.
        self.declared: set[str] = {mount.uploader.storage, *_storages_of_versions(mount.uploader)}
        self.named: set[str] = set()
        #: Why its rows are not known; empty if all of them have been read.
        self.unread = "has not been read"
        #: Whether that hides what the cache keeps.
        self.hides_cache = False
        self.unclear = ""
        self._own: re.Pattern[str] | None = None

    @property
    def cache(self) -> tuple[str, str]:
        """Where its uploads wait: a storage's name, and what the keys begin with there."""
        folder = self.mount.uploader.cache_dir.strip("/")
        return self.mount.uploader.cache, f"{folder}/" if folder else ""

    @property
    def storages(self) -> set[str]:
        """The names of all storages that its files may be in."""
        return self.declared | self.named

    def learn(self) -> None:
        """Work out which keys are its own."""
        try:
            self._own = own_dirs(self.mount)
        except Unclear as reason:
            self.unclear = str(reason)

    def may_own(self, store_dir: str) -> bool:
        """Whether it may have stored files with a `store_dir()` like this."""
        return self._own is not None and self._own.fullmatch(store_dir) is not None

    def __str__(self) -> str:
        return f"{self.table}.{self.mount.name}"


def _storages_of_versions(uploader: type) -> set[str]:
    try:
        return {version.storage for version in versions_of(uploader).values() if version.storage}
    except TypeError:  # an uploader that cannot work stops nobody else's sweep
        return set()


def own_dirs(mount: UploadColumn[Any]) -> re.Pattern[str]:
    """A pattern of what `store_dir()` returns for the records of a mounted column.

    Raises:
      Unclear
    """
    name = mount.uploader.__name__
    prefix = (mount.uploader.store_prefix or "").strip("/")
    if prefix:
        return re.compile(f"{re.escape(prefix)}(?:/.+)?")
    remedy = f"; set {name}.store_prefix, which no other uploader may share"
    try:
        dirs = [_store_dir(mount, pk) for pk in sample_keys(mount.model._meta.primary_key)]
    except Unclear as reason:
        raise Unclear(f"{name}.store_dir() {reason}{remedy}") from None
    except Exception as error:
        raise Unclear(
            f"{name}.store_dir() raised {error!r} for a record with nothing but a primary key"
            f"{remedy}"
        ) from error
    parts = [store_dir.split("/") for store_dir in dirs]
    if len({len(part) for part in parts}) > 1:
        raise Unclear(f"{name}.store_dir() is not equally deep for all records{remedy}")
    segments = list(zip(*parts, strict=True))
    differ = [len(set(segment)) > 1 for segment in segments]
    if not any(differ):
        raise Unclear(f"{name}.store_dir() says nothing of the primary key{remedy}")
    if all(differ):
        raise Unclear(f"{name}.store_dir() says nothing but the primary key{remedy}")
    return re.compile("/".join(_alike(segment) for segment in segments))


def _alike(texts: Sequence[str]) -> str:
    """A pattern of a segment: how all of them begin and end, and anything between."""
    if len(set(texts)) == 1:
        return re.escape(texts[0])
    begin = _beginning(texts)
    end = _beginning([text[len(begin) :][::-1] for text in texts])[::-1]
    return f"{re.escape(begin)}[^/]+{re.escape(end)}"


def _beginning(texts: Sequence[str]) -> str:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in same)


class _Watched(dict[str, Any]):
    """The values of a record that has only some, which notes what else is asked for."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.asked: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self.asked.append(name)
        return super().get(name, default)

    def __missing__(self, name: str) -> Any:
        self.asked.append(name)
        raise KeyError(name)


def _store_dir(mount: UploadColumn[Any], pk: Any) -> str:
    values = _Watched({mount.model._meta.primary_key.name: pk})
    uploader = mount.uploader(bare_record(mount.model, values), mount)
    try:
        store_dir: str = uploader.store_dir()
    finally:
        if values.asked:
            raise Unclear(f"reads {values.asked[0]}, beside the primary key")
    return store_dir


def bare_record(model: Any, values: dict[str, Any]) -> Any:
    """A record with these values and no others; no code of the model is run."""
    record = model.__new__(model)
    record.__data__, record.__rel__, record._dirty = values, {}, set()
    return record


def sample_keys(field: Any) -> list[Any]:
    """Primary keys that have nothing in common.

    Raises:
      Unclear: the model has none, or several columns of them.
    """
    if not isinstance(field, peewee.Field):
        raise Unclear("cannot be asked: the model has no single primary key")
    while isinstance(field, peewee.ForeignKeyField):
        field = field.rel_field
    return next((keys for kind, keys in _SAMPLES.items() if isinstance(field, kind)), _TEXTS)


_TEXTS: list[Any] = [letter * 12 for letter in "abcd"]
# Four of each kind: a key that cannot stand in a storage key ends with a hash, and of two hashes
# one in 16 ends as the other does. No place has one digit in all four.
_MOMENTS = [datetime(int(d * 4), *rest) for d, rest in zip(_DIGITS, [
    (11, 11, 11, 11, 11, 111111), (2, 22, 22, 22, 22, 222222),
    (3, 3, 3, 33, 33, 333333), (4, 4, 4, 44, 44, 444444),
], strict=True)]  # fmt: skip
_SAMPLES: dict[Any, list[Any]] = {
    peewee.IntegerField: [int(d * 10) for d in _DIGITS],
    peewee.UUIDField: [uuid.UUID(d * 32) for d in _DIGITS],
    peewee.BinaryUUIDField: [uuid.UUID(d * 32) for d in _DIGITS],
    peewee.BlobField: [bytes.fromhex(d * 24) for d in _DIGITS],
    peewee.DateTimeField: _MOMENTS,
    peewee.DateField: [moment.date() for moment in _MOMENTS],
    peewee.TimeField: [moment.time() for moment in _MOMENTS],
    peewee.DecimalField: [Decimal(f"{d * 4}.{d * 2}") for d in _DIGITS],
    peewee.FloatField: [float(f"{d * 4}.{d * 2}") for d in _DIGITS],
}
