"""Writes GIFs as a zip of their originals, each with its details in a file beside it.

A GIF is `TITLE-ID.gif` and `TITLE-ID.gif.json`. The zip is not compressed: pictures already are.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from gifster.app import lists, texts
from gifster.app.damaged_text import DamagedText
from gifster.app.models import Gif, Tag, User, rfc3339
from gifster.imaging.image_info import extension
from gifster.uploads import StorageUnavailable, StoredFile
from gifster.uploads.columns.rows import loaded, place_of
from gifster.uploads.config import storage
from gifster.uploads.storage.base import check_key

PIECE_BYTES = 256 * 1024
#: The moments that a zip can tell (APPNOTE, 4.4.6).
FIRST, LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)
#: GIFs are read from the database in batches of this size.
BATCH = 100
_NO_WORD = re.compile(r"[^\w]+")


def chosen(user: User | None = None, tag: str = "") -> Any:
    """The query of the GIFs that an export has: all with a stored image that are not in the trash.

    Parameters:
      user: only theirs.
      tag: only those with it.
    """
    query = Gif.select().where(Gif.image.is_null(False) & Gif.trashed_at.is_null())
    if user is not None:
        query = query.where(Gif.user == user)
    if tag:
        query = query.where(Gif.id.in_(lists.tagged(Tag.name == texts.asked_tag(tag))))
    return query


def export(target: BinaryIO, gifs: Any) -> Iterator[tuple[Gif, str]]:
    """Write GIFs into a zip, in the order of their ids.

    Parameters:
      target: the open file. It need not be able to seek.
      gifs: `chosen()`.

    Yields:
      each GIF, and why its file is not in the zip, or not as it was stored; empty if it is. One
      that is deleted meanwhile is left out.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for gif_id, gif in _in_batches(gifs):
            if isinstance(gif, Exception):
                yield Gif(id=gif_id), f"Its row cannot be read: {gif}."
            else:
                yield gif, _write(archive, gif)


def _in_batches(gifs: Any) -> Iterator[tuple[str, Gif | Exception]]:
    """The GIFs of a query, with their ids. An open SELECT would keep others from writing to
    SQLite."""
    after = ""
    while batch := loaded(gifs.where(Gif.id > place_of(after)).order_by(Gif.id).limit(BATCH)):
        yield from batch
        after = batch[-1][0]


def _write(archive: zipfile.ZipFile, gif: Gif) -> str:
    """Write a GIF. Returns why its file is not there; empty if it is, or if the GIF is gone."""
    while True:
        [stored] = Gif.image.stored_files(gif)  # `chosen()` asks for those that have one
        try:
            return _write_stored(archive, gif, stored)
        except FileNotFoundError:
            if isinstance(gif.id, DamagedText):  # which finds no row
                return "Its file is missing."
            present = Gif.get_or_none(Gif.id == gif.id)
            if present is None:
                return ""
            if Gif.image.stored_files(present) in ([], [stored]):
                return "Its file is missing."
            gif = present  # its picture was replaced meanwhile


def _write_stored(archive: zipfile.ZipFile, gif: Gif, stored: StoredFile) -> str:
    try:
        check_key(stored.key)
        storage(stored.storage)
    except (ValueError, LookupError) as error:  # its row is damaged
        return f"Its file cannot be read: {error}."
    name = f"{_slug(gif)}.{extension(stored.content_type)}"
    try:
        fault = _write_file(archive, _entry(name, gif), stored)
    except _NotWritten as error:
        raise error.reason from None
    except FileNotFoundError:
        raise
    except (OSError, StorageUnavailable) as error:
        return f"Its file cannot be read: {error}."
    told = json.dumps(_details(gif, stored), ensure_ascii=False, indent=2)
    archive.writestr(_entry(f"{name}.json", gif), told)
    return fault


class _NotWritten(Exception):
    """The zip cannot be written, so it is no fault of the file that goes into it."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _NotWritten(error) from error


def _write_file(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, stored: StoredFile) -> str:
    digest = hashlib.sha256()
    # All of it is here before its entry begins: a storage that goes away would leave half of it.
    with stored.on_disk() as path, path.open("rb") as source:
        with _writing():
            target = archive.open(entry, "w", force_zip64=True)
        try:
            while piece := source.read(PIECE_BYTES):
                digest.update(piece)
                with _writing():
                    target.write(piece)
        finally:
            with _writing():
                target.close()
    same = digest.hexdigest() == stored.sha256
    return "" if same else "Its file has changed since it was stored."


def _entry(name: str, gif: Gif) -> zipfile.ZipInfo:
    """An entry of the zip, with the moment of the upload (in UTC; a zip knows no time zones). A
    clock that was wrong may have named one that a zip cannot tell."""
    return zipfile.ZipInfo(name, min(max(gif.created_at.timetuple()[:6], FIRST), LAST))


def _slug(gif: Gif) -> str:
    """The name of a GIF's files: what can be read of its title, and its id."""
    words = _NO_WORD.sub("-", gif.title).strip("-_")[:60].strip("-_")
    gif_id = _NO_WORD.sub("-", gif.id)  # of a damaged one anything may be left
    return f"{words}-{gif_id}" if words else gif_id


def _details(gif: Gif, stored: StoredFile) -> dict[str, object]:
    return {
        "id": gif.id,
        "title": gif.title,
        "tags": lists.tags_of([gif])[gif.id],
        "alt_text": gif.alt_text,
        "rating": gif.rating,
        "visibility": gif.visibility,
        "edit": gif.edit.as_json() if gif.edit else None,
        "user": lists.uploaders_of([gif]).get(gif.user_id or ""),
        "created_at": rfc3339(gif.created_at),
        "content_type": stored.content_type,
        "bytes": stored.bytes,
        "sha256": stored.sha256,
    }
