"""Adds many pictures to the library, each file once."""

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import PurePath
from typing import IO

import peewee

from gifster.app import library, shared_commits
from gifster.app.access import listed
from gifster.app.database import db
from gifster.app.errors import Invalid, LibraryError
from gifster.app.models import Gif, ImageUploader, User
from gifster.app.texts import Rating, Visibility
from gifster.app.transfer.sources import Details, Found
from gifster.jobs import transaction
from gifster.jobs.database_errors import Fault, fault_of
from gifster.uploads import CachedFile, UploadError
from gifster.uploads.files.sources import cache_pieces
from gifster.uploads.remote.downloader import fetch

#: So many GIFs share a transaction.
BATCH = 40
#: They wait for the disk, which syncs the files of several as quickly as one's, or for servers.
THREADS = 8
#: How often the database is asked for one GIF whose tags or words others have locked.
TRIES = 5
PIECE_BYTES = 256 * 1024
#: PostgreSQL's name for the lock of the import that writes.
IMPORTS = 713707
#: What reading a damaged zip, or a disk, raises.
_UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class What(StrEnum):
    """What has become of a picture."""

    ADDED = "added"
    #: The library has this file already.
    KNOWN = "known"
    REFUSED = "refused"


@dataclass(frozen=True)
class Outcome:
    """What has become of a picture.

    Parameters:
      name: the `Found`'s.
      gif_id: of the GIF that it has become, or that is the same file; empty if it was refused.
      reason: why it was refused; otherwise empty.
    """

    name: str
    what: What
    gif_id: str = ""
    reason: str = ""


@dataclass
class _Picture:
    """A picture on its way. `sha256` is of what is known of it: the file, then the cached file."""

    found: Found
    details: Details = field(default_factory=Details)
    sha256: str = ""
    cached: CachedFile | None = None
    outcome: Outcome | None = None

    def end(self, what: What, gif_id: str = "", reason: str = "") -> None:
        """Say what has become of it, and delete its cached file unless a GIF has that."""
        self.outcome = Outcome(self.found.name, what, gif_id, reason)
        if self.cached is not None and what is not What.ADDED:
            self.cached.delete()


def add_all(
    found: Iterable[Found], user: User | None = None, tags: Iterable[str] = ()
) -> Iterator[Outcome]:
    """Add pictures to the library, as if each had been uploaded: a worker makes their versions.

    A file that the library has already is not added again, so an import that was interrupted can
    be started again: it goes on where it ended. Several at once add each file once, too. Quotas do
    not count.

    Parameters:
      found: the pictures; see `sources`.
      user: their owner.
      tags: further ones for each.

    Yields:
      what has become of each picture, roughly in their order. If the caller ends earlier, what was
      yielded as added stays.

    Raises:
      OSError, StorageUnavailable: the cache takes nothing now. What was yielded stays.
    """
    rest, more = iter(found), list(tags)
    twins: list[Found] = []
    with ThreadPoolExecutor(THREADS, thread_name_prefix="import") as threads:
        while some := [*twins, *islice(rest, BATCH - len(twins))]:
            batch = [_Picture(each) for each in some]
            yield from _add_batch(batch, threads, user, more)
            twins = [each.found for each in batch if each.outcome is None]


def _add_batch(
    batch: list[_Picture], threads: ThreadPoolExecutor, user: User | None, tags: list[str]
) -> Iterator[Outcome]:
    """Add the pictures of a batch. One that is the same file as another of them has no outcome yet:
    the other may be refused."""
    try:
        list(threads.map(_read, batch))
        first = _new_ones(batch, user)
        list(threads.map(_cache, first))
        # Without its metadata a picture may be one that is known.
        first = _new_ones([each for each in first if each.outcome is None], user)
    except BaseException:
        for each in batch:
            if each.cached is not None and each.outcome is None:
                each.cached.delete()
        raise
    # If the database fails from here on, it may have committed, so the files stay in the cache. The
    # sweep removes those that no row names.
    _add_together(first, user, tags)
    for each in batch:
        if each.outcome is not None:
            yield each.outcome


def _add_together(pictures: list[_Picture], user: User | None, tags: list[str]) -> None:
    """Add pictures in one transaction. If somebody has locked a tag or a word of theirs, and may
    wait for another one of ours, each is added in a transaction of its own."""
    try:
        with transaction(db):
            shared_commits.wait_no_longer(shared_commits.LOCK_WAIT_MS)
            for each in _still_new(pictures, user):
                _add_or_refuse(each, user, tags)
    except peewee.PeeweeException as error:
        if fault_of(error) is not Fault.BUSY:
            raise
        for each in pictures:
            if each.outcome is None or each.outcome.what is What.ADDED:
                _add_alone(each, user, tags)


