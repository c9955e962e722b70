"""Two storages as one, each with all files (Shrine's `mirroring` plugin).

What the second storage misses while it is away is made up by jobs. Each is a row of the outbox,
written before the upload counts as done, and a row of its transaction if there is one.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from gifster.jobs import enqueue
from gifster.uploads.config import config, storage
from gifster.uploads.storage.base import (
    Listing,
    OnThisMachine,
    Storage,
    StorageUnavailable,
    away,
    check_present,
    is_key,
    local_path,
    supported_options,
)
from gifster.uploads.storage.temporaries import temporary_file

logger = logging.getLogger("gifster.uploads")

#: How long after a deletion was begun a job looks whether the second has it, too (seconds). By then
#: it has ended, or its process has: every storage gives up sooner.
ENDED_S = 600.0


class MirrorStorage:
    """Keeps each file in two storages.

    An upload counts when the first has it. If the second cannot be used, a job brings it up to date
    later, and tries for about four days before it counts as dead. A deleted file is deleted from
    both in the same way. The storages may be of any kind; `configure()` must be given the mirror,
    and the workers must reach both.

    Files are read from the first. While it is unavailable, they are read from the second.

    Parameters:
      first: where URLs lead, and what the sweep lists.
      second: the copy.
      later: whether jobs do everything in the second, so that an upload never waits for it.

    `walk()` and `half_written()` list the files of the first, if it can.
    """

    def __init__(self, first: Storage, second: Storage, *, later: bool = False) -> None:
        self.first, self.second, self.later = first, second, later
        #: As the first's; a mirror of a storage without a list has none either.
        self.place = getattr(first, "place", None)
        #: The clock by which the first says when its files were written.
        self.now = getattr(first, "now", None)
        #: Whether a signed URL of the first is valid (see `LocalStorage.allows()`).
        self.allows = getattr(first, "allows", None)
        if isinstance(first, Listing):
            self.walk = first.walk
            self.half_written = self._half_written

    def upload(self, source: Path, key: str, content_type: str) -> None:
        self.first.upload(source, key, content_type)
        content_type = content_type or "application/octet-stream"
        self._in_second(key, content_type, lambda: self.second.upload(source, key, content_type))

    def open(self, key: str) -> BinaryIO:
        try:
            return self.first.open(key)
        except (StorageUnavailable, OSError) as error:
            if not self._asks_second(error, key):
                raise
            with suppress(FileNotFoundError):
                return self.second.open(key)
            raise

    def _asks_second(self, error: Exception, key: str) -> bool:
        """Whether a file that the first does not give is looked for in the second: not if it is
        missing in the first, unless the disk of that is away."""
        reason = str(error)
        if isinstance(error, FileNotFoundError):
            reason = away(self.first)
            try:
                if not reason or not self.second.exists(key):
                    return False
            except (StorageUnavailable, OSError):
                return False
        logger.warning("read from the mirror key=%s reason=%r", key, reason)
        return True

    def local_path(self, key: str) -> Path | None:
        """The path of a file on this machine, if one of the two has it here (see `OnThisMachine`).
        As always, the first says whether there is such a file."""
        try:
            here = local_path(self.first, key)
            if here is not None or not isinstance(self.second, OnThisMachine):
                return here
            is_kept = self.first.exists(key)
        except (StorageUnavailable, OSError) as error:
            if not self._asks_second(error, key):
                raise
            is_kept = True
        if not is_kept:
            raise FileNotFoundError(key)
        with suppress(FileNotFoundError):  # no job has brought it there yet
            return local_path(self.second, key)
        return None

    def exists(self, key: str) -> bool:
        return self.first.exists(key)

    def delete(self, key: str) -> None:
        delete_with_copies([self], key)

    def is_present(self) -> bool:
        return bool(getattr(self.first, "is_present", lambda: True)())

    def url(self, key: str, expires_s: int | None = None, **options: Any) -> str:
        return self.first.url(key, expires_s, **options)

    def catch_up(self, key: str, content_type: str = "") -> None:
        """Bring the second storage up to date with the first, for one file.

        Parameters:
          content_type: of the file; empty after its deletion. If the first has one then, that came
            since, and whoever brought it has brought the second up to date, or enqueued a job.

        Raises:
          StorageUnavailable, OSError: one of the two cannot be used now.
        """
        if not content_type:
            self._delete_in_second_unless_in_first(key)
            return
        with temporary_file() as copy:
            try:
                with self.first.open(key) as file:
                    shutil.copyfileobj(file, copy)
            except FileNotFoundError:
                self._delete_in_second_unless_in_first(key)
                return
            copy.flush()
            self.second.upload(Path(copy.name), key, content_type)
        self._delete_in_second_unless_in_first(key)  # it may have been deleted meanwhile

    def _delete_in_second_unless_in_first(self, key: str) -> None:
        """Delete what was deleted in the first. One whose disk is away has deleted nothing."""
        if not self.first.exists(key):
            check_present(self.first)
            self.second.delete(key)

    def delete_copy(self, key: str, *, before: bool) -> None:
        """Delete a file in the second, or have a job do that.

        Parameters:
          before: whether the first has it still. A job that came now would find it there.
        """
        wait_s = ENDED_S if before else None
        self._in_second(key, "", lambda: self.second.delete(key), wait_s)

    def _in_second(
        self, key: str, content_type: str, change: Callable[[], None], wait_s: float | None = None
    ) -> None:
        if not self.later:
            try:
                change()
            except (StorageUnavailable, OSError) as error:
                logger.warning("mirror later key=%s reason=%r", key, str(error))
            else:
                return
        arguments = (self._name, key, content_type)
        enqueue("mirror_file", *arguments, queue=config.queue, in_s=wait_s)

    @property
    def _name(self) -> str:
        """The name by which workers know this storage."""
        for name, known in config.storages.items():
            if known is self:
                return name
        raise LookupError("this MirrorStorage has no name: give it to configure()")

    def _half_written(
        self, before: float, remove: bool, ours: Callable[[str], bool] = is_key
    ) -> Iterator[str]:
        yield from half_written_with_copies([self], before, remove, ours)


def delete_with_copies(storages: Sequence[Storage], key: str) -> None:
    """Delete a file that is in one place, and in the second of each mirror of that place.

    Parameters:
      storages: of that place; one of them, or mirrors of it.
    """
    first, mirrors = mirrors_of(storages)
    # In this order, a process that dies in between leaves what the sweep sees, which lists the
    # first, or a job. Once more, because a job may have copied the file back before the first lost
    # it.
    for mirror in mirrors:
        mirror.delete_copy(key, before=True)
    first.delete(key)
    for mirror in mirrors:
        mirror.delete_copy(key, before=False)


def half_written_with_copies(
    storages: Sequence[Storage], before: float, remove: bool, ours: Callable[[str], bool]
) -> Iterator[str]:
    """What `half_written()` finds in one place, and in the second of each mirror of that place.

    Parameters:
      storages: as for `delete_with_copies()`.
    """
    first, mirrors = mirrors_of(storages)
    for kept in (first, *(mirror.second for mirror in mirrors)):
        if isinstance(kept, Listing):
            options = supported_options(kept.half_written, ours=ours)
            yield from kept.half_written(before, remove, **options)


def mirrors_of(storages: Sequence[Storage]) -> tuple[Storage, list[MirrorStorage]]:
    """The storage that is no mirror, and its mirrors, of storages that are one place.

    Parameters:
      storages: at least one.
    """
    chains = [_with_firsts(storage) for storage in storages]
    mirrors = [one for chain in chains for one in chain if isinstance(one, MirrorStorage)]
    return chains[0][-1], list(dict.fromkeys(mirrors))


def _with_firsts(named: Storage) -> list[Storage]:
    """A storage, its first if it is a mirror, and so on."""
    return [named, *_with_firsts(named.first)] if isinstance(named, MirrorStorage) else [named]


def catch_up(name: str, key: str, content_type: str) -> None:
    """Bring the second storage of a mirror up to date, for one file.

    Parameters:
      name: the mirror's, as `configure()` knows it. A storage of that name that is no mirror any
        more needs nothing.
    """
    kept = storage(name)
    if isinstance(kept, MirrorStorage):
        kept.catch_up(key, content_type)
