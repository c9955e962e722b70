"""Threads that share a record."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests import images
from tests.combinations import on_one_platform
from tests.uploads.framework import Application, Company, fresh
from tests.uploads.records import ONE, TWO, PhotoFolder, atomic, is_clean, width, widths

#: These tests do not depend on the database or the storage: one platform is enough.
pytestmark = on_one_platform


def test_threads_that_share_a_list_lose_nothing(application: Application):
    application.create_tables(PhotoFolder)
    folder = PhotoFolder.create()
    pictures = [images.gif(size=(50 + n, 40)) for n in range(8)]
    ready = threading.Barrier(4)

    def add(some: list[bytes]) -> None:
        with application.database.connection_context():
            ready.wait(60)
            for picture in some:
                folder.photos.append(picture)
                folder.save()

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(add, pictures[n::4]) for n in range(4)]:
            done.result()
    application.work()

    assert sorted(widths(folder)) == [50 + n for n in range(8)]
    assert is_clean(application, *fresh(folder).photos)


@contextmanager
def saving_slowly(application: Application, record: Any) -> Iterator[threading.Event]:
    """A thread that saves ONE as the logo of a record, and pauses in the middle until the event is
    set."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(_: Any) -> None:
        begun.set()
        assert go_on.wait(60)

    def save_one() -> None:
        with application.database.connection_context():
            record.logo = ONE
            record.logo.before_process = wait
            record.save()

    with ThreadPoolExecutor(1) as threads:
        saved = threads.submit(save_one)
        assert begun.wait(60)
        yield go_on
        saved.result()


def test_the_last_upload_of_threads_that_share_a_record_is_saved(application: Application):
    record = Company.create(name="Ann")

    with saving_slowly(application, record) as go_on:
        record.logo = TWO
        go_on.set()
        record.save()
    application.work()

    assert width(record, "logo") == 90
    assert is_clean(application, fresh(record).logo)


def test_a_save_that_could_deadlock_with_another_thread_is_refused(application: Application):
    record = Company.create(name="Ann")

    with saving_slowly(application, record) as go_on:
        with pytest.raises(RuntimeError, match="load the record in each"), atomic():
            record.save()
        go_on.set()

    assert width(record, "logo") == 80
