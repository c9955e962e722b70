"""Facts that an uploader declares itself, of files that belong to no record."""

from pathlib import Path
from typing import Any

import pytest

from gifster.uploads import (
    LocalFile,
    Uploader,
    errors,
    metadata,
)
from gifster.uploads.files.cache import CacheWriter
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.testing import MemoryStorage
from tests import images
from tests.logs import said_by
from tests.uploads import documents
from tests.uploads.documents import pdf


class AnyFile(Uploader):
    allow_types = None


def declared(fact: Any, **options: Any) -> type[AnyFile]:
    """An uploader with one fact."""

    def value(self: Any, file: LocalFile) -> Any:
        return fact(file)

    return type("Declared", (AnyFile,), {"value": metadata(**options)(value)})


@pytest.mark.parametrize(
    "fact",
    [
        lambda file: {}["pages"],  # a fault of the parser
        lambda file: {1, 2},  # nothing that JSON can hold
        lambda file: float("nan"),
        lambda file: "\ud800",  # nothing that a database can hold
        lambda file: "x" * 70_000,
        lambda file: (_ for _ in ()).throw(OSError("cannot identify the file")),
    ],
)
def test_a_fact_that_cannot_be_read_refuses_the_upload_or_is_none(
    cache: MemoryStorage, fact: Any, caplog: pytest.LogCaptureFixture
):
    with pytest.raises(errors.MetadataUnreadable, match="'value' cannot be read") as refused:
        cache_upload(declared(fact), pdf(1))
    assert refused.value.code == "metadata_unreadable"
    assert cache.files == {}

    assert cache_upload(declared(fact, optional=True), pdf(1)).metadata == {"value": None}
    records = said_by("gifster.uploads", caplog)
    assert [record.message.split(" sha256")[0] for record in records] == [
        "metadata refused fact=Declared.value",
        "metadata left out fact=Declared.value",
    ]
    assert all(record.exc_info for record in records)


def test_a_failure_of_the_system_is_not_the_fault_of_the_file(cache: MemoryStorage):
    def missing(file: LocalFile) -> bytes:
        return Path("/nowhere/analyser.conf").read_bytes()

    with pytest.raises(FileNotFoundError):
        cache_upload(declared(missing, optional=True), pdf(1))
    assert cache.files == {}


def test_values_are_as_the_row_returns_them(cache: MemoryStorage):
    cached = cache_upload(declared(lambda file: (1, "zwei")), pdf(1))

    assert cached.metadata == {"value": [1, "zwei"]}


def test_a_file_is_described(cache: MemoryStorage):
    def facts(file: LocalFile) -> list[Any]:
        with file.open() as content:
            return [
                file.filename,
                file.info.content_type,
                file.info.width,
                content.read(3).decode(),
            ]

    cached = cache_upload(declared(facts), images.gif((30, 20)), "a.gif")

    assert cached.metadata == {"value": ["a.gif", "image/gif", 30, "GIF"]}


def test_a_parser_of_strangers_files_runs_in_the_sandbox(cache: MemoryStorage):
    counted = declared(lambda file: file.sandboxed(documents.count_pages))
    assert cache_upload(counted, pdf(4)).metadata == {"value": 4}

    with pytest.raises(errors.Unreadable, match="too much memory"):
        cache_upload(declared(lambda file: file.sandboxed(documents.crash)), pdf(1))


def test_an_upload_with_facts_is_finished_slowly(cache: MemoryStorage):
    # An event loop awaits `finish_slowly()` on a thread that other uploads do not need.
    writer = CacheWriter(declared(lambda file: 1), "cv.pdf")
    writer.write(pdf(1))

    assert writer.finish_quickly() is None
    assert writer.finish_slowly().metadata == {"value": 1}


def test_a_row_without_facts_stays_readable_for_an_earlier_release(cache: MemoryStorage):
    cached = cache_upload(AnyFile, pdf(1))

    assert "metadata" not in cached.dump()
    assert hash(cached) == hash(type(cached).load(cached.dump()))
