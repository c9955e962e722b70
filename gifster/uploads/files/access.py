"""Files of the storages: all that the framework stores, opens, downloads and deletes comes through
here, so that subscribers see it (`instrumentation`).

A file is named by its storage's name and its key. `local_copy()` makes it a path on this machine.
"""

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from gifster.uploads.config import storage, storage_to_write
from gifster.uploads.files.named import named
from gifster.uploads.instrumentation import instrument
from gifster.uploads.storage.base import local_path
from gifster.uploads.storage.temporaries import temporary_file

if TYPE_CHECKING:
    from hashlib import _Hash

PIECE_BYTES = 128 * 1024


def upload_file(
    name: str,
    key: str,
    path: Path,
    content_type: str,
    options: Mapping[str, Any] | None = None,
    **facts: Any,
) -> None:
    """Keep a copy of a local file under a key (see `Storage.upload`).

    Parameters:
      name: the storage's.
      options: more arguments for a storage that takes them.
      facts: further facts of the event.
    """
    size = path.stat().st_size
    with instrument("store", storage=name, key=key, bytes=size, content_type=content_type, **facts):
        storage_to_write(name).upload(path, key, content_type, **(options or {}))


def open_file(name: str, key: str) -> BinaryIO:
    """A storage's file, open for reading (see `Storage.open`).

    Raises:
      FileNotFoundError: nothing is kept under that key.
    """
    with instrument("open", storage=name, key=key):
        return storage(name).open(key)


def delete_file(name: str, key: str) -> None:
    """Delete a storage's file; no error if it is gone already."""
    with instrument("delete", storage=name, key=key):
        storage(name).delete(key)


@dataclass
class _Copy:
    """A storage's file on this machine, and how many `with` blocks of a thread use it."""

    file: "tempfile._TemporaryFileWrapper[bytes]"
    used: int = 0


class _Copies(threading.local):
    """The copies that a thread has, by storage and key."""

    def __init__(self) -> None:
        self._copies: dict[tuple[str, str], _Copy] = {}

    @contextmanager
    def use(self, name: str, key: str, extension: str) -> Iterator[Path]:
        """The path of a copy, which is deleted when the last block ends that uses it."""
        copy = self._copies.get((name, key))
        if copy is None:
            copy = self._copies[name, key] = _Copy(_downloaded(name, key, extension))
        copy.used += 1
        try:
            yield Path(copy.file.name)
        finally:
            copy.used -= 1
            if not copy.used:
                del self._copies[name, key]
                copy.file.close()


_copies = _Copies()


def _downloaded(name: str, key: str, extension: str) -> "tempfile._TemporaryFileWrapper[bytes]":
    ending = f".{extension}" if extension else PurePosixPath(key).suffix[:20]
    copy = temporary_file(ending)
    try:
        with (
            instrument("download", storage=name, key=key) as facts,
            storage(name).open(key) as content,
        ):
            shutil.copyfileobj(content, copy, PIECE_BYTES)
            facts["bytes"] = copy.tell()
        copy.flush()
    except BaseException:
        copy.close()
        raise
    return copy


@contextmanager
def local_copy(
    name: str, key: str, digest: "_Hash | None" = None, *, extension: str = ""
) -> Iterator[Path]:
    """A storage's file as a path on this machine, for as long as the `with` block lasts.

    If the storage has the file on this machine (`OnThisMachine`), it is that path itself, or a link
    to it: do not change it. Otherwise it is copied here, once for nested blocks of a thread
    (Shrine's `tempfile`).

    Parameters:
      name: the storage's.
      digest: is updated with the content, before the block begins.
      extension: of the path, without the dot; empty for that of the key.

    Raises:
      FileNotFoundError: nothing is kept under that key.
    """
    kept = storage(name)
    with ExitStack() as copies:
        here = local_path(kept, key)
        if here is not None:
            path = copies.enter_context(named(here, extension))
        else:
            path = copies.enter_context(_copies.use(name, key, extension))
        if digest is not None:
            with path.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
        yield path
