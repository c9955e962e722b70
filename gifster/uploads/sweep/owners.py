"""Owners of stored files: each mounted column, with the keys that are its own.

The sweep calls the uploader's `store_dir()` for sample records that have nothing but a primary key.
The parts that are the same for all samples must be in a key; the parts that differ may be anything.
An uploader whose `store_dir()` needs more than a primary key must name its keys in `store_prefix`.
"""

import re
import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import takewhile
from typing import Any

import peewee

from gifster.uploads.columns.rows import bare_record
from gifster.uploads.files.keys import table_of
from gifster.uploads.mount import Mount
from gifster.uploads.uploader import Uploader
from gifster.uploads.versions.declaring import versions_of

_DIGITS = "1234"


class Unclear(Exception):
    """The sweep cannot tell which keys are an uploader's own; says why."""


class Owner:
    """A mounted column that owns files."""

    def __init__(self, mount: Mount[Any]) -> None:
        self.mount = mount
        self.table: str = table_of(mount.model)
        #: The names of the storages that its uploader stores into, and of those that its rows name.
        self.declared: set[str] = {mount.uploader.storage, *_storages_of_versions(mount.uploader)}
        self.named: set[str] = set()
        #: Why its rows are unknown; empty once all of them have been read.
        self.unread = "has not been read"
        #: Whether those rows may name cached files.
        self.hides_cache = False
        #: Why its keys are unknown.
        self.unclear = ""
        self._own_dirs: re.Pattern[str] | None = None

    @property
    def cache(self) -> tuple[str, str]:
        """Where its uploads wait: a storage's name, and the beginning of the keys there."""
        folder = self.mount.uploader.cache_dir.strip("/")
        return self.mount.uploader.cache, f"{folder}/" if folder else ""

    @property
    def storages(self) -> set[str]:
        """The names of all storages that may have its files."""
        return self.declared | self.named

    def find_own_dirs(self) -> None:
        """Work out which keys are its own."""
        try:
            self._own_dirs = own_dirs(self.mount)
        except Unclear as reason:
            self.unclear = str(reason)

    def may_own(self, store_dir: str) -> bool:
        """Whether it may have stored files with a `store_dir()` like this."""
        return self._own_dirs is not None and self._own_dirs.fullmatch(store_dir) is not None

    def __str__(self) -> str:
        return f"{self.table}.{self.mount.name}"


def _storages_of_versions(uploader: type[Uploader]) -> set[str]:
    try:
        return {version.storage for version in versions_of(uploader).values() if version.storage}
    except TypeError:  # a broken uploader does not stop the sweep of others
        return set()


def own_dirs(mount: Mount[Any]) -> re.Pattern[str]:
    """A pattern that matches `store_dir()` of every record of a mounted column.

    Raises:
      Unclear
    """
    name = mount.uploader.__name__
    prefix = (mount.uploader.store_prefix or "").strip("/")
    if prefix:
        return re.compile(f"{re.escape(prefix)}(?:/.+)?")
    remedy = f"; set {name}.store_prefix, which no other uploader may share"
    try:
        dirs = [_store_dir(mount, values) for values in _sample_values(mount.model)]
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
    return re.compile("/".join(_pattern(segment) for segment in segments))


def _pattern(texts: Sequence[str]) -> str:
    """A pattern of a segment: the beginning and the end that all texts share, anything between."""
    if len(set(texts)) == 1:
        return re.escape(texts[0])
    beginning = _beginning(texts)
    end = _beginning([text[len(beginning) :][::-1] for text in texts])[::-1]
    return f"{re.escape(beginning)}[^/]+{re.escape(end)}"


def _beginning(texts: Sequence[str]) -> str:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in same)


class _Watched(dict[str, Any]):
    """The values of a sample record. Notes each other column that somebody reads."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.missed: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self.missed.append(name)
        return super().get(name, default)

    def __missing__(self, name: str) -> Any:
        self.missed.append(name)
        raise KeyError(name)


def _sample_values(model: type[peewee.Model]) -> list[dict[str, Any]]:
    """The values of four records that have nothing but a primary key.

    Raises:
      Unclear: the model has no primary key.
    """
    keys = {field.name: sample_keys(field) for field in model._meta.get_primary_keys()}
    if not keys:
        raise Unclear("cannot be asked: the model has no primary key")
    return [dict(zip(keys, values, strict=True)) for values in zip(*keys.values(), strict=True)]


def _store_dir(mount: Mount[Any], key: dict[str, Any]) -> str:
    values = _Watched(key)
    uploader = mount.uploader(bare_record(mount.model, values), mount)
    try:
        store_dir: str = uploader.store_dir() or ""
    finally:
        if values.missed:
            raise Unclear(f"reads {values.missed[0]}, beside the primary key")
    return store_dir


def sample_keys(field: object) -> list[Any]:
    """Four values of a primary key's field, with nothing in common."""
    while isinstance(field, peewee.ForeignKeyField):
        field = field.rel_field
    return next((keys for kind, keys in _SAMPLES.items() if isinstance(field, kind)), _TEXTS)


_TEXTS: list[Any] = [letter * 12 for letter in "abcd"]
# Four of each kind. A primary key that cannot stand in a storage key becomes one with a hash at its
# end, and one hash in 16 ends like another. No two samples have the same digit at the same place.
_MOMENTS = [datetime(int(d * 4), *rest) for d, rest in zip(_DIGITS, [
    (11, 11, 11, 11, 11, 111111), (2, 22, 22, 22, 22, 222222),
    (3, 3, 3, 33, 33, 333333), (4, 4, 4, 44, 44, 444444),
], strict=True)]  # fmt: skip
_SAMPLES: dict[type[peewee.Field], list[Any]] = {
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
