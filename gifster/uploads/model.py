"""`HasUploads`, the base class of models with uploads: what it changes in Peewee's `Model`.

    class BaseModel(HasUploads, peewee.Model): ...

See `saving.py` for `save()` and `delete_instance()`, and `bulk.py` for queries that write rows.
"""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from gifster.jobs import transaction
from gifster.uploads import bulk, saving
from gifster.uploads.column import mounts_of
from gifster.uploads.record import uploads_of
from gifster.uploads.rows import Record, check_model

if TYPE_CHECKING:
    _Model = Record
else:
    _Model = object


class HasUploads(_Model):
    """Lets a Peewee model have mounted columns. Name it before `peewee.Model` in the base classes.

    `save()` writes what was assigned to a mounted column in one transaction with its job, and has
    the files removed that the row stops naming. A subclass's own `save()` may assign uploads, and
    then calls `super().save()`. Models without mounted columns behave as before.

    Queries cannot write files: one that would make two rows name the same file, or that is given a
    source that only an uploader can read, raises `TypeError`.
    """

    def save(
        self, force_insert: bool = False, only: Iterable[Any] | None = None, **options: Any
    ) -> Any:
        """Save the record and its uploads; otherwise as Peewee's `save()`.

        Raises:
          UploadError: the uploader refuses an upload or cannot process it; nothing is saved.
          DoesNotExist: the record has an upload to save, but its row is gone.
          RuntimeError: another thread is saving this record.
        """
        save_row = partial(super().save, **options)
        if not mounts_of(self):
            return save_row(force_insert=force_insert, only=only)
        with uploads_of(self).saving(self):
            return saving.save(self, force_insert, only, save_row)

    def delete_instance(self, *arguments: Any, **options: Any) -> Any:
        """Delete the row and its files; with soft deletion, which keeps the row, the files stay."""
        delete_row = partial(super().delete_instance, *arguments, **options)
        return saving.delete(self, delete_row) if mounts_of(self) else delete_row()

    @classmethod
    def validate_model(cls) -> None:
        """Check the model, as Peewee does, and that it can have uploads.

        Raises:
          TypeError: the model cannot have uploads; says what to do.
        """
        super().validate_model()
        if mounts_of(cls):
            check_model(cls)

    @classmethod
    def bulk_create(cls, model_list: Iterable[Any], batch_size: int | None = None) -> None:
        """Insert records as Peewee does; if one has an upload, save each, in one transaction."""
        records = list(model_list)
        if not any(
            saving.attacher_of(record, mount).has_files
            for record in records
            for mount in mounts_of(cls)
        ):
            super().bulk_create(records, batch_size)
            return
        with transaction(cls._meta.database):
            for record in records:
                record.save(force_insert=True)

    @classmethod
    def bulk_update(
        cls, model_list: Iterable[Any], fields: Iterable[Any], batch_size: int | None = None
    ) -> int:
        """Update records as Peewee does; save each that has a new upload, all in one transaction.

        Returns:
          how many rows were updated.
        """
        records = list(model_list)
        chosen = [cls._meta.combined[f] if isinstance(f, str) else f for f in fields]
        names = {field.name for field in chosen}  # a field's == makes an expression
        mounts = [mount for mount in mounts_of(cls) if mount.name in names]
        uploads = {name for mount in mounts_of(cls) for name in mount.columns}
        plain = [field for field in chosen if field.name not in uploads]
        changed = [r for r in records if any(saving.attacher_of(r, m).changed for m in mounts)]
        others = [record for record in records if all(record is not one for one in changed)]
        with transaction(cls._meta.database):
            updated = sum(record.save(only=[*plain, *mounts]) for record in changed)
            if plain and others:
                updated += super().bulk_update(others, plain, batch_size)  # type: ignore[no-untyped-call]
        return int(updated)

    @classmethod
    def insert(cls, data: Any = None, /, **values: Any) -> Any:
        """Peewee's `insert()`; raises `TypeError` for a file."""
        return super().insert(bulk.checked_insert(cls, data, values), **values)

    @classmethod
    def update(cls, data: Any = None, /, **values: Any) -> Any:
        """Peewee's `update()`; raises `TypeError` for a file."""
        bulk.check_update(cls, data, values)
        return super().update(data, **values)

    @classmethod
    def insert_many(cls, rows: Iterable[Any], fields: Any = None) -> Any:
        """Peewee's `insert_many()`; raises `TypeError` for a file."""
        return super().insert_many(bulk.checked(cls, rows, fields or ()), fields)

    @classmethod
    def insert_from(cls, query: Any, fields: Iterable[Any]) -> Any:
        """Peewee's `insert_from()`; raises `TypeError` for a mounted column."""
        fields = list(fields)
        bulk.check(cls, dict.fromkeys(fields, True))
        return super().insert_from(query, fields)
