"""Primary keys, as jobs and storage keys have them: of any type that one column can have."""

import hashlib
import re
import uuid
from typing import Any

import peewee

#: What may stand in a storage key as it is; at most so many characters.
_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_MOST = 100


def to_job(record: Any) -> Any:
    """A record's primary key as a job's argument, which goes into JSON: a number, or a text."""
    pk = record._pk
    if isinstance(pk, (bytes, bytearray, memoryview)):
        return bytes(pk).hex()
    if isinstance(pk, uuid.UUID):
        return pk.hex
    value = _own(record._meta.primary_key).db_value(pk)
    return value if isinstance(value, (int, float, str)) else str(pk)


def from_job(model: Any, value: Any) -> Any:
    """The primary key that `to_job()` made an argument of."""
    field = _own(model._meta.primary_key)
    if isinstance(value, str) and isinstance(field, peewee.BlobField):
        content = bytes.fromhex(value)
        return uuid.UUID(bytes=content) if isinstance(field, peewee.BinaryUUIDField) else content
    return field.python_value(value)


def segment(record: Any) -> str:
    """A record's primary key as one segment of a storage key: as it is, where it has only what may
    stand there; else what can be read of it, and a hash."""
    text = str(to_job(record))
    if len(text) <= _MOST and _SAFE.fullmatch(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", text[: _MOST - 17]).strip("-")
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:16]}".lstrip("-")


def _own(field: Any) -> Any:
    """The field that says what a foreign key's values are."""
    while isinstance(field, peewee.ForeignKeyField):
        field = field.rel_field
    return field