def _still_new(pictures: list[_Picture], user: User | None) -> list[_Picture]:
    """The pictures that no other import has added since they were looked for. Until the end of the
    transaction none can: SQLite has one writer at a time, PostgreSQL a lock for it."""
    if shared_commits.is_postgresql():
        db.execute_sql(f"SELECT pg_advisory_xact_lock({IMPORTS})")
    return _new_ones(pictures, user)


def _add_alone(picture: _Picture, user: User | None, tags: list[str]) -> None:
    for left in reversed(range(TRIES)):
        picture.outcome = None
        try:
            with transaction(db):
                for each in _still_new([picture], user):
                    _add_or_refuse(each, user, tags)
            break
        except peewee.PeeweeException as error:
            if not left or fault_of(error) is not Fault.BUSY:
                raise


@contextmanager
def _refusing(picture: _Picture) -> Iterator[None]:
    """Refuse a picture that cannot be read, or that the library does not take."""
    try:
        yield
    except (UploadError, LibraryError) as error:
        picture.end(What.REFUSED, reason=str(error))


@contextmanager
def _reading() -> Iterator[None]:
    """A block that reads a picture where it was found. What it raises is a fault of that picture; a
    cache that is full or away is not, and ends the import."""
    try:
        yield
    except _UNREADABLE as error:
        reason = str(error) or type(error).__name__
        raise Invalid("source_unreadable", f"It cannot be read: {reason}.") from None


def _read(picture: _Picture) -> None:
    """Read what is said of a picture, and its hash."""
    with _refusing(picture), _reading():
        picture.details = picture.found.details()
        if picture.found.open is None:
            return
        digest, left = hashlib.sha256(), ImageUploader.max_bytes + 1
        with picture.found.open() as file:
            while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
                digest.update(piece)
                left -= len(piece)
        picture.sha256 = digest.hexdigest()


def _cache(picture: _Picture) -> None:
    """Check a picture, and write it into the cache."""
    with _refusing(picture):
        found = picture.found
        if found.open is None:
            picture.cached = fetch(ImageUploader, found.name)
        else:
            with _reading():
                file = found.open()
            with file:
                picture.cached = cache_pieces(
                    ImageUploader, _pieces(file), PurePath(found.name).name
                )
        picture.sha256 = picture.cached.sha256


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while True:
        with _reading():
            piece = file.read(PIECE_BYTES)
        if not piece:
            return
        yield piece


def _new_ones(batch: list[_Picture], user: User | None) -> list[_Picture]:
    """The pictures that the library has not yet, each once; the others end, or wait for the next
    batch. What only others can find does not count as there."""
    asked = [each for each in batch if each.outcome is None]
    same_owner = Gif.user.is_null() if user is None else Gif.user == user
    hashes = [each.sha256 for each in asked if each.sha256]
    # Without their pictures: those that cannot be read keep no other one out.
    columns = (Gif.id, Gif.sha256, Gif.image_state, Gif.image_error, Gif.trashed_at)
    query = Gif.select(*columns).where(Gif.sha256.in_(hashes) & (listed() | same_owner))
    known: dict[str, Gif] = {}
    for gif in query.order_by(Gif.created_at, Gif.id):
        known.setdefault(gif.sha256 or "", gif)
    new: dict[str, _Picture] = {}
    for each in asked:
        there = known.get(each.sha256)
        if there is not None:
            _end_as(each, there)
        elif new.setdefault(each.sha256 or each.found.name, each) is not each and each.cached:
            each.cached.delete()
            each.cached = None
    return list(new.values())


def _end_as(picture: _Picture, gif: Gif) -> None:
    if gif.image_state == "failed":
        failure = gif.image_error.message if gif.image_error else "It could not be processed."
        reason = f"{failure} (GIF {gif.id}; delete it to try again)"
        picture.end(What.REFUSED, reason=reason)
    else:
        picture.end(What.KNOWN, gif.id, "It is in the trash." if gif.trashed_at else "")


def _add_or_refuse(picture: _Picture, user: User | None, tags: list[str]) -> None:
    if picture.cached is not None:
        with _refusing(picture):
            picture.end(What.ADDED, _add(picture, picture.cached, user, tags).id)


def _add(picture: _Picture, cached: CachedFile, user: User | None, tags: list[str]) -> Gif:
    details = picture.details
    if details.visibility == Visibility.PRIVATE and user is None:
        raise Invalid("visibility_invalid", "A private GIF needs an owner: import with --user.")
    return library.add_gif(
        cached,
        title=details.title,
        tags=[*details.tags, *tags],
        alt_text=details.alt_text,
        rating=details.rating or Rating.G,
        visibility=details.visibility or Visibility.PUBLIC,
        edit=details.edit,
        user=user,
    )
