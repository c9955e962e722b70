"""Find duplicates of a GIF: the same file, or near duplicates by their fingerprints."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from gifster.app.models import FingerprintPart, Gif, fingerprint_parts

#: The difference hashes of near duplicates differ in at most so many of their 64 bits. Hashes that
#: differ in four bits may share no part, and would not be found.
MAX_BITS = 3
#: Only the newest GIFs that share a part are compared.
MAX_CANDIDATES = 500


def same_as(gifs: Sequence[Gif]) -> dict[str, str]:
    """Find GIFs whose file was uploaded before.

    Returns:
      the ids of such GIFs, each with the id of the oldest GIF that has the same file and has not
      failed. A GIF that has failed is left out.
    """
    oldest = Gif.alias()
    first = (
        oldest.select(oldest.id)
        .where((oldest.sha256 == Gif.sha256) & (oldest.image_state != "failed"))
        .order_by(oldest.created_at, oldest.id)
        .limit(1)
    )
    ids = [gif.id for gif in gifs if gif.sha256 and gif.image_state != "failed"]
    rows: Any = Gif.select(Gif.id, first).where(Gif.id.in_(ids)).tuples()
    return {gif_id: other for gif_id, other in rows if other not in (None, gif_id)}


def looking_like(gif: Gif, most: int = 12) -> list[Gif]:
    """The near duplicates of a GIF, also in other sizes or formats; the newest first.

    Parameters:
      most: how many to return at most.

    Returns:
      the GIFs; none for an image with nothing to see (see `StoredFile.dhash`).
    """
    dhash = gif.image.stored and gif.image.stored.dhash
    if not dhash:
        return []
    parts = fingerprint_parts(dhash)
    sharing = FingerprintPart.select(FingerprintPart.gif).where(FingerprintPart.part.in_(parts))
    candidates = (
        Gif.select()
        .where(Gif.id.in_(sharing) & (Gif.id != gif.id))
        .order_by(Gif.created_at.desc())
        .limit(MAX_CANDIDATES)
    )
    # One at a time: loading the stored files of 500 takes 40 ms.
    near = (other for other in candidates.iterator() if _distance(dhash, other) <= MAX_BITS)
    return list(islice(near, most))


def _distance(dhash: str, other: Gif) -> int:
    """In how many bits the hash of another GIF differs."""
    stored = other.image.stored
    if stored is None or stored.dhash is None:
        return 64
    return (int(dhash, 16) ^ int(stored.dhash, 16)).bit_count()
