"""`HasUploads`, the base class of models with uploads: what it changes in Peewee's `Model`.

    class BaseModel(HasUploads, peewee.Model): ...

See `saving.py` for `save()`, `deleting.py` for `delete_instance()` and `delete()`, and `bulk.py`
for other queries that write rows.
"""

import inspect
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import peewee

from gifster.uploads.attaching import deleting, saving
from gifster.uploads.attributes import Attribute, check_attributes
from gifster.uploads.columns import bulk
from gifster.uploads.columns.column import mounts_of
from gifster.uploads.columns.record import separate, uploads_of
from gifster.uploads.columns.rows import Record, check_model

if TYPE_CHECKING:
    from typing import Self

    _Model = Record
else:
    _Model = object


class HasUploads(_Model):
    """Lets a Peewee model have mounted columns. Name it before `peewee.Model` in the base classes.

    `save()` writes what was assigned to a mounted column in one transaction with its job, and has
    the files removed that the row stops naming. A subclass's own `save()` may assign uploads, and
    then calls `super().save()`. That is a transaction of its own: a `save()` or `delete_instance()`
    that also writes other rows puts both into `with database.atomic():`. Models without mounted
    columns behave as Peewee's.

    Queries cannot write files: one that would make two rows name the same file, or that is given a
    source that only an uploader can read, raises `TypeError`. So does an expression for a mounted
    column.
    """

    def __init__(self, *arguments: Any, **values: Any) -> None:
        """A new record, as Peewee makes it.

        Files are assigned after all other values, because an uploader reads its record
        (`cache_owner()`, hooks), and in the order of a form: a file, then a cache id and a URL,
        which count without a file, then `remove_<column>`.
        """
        if "__no_default__" not in values:  # Peewee gives it for a row that it loads
            values = dict(sorted(values.items(), key=lambda item: _turn(self, item[0])))
        super().__init__(*arguments, **values)

    def save(
        self, force_insert: bool = False, only: Iterable[Any] | None = None, **options: Any
    ) -> int:
        """Save the record and its uploads; otherwise as Peewee's `save()`.

        A file that a base class's `save()` or a signal's receiver assigns meanwhile follows in a
        transaction of its own, unless there is one around this call.

        Raises:
          UploadError: the uploader refuses an upload or cannot process it; nothing is saved, unless
            the file came meanwhile.
          DoesNotExist: the record has an upload to save, but its row is gone.
          RuntimeError: another thread is saving this record.
        """
        save_row = partial(super().save, **options)
        if not mounts_of(self):
            return save_row(force_insert=force_insert, only=only)
        with uploads_of(self).saving(self):
            return saving.save(self, force_insert, only, save_row)

    def __copy__(self) -> "Self":
        """A copy with the same values and uploads. A file that the original gets later is not the
        copy's, and a save of the copy as a new row gives it files of its own."""
        found = type(self).__new__(type(self))
        found.__dict__.update(self.__dict__)
        if mounts_of(self):
            separate(self, found)
        return found

    def delete_instance(self, *arguments: Any, **options: Any) -> int:
        """Delete the row and its files; with `recursive=True` also the rows that refer to it, and
        theirs. With soft deletion, which keeps the row, the files stay."""
        return deleting.delete(self, super().delete_instance, *arguments, **options)

    @classmethod
    def validate_model(cls) -> None:
        """Check the model, as Peewee does, and that it can have uploads.

        Raises:
          TypeError: the model cannot have uploads, or declares an attribute of uploads that belongs
        to no mounted column; says what to do.
        """
        super().validate_model()
        check_attributes(cls)
        if mounts_of(cls):
            check_model(cls)
        for mount in mounts_of(cls):
            mount.check_null()

    @classmethod
    def bulk_create(cls, *arguments: Any, **options: Any) -> None:
        """Insert records as Peewee does; if one has an upload, save each, in one transaction."""
        saving.bulk_create(cls, super().bulk_create, *arguments, **options)

    @classmethod
    def bulk_update(cls, *arguments: Any, **options: Any) -> int:
        """Update records as Peewee does; save each that has a new upload, all in one transaction.

        Returns:
          how many rows were updated.
        """
        return saving.bulk_update(cls, super().bulk_update, *arguments, **options)

    @classmethod
    def insert(cls, data: Any = None, /, **values: Any) -> peewee.ModelInsert:
        """Peewee's `insert()`; raises `TypeError` for a file."""
        return bulk.insert(cls, super().insert, data, **values)

    @classmethod
    def update(cls, data: Any = None, /, **values: Any) -> peewee.ModelUpdate:
        """Peewee's `update()`; raises `TypeError` for a file."""
        return bulk.update(cls, super().update, data, **values)

    if not TYPE_CHECKING:  # Peewee's own type is right

        @peewee.classmethod_only  # `user.delete()` must not delete all users
        def delete(cls) -> Any:
            """Peewee's `delete()`; the files of the rows go, too."""
            return deleting.delete_query(cls, super().delete)

    @classmethod
    def insert_many(cls, rows: Iterable[Any], fields: Any = None) -> peewee.ModelInsert:
        """Peewee's `insert_many()`; raises `TypeError` for a file."""
        return bulk.insert_many(cls, super().insert_many, rows, fields)

    @classmethod
    def insert_from(cls, query: Any, fields: Iterable[Any]) -> peewee.ModelInsert:
        """Peewee's `insert_from()`; raises `TypeError` for a mounted column."""
        return bulk.insert_from(cls, super().insert_from, query, fields)


def _turn(record: Record, name: str) -> int:
    """When a constructor sets an attribute: 0 if it is no matter of uploads."""
    if name in {mount.name for mount in mounts_of(record)}:
        return 2
    found = inspect.getattr_static(type(record), name, None)
    return found.turn if isinstance(found, Attribute) else 0
