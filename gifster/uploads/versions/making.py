"""Makes each derivation once, however many requests, threads and processes ask for it at once.

Within a process, the first request makes it, and the others wait for its outcome. Between the
processes of a machine, a lock file decides who is first. The system frees it if that process dies.
Two machines may both make it: they write the same content under the same key.
"""

import fcntl
import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from gifster import imaging
from gifster.imaging.probe import probe
from gifster.uploads.config import storage
from gifster.uploads.errors import UploadError, imaging_errors_translated
from gifster.uploads.files.access import local_copy, upload_file
from gifster.uploads.instrumentation import instrument
from gifster.uploads.storage.temporaries import temporary_folder
from gifster.uploads.versions.derivations import Wanted

logger = logging.getLogger("gifster.uploads")

#: How many lock files there are. Two derivations that share one are made one after the other.
LOCKS = 256


class CannotBeMade(UploadError):
    """The image has no such derivation: MP4 or WebM of a still."""

    code = "derivation_not_possible"


class Busy(Exception):
    """Too many requests wait for derivations."""


class Maker:
    """Makes derivations for the requests of one process.

    Parameters:
      at_once: how many are made at the same time, each with a core of its own.
      waiting: how many requests may wait for one, the makers included.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._slots = threading.BoundedSemaphore(at_once)
        self._most, self._waiting = waiting, 0
        self._flights: dict[tuple[str, str], Future[None]] = {}
        self._lock = threading.Lock()

    def make(self, wanted: Wanted) -> None:
        """Return when the derivation is in its storage.

        Raises:
          Busy: too many requests wait already.
          FileNotFoundError: the original is gone.
          UploadError: it cannot be made of this image.
        """
        with self._waits():
            with self._lock:
                name = (wanted.storage, wanted.key)
                flight = self._flights.get(name)
                first = flight is None
                if flight is None:
                    flight = self._flights[name] = Future()
            if not first:
                return flight.result()
            try:
                with self._slots, locked(wanted.key):
                    if not storage(wanted.storage).exists(wanted.key):
                        render(wanted)
            except BaseException as error:
                flight.set_exception(error)
                raise
            else:
                flight.set_result(None)
            finally:
                del self._flights[name]
        return None

    @contextmanager
    def _waits(self) -> Iterator[None]:
        with self._lock:
            if self._waiting >= self._most:
                raise Busy("Too many pictures are being made now. Try again in a few seconds.")
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1


def render(wanted: Wanted) -> None:
    """Make a derivation in the sandbox, and store it."""
    with (
        instrument("derive", derivation=wanted.name, storage=wanted.storage, key=wanted.key),
        local_copy(wanted.storage, wanted.source) as source,
        temporary_folder() as folder,
    ):
        target = folder / wanted.name
        with imaging_errors_translated():
            rendering = imaging.render(source, probe(source), {target: wanted.recipe})
            made = next((path for path in rendering if path == target), None)
            rendering.close()  # The fingerprint of the original is not needed.
        if made is None:
            raise CannotBeMade("This picture cannot be shown in that format.")
        upload_file(wanted.storage, wanted.key, target, wanted.content_type, derivation=wanted.name)


@contextmanager
def locked(key: str) -> Iterator[None]:
    """Hold the lock of a key, among the processes of this machine that run as this user."""
    # Without the prefix of temporary files, which the sweep deletes.
    folder = Path(tempfile.gettempdir()) / f"gifster-locks-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    number = int(hashlib.sha256(key.encode()).hexdigest(), 16) % LOCKS
    if folder.lstat().st_uid != os.getuid():
        logger.warning("the folder %s belongs to another user: no lock is taken", folder)
        yield
        return
    with (folder / f"{number}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
