"""GIFs that are there already: the same file, or one that looks like it."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from gifster.app.models import Gif, Likeness, quarters

#: Of the 64 bits of two perceptual hashes so many may differ. With four, two quarters of 16 bits
#: need not be equal, and would not be found.
MOST_BITS = 3
#: So many that have a quarter in common, the newest, are looked at.
MOST_CANDIDATES = 500


def same_as(gifs: Sequence[Gif]) -> dict[str, str]:
    """Of each of these GIFs whose upload was there before, byte by byte, the id of the oldest one
    that has it and did not fail."""
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
    """GIFs whose pictures look like those of one, in other sizes or formats too; the newest first.

    Nothing is said of one that has nothing to be seen in it (see `StoredFile.dhash`).
    """
    dhash = gif.image.stored and gif.image.stored.dhash
    if not dhash:
        return []
    shared = Likeness.select(Likeness.gif).where(Likeness.quarter.in_(quarters(dhash)))
    candidates = (
        Gif.select()
        .where(Gif.id.in_(shared) & (Gif.id != gif.id))
        .order_by(Gif.created_at.desc())
        .limit(MOST_CANDIDATES)
    )
    # One by one: reading what is stored of 500 takes 40 ms.
    alike = (other for other in candidates.iterator() if _differ_in(dhash, other) <= MOST_BITS)
    return list(islice(alike, most))


def _differ_in(dhash: str, other: Gif) -> int:
    stored = other.image.stored
    if stored is None or stored.dhash is None:
        return 64
    return (int(dhash, 16) ^ int(stored.dhash, 16)).bit_count()
