"""What the application does with GIFs, as plain functions; what it does with people is in
`app/accounts.py`.

They are synchronous, know nothing of HTTP, and expect a database connection around them
(`with db.connection_context():`).
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import peewee
from peewee import SQL, fn

from gifster.app import texts
from gifster.app.database import db
from gifster.app.errors import BadQuery, Conflict, Denied, Invalid, LibraryError, NotFound
from gifster.app.models import Finding, Gif, GifTag, KeptUpload, Tag, User
from gifster.app.texts import GIF_ID
from gifster.jobs import transaction
from gifster.uploads import CachedFile
from gifster.uploads.rows import locked_row

MAX_LIMIT = 100
#: What a database's largest integer can hold.
_MAX_MOMENT = 2**63 - 1
_CURSOR = re.compile(rf"([0-9]{{1,19}})\.({GIF_ID.pattern})")
#: PostgreSQL's name for the lock of the quota that people who have not signed in share.
NOBODYS_QUOTA = 713706

#: Defined elsewhere, and found here.
__all__ = ["BadQuery", "Conflict", "Denied", "Invalid", "LibraryError", "NotFound"]


class Reach(Enum):
    """Which GIFs somebody may change."""

    #: Their own. Those without an owner belong to people who have not signed in.
    OWN = "own"
    #: Also those without an owner, where anybody may write.
    OWNERLESS = "ownerless"
    #: All: an admin.
    ALL = "all"


@dataclass(frozen=True)
class Quota:
    """How many GIFs a user may have, and of how many bytes as they were uploaded, with the files
    that refused forms keep. People who have not signed in share one."""

    gifs: int
    bytes: int


def add_gif(
    cached: CachedFile,
    *,
    title: str = "",
    tags: Iterable[str] = (),
    user: User | None = None,
    quota: Quota | None = None,
) -> Gif:
    """Accept an upload: the row, its tags and the job that will store it, in one transaction.

    Parameters:
      cached: the upload, complete in the cache. It belongs to the row from then on.
      title: at most `texts.MAX_TITLE` characters; by default the file's name without its
        extension.
      tags: at most `texts.MAX_TAGS`, of at most `texts.MAX_TAG` characters each.
      user: whose it is.
      quota: what the user may have; None is no end.

    Raises:
      Invalid: the title or a tag is too long, or has control characters; nothing has been
        written.
      Denied: the quota is used up; nothing has been written.
      Conflict: the user was deleted at the same moment; nothing has been written.
    """
    names = texts.tag_names(tags)
    title = texts.title(title) or texts.title_from(cached.filename)
    gif = Gif(title=title, user=user, bytes=cached.bytes, sha256=cached.sha256)
    gif.image = cached
    try:
        with transaction(db):
            lock_quota(user, quota)
            _no_longer_kept(cached)
            check_quota(user, quota, gifs=1, bytes=cached.bytes)
            gif.save(force_insert=True)
            _set_tags(gif, names)
    except peewee.IntegrityError:
        if user is not None and User.get_or_none(User.id == user.id) is None:
            raise Conflict("account_gone", "Your account has just been deleted.") from None
        raise
    return gif


def replace_image(
    gif_id: str,
    user: User | None,
    cached: CachedFile,
    quota: Quota | None = None,
    reach: Reach = Reach.OWN,
) -> Gif:
    """Give a GIF another image. The present one stays until the new one is stored.

    Raises:
      NotFound, Denied: as `gif_to_change()`; also if the GIF is deleted at the same moment.
      Denied: the quota of the GIF's owner is used up.
    """
    gif = gif_to_change(gif_id, user, reach)
    owner = User.get_or_none(User.id == gif.user_id)
    gif.image = cached
    try:
        with transaction(db):
            lock_quota(owner, quota)
            _no_longer_kept(cached)
            present = locked_row(gif)  # another replacement may have come first
            if present is not None:
                check_quota(owner, quota, bytes=cached.bytes - present.bytes)
                # Should this one turn out to be damaged, the present image stays.
                gif.bytes, gif.sha256 = cached.bytes, cached.sha256
                stored = present.image.stored
                if stored is not None:
                    there = stored.bytes if present.image_tmp else present.bytes
                    gif.bytes = max(cached.bytes, there)
            gif.save()
    except peewee.DoesNotExist:
        raise _not_found(gif_id) from None
    return gif


def lock_quota(user: User | None, quota: Quota | None) -> None:
    """Let nobody else use up what a user may have, until the end of the transaction: uploads at
    once are counted one after the other. SQLite has one writer at a time anyway."""
    if quota is None:
        return
    if user is not None:
        locked_row(user)
    elif isinstance(db.obj, peewee.PostgresqlDatabase):
        db.execute_sql(f"SELECT pg_advisory_xact_lock({NOBODYS_QUOTA})")


def check_quota(user: User | None, quota: Quota | None, *, gifs: int = 0, bytes: int = 0) -> None:
    """See whether a user may have some more now. After `lock_quota()` the answer holds until the
    end of the transaction.

    Parameters:
      gifs, bytes: how much more.

    Raises:
      Denied: that is more than the quota.
    """
    if quota is None:
        return
    has = Gif.select(fn.COUNT(SQL("*")), fn.COALESCE(fn.SUM(Gif.bytes), 0)).where(Gif.user == user)
    number, size = (int(value) for value in has.scalar(as_tuple=True))
    keeps = KeptUpload.select(fn.COALESCE(fn.SUM(KeptUpload.bytes), 0))
    size += int(keeps.where(KeptUpload.user == user).scalar())
    if gifs > 0 and number + gifs > quota.gifs:
        raise Denied("quota_exceeded", f"{quota.gifs:,} GIFs is all there is room for here.")
    if bytes > 0 and size + bytes > quota.bytes:
        raise Denied(
            "quota_exceeded",
            f"{quota.bytes / 1e6:,.1f} MB is all there is room for here; {size / 1e6:,.1f} MB are "
            "used. Delete something first.",
        )


def _no_longer_kept(cached: CachedFile) -> None:
    """A file that a refused form kept is a GIF's from now on."""
    if cached.is_shared:
        KeptUpload.delete().where(KeptUpload.key == cached.key).execute()


