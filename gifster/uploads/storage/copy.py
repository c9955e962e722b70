"""Copies the files of one storage into another, while the application runs.

The content of a key never changes, so each key is copied and checked once: the copy is read back,
and its SHA-256 compared. The keys that are done go into a journal. A second run leaves out those
that the target still has, and so goes on where the first one stopped.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gifster.uploads.content_types import HEAD_BYTES, detect
from gifster.uploads.storage.base import Listing, Storage, check_present, is_of_one_file
from gifster.uploads.storage.temporaries import temporary_file

PIECE_BYTES = 1024 * 1024
#: So many files are given to the threads at a time.
BATCH = 1000


class CopyDiffers(Exception):
    """The content read back from the target differs from the source, twice in a row."""


@dataclass(frozen=True)
class Copied:
    """The outcome for one key: `copied`, `there` (the target has the same content already), `gone`
    (deleted meanwhile), or `unread` (the source cannot read it; `reason` says why). `bytes` is the
    file's size, 0 if it was not copied."""

    key: str
    outcome: str
    bytes: int = 0
    reason: str = ""


def journaled(journal: Path, target: Listing) -> set[str]:
    """The keys that earlier runs have copied, and that the target has. It may be another bucket
    than theirs, or may have been emptied since."""
    before = set(journal.read_text("utf-8").splitlines()) if journal.exists() else set()
    return {key for key, _ in target.walk() if key in before} if before else before


def copy_all(
    source: Storage, target: Storage, keys: list[str], journal: Path, threads: int = 4
) -> Iterator[Copied]:
    """Copy keys from one storage to another.

    Parameters:
      keys: without those in the journal.
      journal: a file that gets each key once it is copied.
      threads: how many files to copy at once.

    Returns:
      an iterator over the outcomes, in the order of the keys.

    Raises:
      CopyDiffers: a copy differs from its source. The keys copied before stay in the journal.
      StorageUnavailable, OSError: a storage cannot be used.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a", encoding="utf-8") as done, ThreadPoolExecutor(threads) as pool:
        try:
            # A pool takes all that it is given at once, and a library has millions of files.
            for at in range(0, len(keys), BATCH):
                batch = keys[at : at + BATCH]
                for copied in pool.map(lambda key: copy_one(source, target, key), batch):
                    if copied.outcome in {"copied", "there"}:
                        done.write(f"{copied.key}\n")
                        done.flush()
                    yield copied
        finally:
            pool.shutdown(cancel_futures=True)


def copy_one(source: Storage, target: Storage, key: str) -> Copied:
    """Copy one file, and check the copy."""
    with temporary_file() as spool:
        digest = hashlib.sha256()
        try:
            with source.open(key) as file:
                while piece := file.read(PIECE_BYTES):
                    digest.update(piece)
                    spool.write(piece)
        except FileNotFoundError:
            check_present(source)
            return Copied(key, "gone")
        except OSError as error:
            if not is_of_one_file(error):
                raise
            return Copied(key, "unread", reason=error.strerror or str(error))
        spool.flush()
        size = spool.tell()
        spool.seek(0)
        content_type = detect(spool.read(HEAD_BYTES), key)
        if _sha256(target, key) == digest.hexdigest():
            return Copied(key, "there", size)
        for _ in range(2):
            target.upload(Path(spool.name), key, content_type)
            if _sha256(target, key) == digest.hexdigest():
                return Copied(key, "copied", size)
    raise CopyDiffers(f"the copy of {key} in the target differs from the source")


def _sha256(storage: Storage, key: str) -> str | None:
    try:
        with storage.open(key) as file:
            return _digest(file)
    except FileNotFoundError:
        return None


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := file.read(PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()
