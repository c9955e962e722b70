"""Converts tables, and primary keys of any type, to arguments of jobs and parts of storage keys."""

import hashlib
import json
import re
import uuid
from typing import Any

import peewee

#: The texts that go into a storage key unchanged, and their maximum length (characters).
_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_MOST = 100


#: A part of a job's argument, and the argument: of a key of several columns, a list.
Part = int | float | str
Argument = Part | list[Part]


def table_of(model: type[peewee.Model] | peewee.Model) -> str:
    """The table of a model, as jobs name it: with its schema, if the model declares one, since a
    database may have tables of one name in several schemas."""
    meta = model._meta
    return f"{meta.schema}.{meta.table_name}" if meta.schema else str(meta.table_name)


def to_job(record: peewee.Model) -> Argument:
    """A record's primary key as a job's argument: a number or a text, for JSON; of a composite key,
    a list of them."""
    fields = record._meta.get_primary_keys()
    parts = [_to_part(field, record.__data__.get(field.name)) for field in fields]
    return parts if record._meta.composite_key else parts[0]


def _to_part(field: peewee.Field, value: Any) -> Part:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, uuid.UUID):
        return value.hex
    converted = _own(field).db_value(value)
    return converted if isinstance(converted, (int, float, str)) else str(value)


def from_job(model: type[peewee.Model], value: Argument) -> Any:
    """The primary key from a job's argument; the reverse of `to_job()`."""
    fields = model._meta.get_primary_keys()
    if isinstance(value, list):
        return tuple(_from_part(field, part) for field, part in zip(fields, value, strict=True))
    return _from_part(fields[0], value)


def _from_part(field: peewee.Field, value: Part) -> Any:
    field = _own(field)
    if isinstance(value, str) and isinstance(field, peewee.BlobField):
        content = bytes.fromhex(value)
        return uuid.UUID(bytes=content) if isinstance(field, peewee.BinaryUUIDField) else content
    return field.python_value(value)


def segment(record: peewee.Model) -> str:
    """A record's primary key as one segment of a storage key: of a composite key, its parts with
    `-` between them.

    If the primary key is too long or has characters that storage keys cannot have, the segment is
    its readable part and a hash. So it is if a part of a composite key has a `-` itself.
    """
    key = to_job(record)
    parts = [str(part) for part in key] if isinstance(key, list) else [str(key)]
    text = "-".join(parts)
    is_clear = len(parts) == 1 or not any("-" in part for part in parts)
    if is_clear and len(text) <= _MOST and _SAFE.fullmatch(text) and all(parts):
        return text
    whole = text if len(parts) == 1 else json.dumps(key)
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", text[: _MOST - 17]).strip("-")
    return f"{readable}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}".lstrip("-")


def _own(field: Any) -> peewee.Field:
    """The field that a foreign key refers to in the end; other fields themselves."""
    while isinstance(field, peewee.ForeignKeyField):
        field = field.rel_field
    own: peewee.Field = field
    return own