def edit_gif(
    gif_id: str,
    user: User | None,
    *,
    title: str | None = None,
    tags: Iterable[str] | None = None,
    reach: Reach = Reach.OWN,
) -> Gif:
    """Change the title or the tags; None leaves them as they are.

    Raises:
      Invalid: the title is empty or too long, or a tag is too long, or one has control characters.
      NotFound, Denied: as `gif_to_change()`; also if the GIF is deleted at the same moment.
    """
    gif = gif_to_change(gif_id, user, reach)
    names = None if tags is None else texts.tag_names(tags)
    if title is not None:
        gif.title = texts.title(title)
        if not gif.title:
            raise Invalid("title_missing", "A GIF needs a title.")
    with transaction(db):
        # Two changes of one GIF go one after the other, and none after it has been deleted.
        if locked_row(gif) is None:
            raise _not_found(gif_id)
        if title is not None:
            gif.save(only=[Gif.title])
        if names is not None:
            GifTag.delete().where(GifTag.gif == gif).execute()
            _set_tags(gif, names)
    return gif


def delete_gif(gif_id: str, user: User | None, reach: Reach = Reach.OWN) -> None:
    """Delete a GIF. Its files go as soon as a worker comes to it.

    Raises:
      NotFound, Denied: as `gif_to_change()`.
    """
    gif_to_change(gif_id, user, reach).delete_instance()


def get_gif(gif_id: str) -> Gif:
    """The GIF of that id.

    Raises:
      NotFound: there is none.
    """
    possible = GIF_ID.fullmatch(gif_id)
    gif: Gif | None = Gif.get_or_none(Gif.id == gif_id) if possible else None
    if gif is None:
        raise _not_found(gif_id)
    return gif


def get_gifs(gif_ids: Sequence[str]) -> list[Gif]:
    """Those of these GIFs that exist, in any order."""
    possible = [gif_id for gif_id in gif_ids if GIF_ID.fullmatch(gif_id)]
    return list(Gif.select().where(Gif.id.in_(possible)))


def gif_to_change(gif_id: str, user: User | None, reach: Reach = Reach.OWN) -> Gif:
    """The GIF of that id, for somebody who is going to change it.

    Parameters:
      user: who; None is somebody who has not signed in, and may write all the same.
      reach: which GIFs they may change.

    Raises:
      NotFound: there is none.
      Denied: it is somebody else's (`not_yours`), or nobody's (`no_owner`).
    """
    gif = get_gif(gif_id)
    if may_change(gif, user, reach):
        return gif
    if gif.user_id is None:
        raise Denied("no_owner", "This GIF has no owner, so only an admin may change it.")
    raise Denied("not_yours", "This GIF belongs to somebody else.")


def may_change(gif: Gif, user: User | None, reach: Reach) -> bool:
    """Whether somebody who may write may change a GIF; the parameters are `gif_to_change()`'s."""
    own = gif.user_id == (None if user is None else user.id)
    return own or reach is Reach.ALL or (gif.user_id is None and reach is Reach.OWNERLESS)


