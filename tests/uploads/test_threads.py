"""Threads that share a record."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests import images
from tests.conftest import PLATFORMS
from tests.uploads.framework import Application, Company
from tests.uploads.records import ONE, TWO, PhotoFolder, atomic, fresh, is_clean, width, widths

#: These tests do not depend on the database or the storage: one platform is enough.
pytestmark = pytest.mark.parametrize("platform", PLATFORMS[:1], indirect=True)


def test_threads_that_share_a_list_lose_nothing(application: Application):
    application.create_tables(PhotoFolder)
    folder = PhotoFolder.create()
    pictures = [images.gif(size=(50 + n, 40)) for n in range(8)]
    ready = threading.Barrier(4)

    def add(some: list[bytes]) -> None:
        with application.database.connection_context():
            ready.wait(20)
            for picture in some:
                folder.photos.append(picture)
                folder.save()

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(add, pictures[n::4]) for n in range(4)]:
            done.result()
    application.work()

    assert sorted(widths(folder)) == [50 + n for n in range(8)]
    assert is_clean(application, *fresh(folder).photos)


def test_the_last_upload_of_threads_that_share_a_record_is_saved(application: Application):
    record = Company.create(name="Ann")
    begun, go_on = threading.Event(), threading.Event()

    def save_one() -> None:
        with application.database.connection_context():
            record.logo = ONE
            save_slowly(record, begun, go_on)

    def save_two() -> None:
        with application.database.connection_context():
            assert begun.wait(20)
            record.logo = TWO
            go_on.set()
            record.save()

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(save_one), threads.submit(save_two)]:
            done.result()
    application.work()

    assert width(record, "logo") == 90
    assert is_clean(application, fresh(record).logo)


def save_slowly(record: Any, begun: threading.Event, go_on: threading.Event) -> None:
    """Save a record, and pause in the middle until `go_on` is set."""
    uploader = record.logo

    def wait(_: Any) -> None:
        begun.set()
        assert go_on.wait(20)

    uploader.before_process = wait
    record.save()


def test_a_save_that_could_deadlock_with_another_thread_is_refused(application: Application):
    record = Company.create(name="Ann")
    begun, go_on = threading.Event(), threading.Event()

    def save_one() -> None:
        with application.database.connection_context():
            record.logo = ONE
            save_slowly(record, begun, go_on)

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(save_one)
        assert begun.wait(20)
        with pytest.raises(RuntimeError, match="load the record in each"), atomic():
            record.save()
        go_on.set()
        first.result()

    assert width(record, "logo") == 80
