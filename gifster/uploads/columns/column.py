"""A mounted column and its companions in the table: `image`, `image_tmp`, `image_processing`,
`image_state` and `image_error`.

The column has a JSON text that describes the stored file, or a list of them. `attacher.py` changes
it when a record is assigned to and saved; `mount.py` puts it on a model.
"""

import json
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import peewee

from gifster.uploads.columns.fields import UNREADABLE, parsed_list, unreadable
from gifster.uploads.enqueueing import Background
from gifster.uploads.files.cache import CachedFile, dumps
from gifster.uploads.files.stored import StoredFile

U = TypeVar("U")

if TYPE_CHECKING:
    _Field = peewee.Field[Any]
else:
    _Field = peewee.Field

COMPANIONS = ("tmp", "processing", "state", "error")


class UploadColumn(_Field, Generic[U]):
    """The column of a mounted uploader."""

    field_type = "TEXT"
    #: Whether the column has a list of files.
    many = False

    def __init__(self, uploader: type[U], **options: Any) -> None:
        super().__init__(**{"null": True} | options)
        self.uploader = uploader
        #: What is left to a worker; `store_in_background` and `process_in_background` set it.
        self.background: Background | None = None
        #: All fields of the model, and the names of this column and its companions among them.
        self._columns: tuple[Any, list[str]] = (None, [])

    def __getstate__(self) -> dict[str, Any]:
        """For a copy, or to pickle an uploader: all but the SQL that `rows.texts_of()` keeps, and
        the fields of the model."""
        kept = {name: value for name, value in vars(self).items() if name != "_gifster_texts"}
        return kept | {"_columns": (None, [])}

    # The files of a record.

    def attacher(self, record: Any) -> Any:
        """A new attacher for this column of a record (see `attaching/`)."""
        raise NotImplementedError

    def stored_files(self, record: peewee.Model) -> list[StoredFile]:
        """The stored files of a record in this column."""
        value = record.__data__.get(self.name)
        return list(value or []) if self.many else [] if value is None else [value]

    def pending(self, record: peewee.Model) -> list[CachedFile]:
        """The cached files of a record that wait to be stored in this column."""
        value = record.__data__.get(f"{self.name}_tmp")
        return list(value or []) if self.many else [] if value is None else [value]

    # The columns.

    def companion(self, suffix: str) -> peewee.Field | None:
        """The field `<column>_<suffix>`; None if the model has none."""
        found: peewee.Field | None = self.model._meta.fields.get(f"{self.name}_{suffix}")
        return found

    @property
    def columns(self) -> list[str]:
        """The names of this column and of the companions that the model has."""
        fields, names = self._columns
        if fields is not self.model._meta.sorted_fields:  # see `mounts_of()`
            fields = self.model._meta.sorted_fields
            names = [f"{self.name}_{suffix}" for suffix in COMPANIONS if self.companion(suffix)]
            self._columns = fields, [self.name, *names]
        return list(self._columns[1])

    def check_null(self) -> None:
        """Check, when a model is defined, that the column and its companions may be null.

        Raises:
          TypeError: one may not; says what to do.
        """
        for suffix in ("", "_tmp", "_state", "_error"):
            field = self.model._meta.fields.get(f"{self.name}{suffix}")
            if field is not None and not field.null:
                raise TypeError(
                    f"{self.model.__name__}.{field.name} has null=False, but a row is written "
                    "before its file is stored: leave null=False out. If each record must have a "
                    f"file, look at record.{self.name}.file before you save it"
                )

    def values(self, **values: Any) -> dict[str, Any]:
        """Field values by field name, for those companions that the model has.

        Parameters:
          values: by suffix (`state`, `error`, …); `stored` is for the column itself.
        """
        named = {
            self.name if suffix == "stored" else f"{self.name}_{suffix}": value
            for suffix, value in values.items()
        }
        columns = self.columns
        return {name: value for name, value in named.items() if name in columns}

    # Conversion from and to the database.

    def db_value(self, value: Any) -> str | None:
        if value is None or (self.many and value == []):
            return None
        if isinstance(value, str):  # of a condition: `bulk` refuses those that would be written
            named = f"{self.model.__name__}.{self.name}"
            raise TypeError(
                f"{named} has files, and cannot be compared with the text {value[:50]!r}: write "
                f'{named}.is_null(), or {named}.cast("text").contains(...) for the JSON of its row'
            )
        files = value if self.many else [value]
        if not isinstance(files, list) or not all(isinstance(file, StoredFile) for file in files):
            raise self.query_refused()
        if self.many:
            return dumps([stored.dump() for stored in files])
        return json.dumps(value.dump(), ensure_ascii=False)

    def python_value(self, value: str | None) -> Any:
        if value in (None, "", "null"):  # an empty text is no file
            return [] if self.many else None
        try:
            if self.many:
                return [StoredFile.load(item).from_row() for item in parsed_list(value)]
            return StoredFile.loads(str(value)).from_row()
        except UNREADABLE as error:
            raise unreadable(self, value, error) from error

    def query_refused(self) -> TypeError:
        """The error of a query that is given a file."""
        record, column = self.model.__name__, self.name
        return TypeError(
            f"{record}.{column} cannot be written by a query, which bypasses its uploader: assign "
            f"the file to a record and save() it, or use {record}.create({column}=...) or "
            f"{record}.bulk_create([...])"
        )


def mounts_of(model: Any) -> list[UploadColumn[Any]]:
    """The mounted columns of a model; also takes a record."""
    meta = model._meta
    fields, mounts = getattr(meta, "_gifster_mounts", (None, []))
    if fields is not meta.sorted_fields:  # Peewee makes a new list when a field is added
        fields = meta.sorted_fields
        mounts = [field for field in fields if isinstance(field, UploadColumn)]
        meta._gifster_mounts = fields, mounts
    return mounts
