"""A record with one file, whose uploader a test declares: its model, and what is stored of it."""

from typing import Any

from gifster.uploads import Uploader, mount_uploader
from tests.uploads.framework import Application, Base


def model(application: Application, uploader: type[Uploader], **options: Any) -> Any:
    """A model with the uploader on the column `file`; `save()` stores its files."""

    class Document(Base):
        file = mount_uploader(uploader)

        class Meta:
            table_name = f"doc_{uploader.__name__.lower()}"

    application.create_tables(Document)
    return Document


def saved(document: Any, source: Any) -> Any:
    """The file of a new record of a model, as the record's row has it."""
    record = document()
    record.file = source
    record.save()
    return document.get_by_id(record.id).file


def stored(application: Application, uploader: type[Uploader], source: Any) -> Any:
    """The file of a new record with the uploader, as the record's row has it."""
    return saved(model(application, uploader), source)


def content(application: Application, uploader: Any, name: str | None = None) -> bytes:
    file = uploader.stored.versions[name] if name else uploader.stored
    with application.store.open(file.key) as opened:
        return opened.read()
