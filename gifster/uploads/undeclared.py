"""Models that mount an uploader without declaring `HasUploads`. They work for one more release.

Their methods are wrapped, as every model's were in the release before: what the model itself does
in `save()` and `delete_instance()` happens within our transaction. The next release refuses them.
"""

import inspect
import sys
import warnings
from collections.abc import Iterable
from functools import partial
from typing import Any

import peewee

from gifster.uploads.attaching import deleting, saving
from gifster.uploads.attributes import check_attributes
from gifster.uploads.columns import bulk
from gifster.uploads.columns.record import uploads_of
from gifster.uploads.columns.rows import check_model

_MARK = "_gifster_uploads_wrapped"


def is_wrapped(model: Any) -> bool:
    """Whether the methods of a model, or of a class that it inherits from, are wrapped."""
    return getattr(model, _MARK, False)


def wrap(model: Any) -> None:
    """Wrap the methods of a model that write rows, and say what to write instead."""
    warnings.warn(
        f"{model.__name__} has uploads: declare class {model.__name__}"
        "(gifster.uploads.HasUploads, ...), before its other base classes. The next release "
        "refuses models that do not",
        DeprecationWarning,
        stacklevel=_level_of_the_definition(),
    )
    setattr(model, _MARK, True)
    save, delete_instance, validate_model = model.save, model.delete_instance, model.validate_model

    def save_with_uploads(
        record: Any, force_insert: bool = False, only: Iterable[Any] | None = None, **options: Any
    ) -> Any:
        with uploads_of(record).saving(record):
            return saving.save(record, force_insert, only, partial(save, record, **options))

    def delete_with_uploads(record: Any, *arguments: Any, **options: Any) -> Any:
        return deleting.delete(record, partial(delete_instance, record), *arguments, **options)

    def validate(cls: Any) -> None:
        validate_model()
        check_attributes(cls)
        check_model(cls)

    model.save, model.delete_instance = save_with_uploads, delete_with_uploads
    model.validate_model = classmethod(validate)
    for name, with_uploads in (
        ("bulk_create", saving.bulk_create),
        ("bulk_update", saving.bulk_update),
        ("insert", bulk.insert),
        ("update", bulk.update),
        ("insert_many", bulk.insert_many),
        ("insert_from", bulk.insert_from),
    ):
        setattr(model, name, classmethod(_wrapped(getattr(model, name).__func__, with_uploads)))
    delete = inspect.getattr_static(model, "delete")
    delete = _wrapped(getattr(delete, "fn", None) or delete.__func__, deleting.delete_query)
    model.delete = peewee.classmethod_only(delete)


def _wrapped(method: Any, with_uploads: Any) -> Any:
    def wrapper(cls: Any, *arguments: Any, **options: Any) -> Any:
        return with_uploads(cls, partial(method, cls), *arguments, **options)

    return wrapper


def _level_of_the_definition() -> int:
    """The `stacklevel` that names the line of the model, below the frames of Peewee and of us."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        ("gifster.uploads", "peewee")
    ):
        level, frame = level + 1, frame.f_back
    return level
