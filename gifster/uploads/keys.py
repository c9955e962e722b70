"""Converts primary keys of any type to arguments of jobs and to parts of storage keys."""

import hashlib
import re
import uuid
from typing import Any

import peewee

#: The texts that go into a storage key unchanged, and their maximum length (characters).
_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_MOST = 100


def to_job(record: peewee.Model) -> int | float | str:
    """A record's primary key as a job's argument: a number or a text, for JSON."""
    pk = record.get_id()
    if isinstance(pk, (bytes, bytearray, memoryview)):
        return bytes(pk).hex()
    if isinstance(pk, uuid.UUID):
        return pk.hex
    value = _own(record._meta.primary_key).db_value(pk)
    return value if isinstance(value, (int, float, str)) else str(pk)


def from_job(model: type[peewee.Model], value: int | float | str) -> Any:
    """The primary key from a job's argument; the reverse of `to_job()`."""
    field = _own(model._meta.primary_key)
    if isinstance(value, str) and isinstance(field, peewee.BlobField):
        content = bytes.fromhex(value)
        return uuid.UUID(bytes=content) if isinstance(field, peewee.BinaryUUIDField) else content
    return field.python_value(value)


def segment(record: peewee.Model) -> str:
    """A record's primary key as one segment of a storage key.

    If the primary key is too long or has characters that storage keys cannot have, the segment is
    its readable part and a hash.
    """
    text = str(to_job(record))
    if len(text) <= _MOST and _SAFE.fullmatch(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", text[: _MOST - 17]).strip("-")
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:16]}".lstrip("-")


def _own(field: Any) -> peewee.Field:
    """The field that a foreign key refers to in the end; other fields themselves."""
    while isinstance(field, peewee.ForeignKeyField):
        field = field.rel_field
    own: peewee.Field = field
    return own
