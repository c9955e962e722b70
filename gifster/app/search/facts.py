"""What the filters of a search ask for, as words of the index that no text can have: they begin
with an underscore.

    _rpg-13 → `_rpg13`   its rating
    _km, _ks, _kn        it moves, is still, or is not stored yet
    _kt                  it has transparency
    _u…, _g…             its owner, and each of its tags
    _p0                  it is one of the most used (see `popularity`)
"""

import base64
import hashlib
from collections.abc import Sequence

from gifster.app.models import Gif
from gifster.app.search.expressions import Expression, any_of, but_not, every, term
from gifster.app.search.filters import ALL_RATINGS, Filter
from gifster.imaging.fingerprint import has_alpha
from gifster.uploads import StoredFile

MOVES, STILL, UNSTORED, STICKER = "_km", "_ks", "_kn", "_kt"
OF_TAG = "_g"
SHELF = "_p0"
#: With those of a former release, which the index may still have.
SHELVES = (SHELF, "_p1", "_p2")


def facts(gif: Gif, tags: Sequence[str]) -> list[str]:
    """All facts about a GIF but its shelf."""
    own = [of_owner(gif.user_id)] if gif.user_id else []
    return [_rating(gif.rating), *kinds(stored_image(gif)), *own, *map(of_tag, tags)]


def of_tag(tag: str) -> str:
    """The fact that a GIF has this tag."""
    return _hashed(OF_TAG, tag)


def of_owner(user_id: str) -> str:
    """The fact that a GIF belongs to this user."""
    return _hashed("_u", user_id)


def stored_image(gif: Gif) -> StoredFile | None:
    """The image of a GIF; None until it is stored."""
    return next(iter(Gif.image.stored_files(gif)), None)


def kinds(stored: StoredFile | None) -> list[str]:
    """The facts about a stored image."""
    if stored is None:
        return [UNSTORED]
    try:
        see_through = has_alpha(stored.thumbhash) if stored.thumbhash else False
    except (ValueError, IndexError):  # it is damaged
        see_through = False
    return [MOVES if stored.frames > 1 else STILL, *([STICKER] if see_through else [])]


def ratio(stored: StoredFile | None) -> float:
    """The width of what a GIF shows divided by its height; 0 if that is not known."""
    thumb = stored.versions.get("thumb") if stored and stored.steps else None
    shown = thumb or stored
    return shown.width / shown.height if shown and shown.height else 0


def narrowed(words: Expression | None, filter: Filter) -> Expression:
    """The expression that finds some words, or anything, within a filter."""
    wanted, unwanted = [] if words is None else [words], []
    if filter.tag:
        wanted.append(term(of_tag(filter.tag)))
    if filter.user:
        wanted.append(term(of_owner(filter.user)))
    if filter.kind in _KINDS:
        wanted.append(term(_KINDS[filter.kind]))
    if filter.moves is False:
        wanted.append(term(STILL))
    if filter.kind == "gif" or filter.moves:
        unwanted += [STILL, UNSTORED]
    if filter.ready:
        unwanted.append(UNSTORED)
    ratings = [_rating(rating) for rating in sorted(filter.ratings)]
    if not wanted or "g" not in filter.ratings:
        wanted.append(any_of([term(rating) for rating in ratings]))
    else:  # most GIFs have the first rating
        unwanted += [_rating(rating) for rating in sorted(ALL_RATINGS - filter.ratings)]
    return but_not(every(wanted), [term(fact) for fact in dict.fromkeys(unwanted)])


_KINDS = {"still": STILL, "sticker": STICKER}


def _rating(rating: str) -> str:
    return f"_r{rating.replace('-', '')}"


def _hashed(kind: str, name: str) -> str:
    digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=5).digest()
    return kind + base64.b32encode(digest).decode("ascii").lower()
