"""Copying what one storage keeps into another, while the application runs.

A key names one content for ever, so a key that has been copied and checked is done with. Each copy
is read back and compared by its SHA-256; the keys that came right are written to a journal, and a
second run goes on where the first was stopped.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gifster.imaging.probe import SNIFF_BYTES, sniff
from gifster.uploads.storage.base import Storage
from gifster.uploads.storage.spool import WORK_PREFIX

PIECE_BYTES = 1024 * 1024


class CopyDiffers(Exception):
    """What was read back from the target is not what was written, twice in a row."""


@dataclass(frozen=True)
class Copied:
    """What became of one key: `copied`, `there` (it was, with the same content), or `gone` (deleted
    meanwhile). `bytes` is its size, 0 if it is gone."""

    key: str
    outcome: str
    bytes: int = 0


def journaled(journal: Path) -> set[str]:
    """The keys that earlier runs have dealt with."""
    return set(journal.read_text("utf-8").splitlines()) if journal.exists() else set()


def copy_all(
    source: Storage, target: Storage, keys: list[str], journal: Path, threads: int = 4
) -> Iterator[Copied]:
    """Copy keys from one storage to another.

    Parameters:
      keys: which; those that are in the journal should be left out.
      journal: a file to which each key is added that came right.
      threads: how many are copied at once.

    Returns:
      an iterator over what became of them, in the order of the keys.

    Raises:
      CopyDiffers: a copy did not come right. What was copied before stays in the journal.
      StorageUnavailable, OSError: a storage cannot be used.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a", encoding="utf-8") as done, ThreadPoolExecutor(threads) as pool:
        try:
            for copied in pool.map(lambda key: copy_one(source, target, key), keys):
                if copied.outcome != "gone":
                    done.write(f"{copied.key}\n")
                    done.flush()
                yield copied
        finally:
            pool.shutdown(cancel_futures=True)


def copy_one(source: Storage, target: Storage, key: str) -> Copied:
    """Copy one key, and check the copy."""
    with tempfile.NamedTemporaryFile(prefix=WORK_PREFIX) as spool:
        digest = hashlib.sha256()
        try:
            with source.open(key) as file:
                while piece := file.read(PIECE_BYTES):
                    digest.update(piece)
                    spool.write(piece)
        except FileNotFoundError:
            return Copied(key, "gone")
        spool.flush()
        size = spool.tell()
        spool.seek(0)
        content_type = sniff(spool.read(SNIFF_BYTES))
        if _sha256(target, key) == digest.hexdigest():
            return Copied(key, "there", size)
        for _ in range(2):
            target.upload(Path(spool.name), key, content_type)
            if _sha256(target, key) == digest.hexdigest():
                return Copied(key, "copied", size)
    raise CopyDiffers(f"{key} is not in the target what it is in the source")


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
