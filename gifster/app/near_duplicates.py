"""Find duplicates of a GIF: the same file, or near duplicates by their fingerprints.

Both are facts of what was uploaded. Of a GIF with an edit only its owner knows that, so for others
it is nobody's duplicate (decision 85).
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from gifster.app.access import comparable
from gifster.app.damaged_text import whole
from gifster.app.models import FingerprintPart, Gif, fingerprint_parts, hash_bits
from gifster.app.originals import is_edited
from gifster.jobs.database_errors import is_of_one_row
from gifster.jobs.statements import Statement, for_each_length
from gifster.uploads.columns.rows import readable

#: The difference hashes of near duplicates differ in at most so many of their 64 bits. Hashes that
#: differ in four bits may share no part, and would not be found.
MAX_BITS = 3
#: Only the newest GIFs that share a part are compared.
MAX_CANDIDATES = 500


def oldest_copies(gifs: Sequence[Gif], user_id: str | None = None) -> dict[str, str]:
    """The oldest GIF with the same upload, byte by byte, for each of these GIFs that is not the
    oldest itself. Both are ids. GIFs that failed do not count, nor do those of others that are not
    listed or have an edit.

    Parameters:
      user_id: of the user who reads it, if they are logged in. Their own private GIFs count.
    """
    ids = [gif.id for gif in gifs if _has_copies(gif, user_id)]
    ids = whole(ids)
    rows = _oldest([user_id or "", *ids]) if ids else []
    return {gif_id: other for gif_id, other in rows if other not in (None, gif_id)}


def _has_copies(gif: Gif, user_id: str | None) -> bool:
    """Whether somebody may know which GIFs have the same upload as this one."""
    known = gif.edit is None or _is_theirs(gif, user_id)
    return bool(gif.sha256) and gif.image_state != "failed" and known


def _is_theirs(gif: Gif, user_id: str | None) -> bool:
    return gif.user_id is not None and gif.user_id == user_id


def _is_compared(gif: Gif, user_id: str | None) -> bool:
    """Whether somebody may know what looks like the stored image of a GIF: others do not know that
    of an edited one. The hash is already that of the upload that replaces it."""
    stored = next(iter(Gif.image.stored_files(gif)), None)
    return stored is None or not is_edited(stored, gif.edit) or _is_theirs(gif, user_id)


def _oldest_of(values: list[Any]) -> Any:
    user_id, *ids = values
    oldest = Gif.alias()
    first = (
        oldest.select(oldest.id)
        .where((oldest.sha256 == Gif.sha256) & (oldest.image_state != "failed"))
        .where(comparable(user_id, oldest) | (oldest.id == Gif.id))
        .order_by(oldest.created_at, oldest.id)
        .limit(1)
    )
    return Gif.select(Gif.id, first).where(Gif.id.in_(ids)).tuples()


_oldest = for_each_length(_oldest_of)


def oldest_copy(gif: Gif, user_id: str | None = None) -> str | None:
    """The same for one GIF; None if it is the oldest itself, or failed."""
    if not _has_copies(gif, user_id):
        return None
    row = _OLDEST.row(sha256=gif.sha256, gif_id=gif.id, user_id=user_id or "")
    return None if row is None or row[0] == gif.id else str(row[0])


#: It runs with each upload.
_OLDEST = Statement(
    lambda sha256, gif_id, user_id: (
        Gif.select(Gif.id)
        .where((Gif.sha256 == sha256) & (Gif.image_state != "failed"))
        .where(comparable(user_id) | (Gif.id == gif_id))
        .order_by(Gif.created_at, Gif.id)
        .limit(1)
    )
)


def oldest_with(sha256: Sequence[str], user_id: str | None = None) -> dict[str, Gif]:
    """The oldest GIF with each of these uploads, by its SHA-256; without those that failed.

    Parameters:
      sha256: of the files as they are stored, or as they were sent.
      user_id: as in `oldest_copies()`.
    """
    found: dict[str, Gif] = {}
    for column in (Gif.sent_sha256, Gif.sha256):
        rows = (
            Gif.select(Gif.id, Gif.title, Gif.created_at, column)
            .where(column.in_(sha256) & (Gif.image_state != "failed") & comparable(user_id or ""))
            .order_by(Gif.created_at.desc(), Gif.id.desc())
        )
        oldest = {str(getattr(gif, column.name)): gif for gif in readable(rows)}
        for hashed, gif in oldest.items():
            if hashed not in found or gif.created_at < found[hashed].created_at:
                found[hashed] = gif
    return found


def near_duplicates_of(gif: Gif, most: int = 12, user_id: str | None = None) -> list[Gif]:
    """The near duplicates of a GIF, in other sizes or formats too; the newest first.

    A GIF without any detail has none (see `StoredFile.dhash`). Those of others that are not listed
    are left out.

    Parameters:
      most: how many at most.
      user_id: of the user who reads it, if they are logged in.
    """
    dhash = gif.image.stored and gif.image.stored.dhash
    if not dhash or not _is_compared(gif, user_id):
        return []
    parts = fingerprint_parts(dhash)
    sharing = FingerprintPart.select(FingerprintPart.gif).where(FingerprintPart.part.in_(parts))
    candidates = (
        Gif.select()
        .where(Gif.id.in_(sharing) & (Gif.id != gif.id) & comparable(user_id or ""))
        .order_by(Gif.created_at.desc())
        .limit(MAX_CANDIDATES)
    )

    def near(others: Iterable[Gif]) -> list[Gif]:
        compared = (other for other in others if _is_compared(other, user_id))
        alike = (other for other in compared if _differing_bits(dhash, other) <= MAX_BITS)
        return list(islice(alike, most))

    try:
        return near(candidates.iterator())  # lazily: reading the stored files of 500 takes 40 ms
    except Exception as error:
        if not is_of_one_row(error):
            raise
    return near(readable(candidates.clone()))  # that one would go on after the unreadable row


def _differing_bits(dhash: str, other: Gif) -> int:
    stored = other.image.stored
    bits = 0 if stored is None else hash_bits(stored.dhash)
    return (hash_bits(dhash) ^ bits).bit_count() if bits else 64