def check_limit(limit: int) -> None:
    """Raises `BadQuery` unless a list may be asked for so many."""
    if not 1 <= limit <= MAX_LIMIT:
        raise BadQuery("limit_invalid", f"limit must be 1 to {MAX_LIMIT}.")


def list_gifs(
    *, q: str = "", tag: str = "", cursor: str = "", limit: int = 30
) -> tuple[list[Gif], str | None]:
    """GIFs, newest first.

    Parameters:
      q: a part of the title or of a tag, in any case; at most `texts.MAX_QUERY` characters.
      tag: a whole tag.
      cursor: what the last call returned, to go on from there.
      limit: how many at most, 1 to 100.

    Returns:
      the GIFs, and the cursor of the next page, None on the last.

    Raises:
      BadQuery: the limit or the cursor is invalid, or `q` or `tag` is too long or has control
        characters.
    """
    check_limit(limit)
    q, tag = texts.query(q), texts.asked_tag(tag)
    query = Gif.select().order_by(Gif.created_at.desc(), Gif.id.desc()).limit(limit + 1)
    if cursor:
        created_at, gif_id = _read_cursor(cursor)
        query = query.where(
            (Gif.created_at < created_at) | ((Gif.created_at == created_at) & (Gif.id < gif_id))
        )
    if q:
        query = query.where(Gif.title.contains(q) | Gif.id.in_(_tagged(Tag.name.contains(q))))
    if tag:
        query = query.where(Gif.id.in_(_tagged(Tag.name == tag)))
    gifs = list(query)
    if len(gifs) <= limit:
        return gifs, None
    last = gifs[limit - 1]
    return gifs[:limit], _write_cursor(Gif.created_at.db_value(last.created_at), last.id)


def count_by_state() -> dict[str, int]:
    """How many GIFs there are in each state."""
    query: Any = Gif.select(Gif.image_state, fn.COUNT(SQL("*"))).group_by(Gif.image_state)
    return dict(query.tuples())


def keep_findings(counts: Mapping[str, int]) -> None:
    """Remember what a sweep has found, in place of what the one before had."""
    with transaction(db):
        Finding.delete().execute()
        for kind, count in counts.items():
            Finding.create(kind=kind, count=count)


def last_findings() -> list[Finding]:
    """What the last sweep found; nothing before the first."""
    return list(Finding.select().order_by(Finding.kind))


def states(gif_ids: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """The state of each of these GIFs that exists, and the SHA-256 of its image, once that is
    stored."""
    rows: Any = Gif.select(Gif.id, Gif.image_state, Gif.image).where(Gif.id.in_(gif_ids)).tuples()
    return {gif_id: (state, stored and stored.sha256) for gif_id, state, stored in rows}


def tags_of(gifs: Sequence[Gif]) -> dict[str, list[str]]:
    """The tags of each of these GIFs, in alphabetical order."""
    found: dict[str, list[str]] = {gif.id: [] for gif in gifs}
    rows: Any = (
        GifTag.select(GifTag.gif, Tag.name)
        .join(Tag)
        .where(GifTag.gif.in_(list(found)))
        .order_by(Tag.name)
        .tuples()
    )
    for gif_id, name in rows:
        found[gif_id].append(name)
    return found


def _not_found(gif_id: str) -> NotFound:
    return NotFound("gif_not_found", f"There is no GIF {gif_id[:40]}.")


def _set_tags(gif: Gif, names: list[str]) -> None:
    if not names:
        return
    # In alphabetical order everywhere, so that no two transactions wait for each other.
    Tag.insert_many([{"name": name} for name in names]).on_conflict_ignore().execute()
    found: Any = Tag.select().where(Tag.name.in_(names))
    if db.obj.for_update:
        found = found.for_update("FOR KEY SHARE")  # none may be deleted before it is named
    rows = [{"gif": gif, "tag": tag} for tag in found]
    if len(rows) < len(names):
        raise Conflict("conflict", "A tag has just been deleted. Try again.")
    GifTag.insert_many(rows).on_conflict_ignore().execute()


def _tagged(condition: peewee.Expression) -> peewee.Query:
    return GifTag.select(GifTag.gif).join(Tag).where(condition)


def _write_cursor(created_at: int, gif_id: str) -> str:
    return base64.urlsafe_b64encode(f"{created_at}.{gif_id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars="-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    found = _CURSOR.fullmatch(text)
    if found is None or int(found[1]) > _MAX_MOMENT:
        raise BadQuery("cursor_invalid", "cursor must be `next` of the page before.")
    return int(found[1]), found[2]
