"""Adding, changing and deleting GIFs. Lists of them are in `lists`; people are in `accounts`.

The functions are synchronous, know nothing of HTTP, and expect a database connection around them
(`with db.connection_context():`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import peewee
from peewee import SQL, fn

from gifster import jobs
from gifster.app import details, search, texts
from gifster.app.access import (
    MODERATORS,
    STRANGER,
    Reach,
    Viewer,
    may_change,
    may_see_gif,
    moderates,
)
from gifster.app.database import db
from gifster.app.editing import EditChange, change_edit, check_edit
from gifster.app.edits import Edit
from gifster.app.errors import BadQuery, Conflict, Denied, Invalid, LibraryError, NotFound
from gifster.app.models import Finding, Gif, GifTag, KeptUpload, Tag, User
from gifster.app.moderation.log import Action, actor, note
from gifster.app.numbers import counted
from gifster.app.texts import GIF_ID, Rating, Visibility
from gifster.jobs import transaction
from gifster.jobs.statements import Statement
from gifster.uploads import CachedFile
from gifster.uploads.columns.rows import locked_row
from gifster.uploads.resumable.table import ResumableUpload, Stage

#: PostgreSQL's number for the lock of the quota that people without an account share. Others have
#: the locks of `database`, of `transfer.importing` and of `jobs.transactions`.
NOBODYS_QUOTA = 713708
#: How often tags are looked up that the hourly job deletes at the same moment.
TAGS_TRIED = 3

#: Defined in `errors` and `access`, and imported from here.
__all__ = [
    "BadQuery", "Conflict", "Denied", "Invalid", "LibraryError", "NotFound", "Reach", "may_change",
]  # fmt: skip


@dataclass(frozen=True)
class Quota:
    """How much a user may have. People who are not logged in share one quota.

    Parameters:
      gifs: how many GIFs.
      bytes: how many bytes, as they were uploaded, with the files that refused forms keep and the
        whole length of unfinished uploads.
    """

    gifs: int
    bytes: int


def add_gif(  # noqa: PLR0913 fields, each with a default
    cached: CachedFile,
    *,
    title: str = "",
    tags: Iterable[str] = (),
    alt_text: str = "",
    rating: str = Rating.G,
    visibility: str = Visibility.PUBLIC,
    edit: Edit | None = None,
    user: User | None = None,
    quota: Quota | None = None,
) -> Gif:
    """The GIF made of an upload: its row, its tags and the job that stores it, in one transaction.

    Parameters:
      cached: the upload, complete in the cache. It belongs to the row from then on.
      title: at most `texts.MAX_TITLE` characters; by default the file's name without its
        extension.
      tags: at most `texts.MAX_TAGS`, of at most `texts.MAX_TAG` characters each.
      alt_text: at most `texts.MAX_ALT_TEXT` characters.
      rating, visibility: one of `texts.Rating`, and of `texts.Visibility`.
      edit: what is done to the picture before its versions are made.
      user: its owner.
      quota: the user's; None for no limit.

    Raises:
      Invalid: a text is too long, or has control characters; the rating or the visibility is
        none of those that there are; or a GIF without an owner would be private; or the picture
        cannot be edited so. Nothing has been written.
      Denied: the quota is used up; nothing has been written.
      Conflict: the user was deleted at the same moment; nothing has been written.
    """
    names = texts.tag_names(tags)
    title = texts.title(title) or texts.title_from(cached.filename)
    gif = Gif(
        title=title,
        alt_text=texts.alt_text(alt_text),
        rating=texts.rating(rating),
        visibility=texts.visibility(visibility),
        edit=edit,
        user=user,
        bytes=cached.bytes,
        sha256=cached.sha256,
        sent_sha256=cached.sent_sha256 or None,
    )
    check_edit(cached.info, edit)
    _check_owner(gif)
    gif.image = cached
    try:
        with transaction(db):
            lock_quota(user, quota)
            _no_longer_kept(cached)
            check_quota(user, quota, gifs=1, bytes=cached.bytes)
            gif.save(force_insert=True)
            _set_tags(gif, names)
            search.put(gif, names, is_new=True)
    except peewee.IntegrityError:
        if user is not None and User.get_or_none(User.id == user.id) is None:
            raise Conflict("account_gone", "Your account has just been deleted.") from None
        raise
    return gif


def replace_image(  # noqa: PLR0913 fields, each with a default
    gif_id: str,
    user: User | None,
    cached: CachedFile,
    quota: Quota | None = None,
    reach: Reach = Reach.OWN,
    *,
    reason: str = "",
) -> Gif:
    """The GIF with a new upload as its image. The present image stays until the upload is stored.

    The edit ends with this: it was made for the present image.

    Parameters:
      reason: why; a moderator who replaces the picture of somebody else's GIF needs one.

    Raises:
      NotFound, Denied: as `gif_to_change()`; also if the GIF is deleted at the same moment.
      Denied: the quota of the GIF's owner is used up.
      Invalid: it is a video of which only a part could be shown (`too_long`), or a moderator gives
        no reason.
    """
    gif = gif_to_change(gif_id, user, reach)
    by, before = actor(gif, user, reach, reason), gif.sha256
    owner = User.get_or_none(User.id == gif.user_id)
    check_edit(cached.info, None)
    gif.image, gif.edit = cached, None
    try:
        with transaction(db):
            lock_quota(owner, quota)
            _no_longer_kept(cached)
            present = locked_to_change(gif, user, reach)  # another replacement may have been first
            check_quota(owner, quota, bytes=cached.bytes - present.bytes)
            # If the upload turns out to be damaged, the present image stays.
            gif.bytes, gif.sha256 = cached.bytes, cached.sha256
            gif.sent_sha256 = cached.sent_sha256 or None
            stored = present.image.stored
            if stored is not None:
                there = stored.bytes if present.image_tmp else present.bytes
                gif.bytes = max(cached.bytes, there)
            # Not what somebody else changes meanwhile, such as the visibility.
            gif.save(only=["image", "edit", "bytes", "sha256", "sent_sha256"])
            note(Action.REPLACE, gif, by, {"sha256": (before, cached.sha256)})
    except peewee.DoesNotExist:
        raise gif_not_found(gif_id) from None
    return gif


def lock_quota(user: User | None, quota: Quota | None) -> None:
    """Lock a user's quota until the end of the transaction, so that simultaneous uploads are
    counted one after the other. SQLite has one writer at a time anyway."""
    if quota is None:
        return
    if user is not None:
        locked_row(user)
    elif isinstance(db.obj, peewee.PostgresqlDatabase):
        db.execute_sql(f"SELECT pg_advisory_xact_lock({NOBODYS_QUOTA})")


def used(user: User | None) -> tuple[int, int]:
    """How many GIFs count for a user's quota, and how many bytes: theirs, and those on their way.
    None: those of all people who were not logged in."""
    has, keeps = (_HAS, _KEEPS) if user is not None else (_NOBODY_HAS, _NOBODY_KEEPS)
    whose = {} if user is None else {"user": user.id}
    ((number, size),) = has.rows(**whose)
    owner = {} if user is None else {"owner": user.id}
    ((kept, unfinished, begun),) = keeps.rows(now=jobs.now(), **whose, **owner)
    return int(number) + begun, int(size) + int(kept) + int(unfinished)


def check_quota(user: User | None, quota: Quota | None, *, gifs: int = 0, bytes: int = 0) -> None:
    """Raise unless a user may have more now. After `lock_quota()` the answer holds until the end of
    the transaction.

    Parameters:
      gifs, bytes: how much more.

    Raises:
      Denied: that exceeds the quota.
    """
    if quota is None:
        return
    number, size = used(user)
    if gifs > 0 and number + gifs > quota.gifs:
        raise Denied(
            "quota_exceeded",
            f"The quota of {counted(quota.gifs, 'GIF')} is used up. Delete one first.",
        )
    if bytes > 0 and size + bytes > quota.bytes:
        raise Denied(
            "quota_exceeded",
            f"The file exceeds the quota of {quota.bytes / 1e6:,.1f} MB, of which "
            f"{size / 1e6:,.1f} MB are used. Delete something first.",
        )


def _had(user: Any) -> Any:
    has = Gif.select(fn.COUNT(SQL("*")), fn.COALESCE(fn.SUM(Gif.bytes), 0))
    return has.where(Gif.user == user)


def _kept(user: Any, owner: Any, now: Any) -> Any:
    unfinished: Any = ResumableUpload.select(fn.COALESCE(fn.SUM(ResumableUpload.length), 0))
    unfinished = unfinished.where(
        (ResumableUpload.owner == owner)
        & (ResumableUpload.stage == Stage.OPEN)
        & (ResumableUpload.expires_at > now)
    )
    number = unfinished.select(fn.COUNT(SQL("*")))
    kept = KeptUpload.select(fn.COALESCE(fn.SUM(KeptUpload.bytes), 0), unfinished, number)
    return kept.where(KeptUpload.user == user)


#: They run twice with each upload.
_HAS, _NOBODY_HAS = Statement(_had), Statement(lambda: _had(None))
_KEEPS, _NOBODY_KEEPS = Statement(_kept), Statement(lambda now: _kept(None, "", now))


def _no_longer_kept(cached: CachedFile) -> None:
    """A file that a refused form kept, or that a client wrote directly, belongs to a GIF from now
    on."""
    key = cached.key if cached.is_shared else cached.copy_of
    if key:
        KeptUpload.delete().where(KeptUpload.key == key).execute()


def edit_gif(  # noqa: PLR0913 fields, each with a default
    gif_id: str,
    user: User | None,
    *,
    title: str | None = None,
    tags: Iterable[str] | None = None,
    alt_text: str | None = None,
    rating: str | None = None,
    visibility: str | None = None,
    edit: EditChange | None = None,
    reach: Reach = Reach.OWN,
    reason: str = "",
) -> Gif:
    """The GIF with another title, other tags, and so on; None leaves each as it is.

    Parameters:
      edit: gets the present edit, and returns the new one. A worker makes the versions.
      reason: why; a moderator who edits somebody else's GIF needs one.

    Raises:
      Invalid: the title is empty, or as `add_gif()`, or a moderator gives no reason. Only an admin
        makes a GIF without an owner private: nobody else would see it again. Or the picture cannot
        be edited so.
      Conflict: there is no picture to edit.
      NotFound, Denied: as `gif_to_change()`; also if the GIF is deleted at the same moment.
      Denied: they may not give it this visibility.
    """
    gif = gif_to_change(gif_id, user, reach)
    by = actor(gif, user, reach, reason)
    names = None if tags is None else texts.tag_names(tags)
    new = details.cleaned(title=title, alt_text=alt_text, rating=rating, visibility=visibility)
    with transaction(db):
        # The lock serializes two changes of one GIF, and refuses them once it is deleted.
        row = locked_to_change(gif, user, reach)
        if "visibility" in new:  # a moderator may have hidden it since it was read
            details.check_visibility(row, new["visibility"], by)
        changes = details.changes(row, new, names) if moderates(gif, user, reach) else {}
        for name, value in new.items():
            setattr(gif, name, value)
        if edit is not None:
            change_edit(row, edit)
            changes["edit"] = (details.edit_json(gif), details.edit_json(row))
        if new:
            gif.save(only=list(new))
        if names is not None:
            GifTag.delete().where(GifTag.gif == gif).execute()
            _set_tags(gif, names)
        as_written = Gif.get_by_id(gif.id)  # another change may have been first
        search.put(as_written, names)
        if changes:
            note(Action.EDIT, row, by, changes)
        return gif if edit is None else as_written


def delete_gif(gif_id: str, user: User | None, reach: Reach = Reach.OWN, reason: str = "") -> None:
    """Delete a GIF for good, without the detour through the trash. A worker deletes its files soon
    after.

    Parameters:
      reason: why; a moderator who deletes somebody else's GIF needs one.

    Raises:
      NotFound, Denied: as `gif_to_change()`.
      Invalid: a moderator gives no reason.
    """
    gif = gif_to_change(gif_id, user, reach)
    by = actor(gif, user, reach, reason)
    with transaction(db):
        delete(locked_to_change(gif, user, reach))
        note(Action.DELETE, gif, by)


def delete(gif: Gif) -> None:
    """Delete a GIF for good, whoever asks."""
    with transaction(db):
        locked_row(gif)  # before its words, as all who change a GIF do: nobody waits crosswise
        search.remove(gif.id)
        gif.delete_instance()


def gif_not_found(gif_id: str) -> NotFound:
    """The error about a GIF that does not exist, or not for the one who asks."""
    return NotFound("gif_not_found", f"There is no GIF {gif_id[:40]}.")


def get_gif(gif_id: str, viewer: Viewer = STRANGER) -> Gif:
    """The GIF with that id.

    Parameters:
      viewer: who asks.

    Raises:
      NotFound: there is no such GIF, or the viewer may not see it.
    """
    possible = GIF_ID.fullmatch(gif_id)
    gif: Gif | None = Gif.get_or_none(Gif.id == gif_id) if possible else None
    if gif is None or not may_see_gif(gif, viewer):
        raise gif_not_found(gif_id)
    return gif


def gif_to_change(gif_id: str, user: User | None, reach: Reach = Reach.OWN) -> Gif:
    """The GIF with that id, for somebody who is going to change it.

    Parameters:
      user: None for somebody who is not logged in, but may write.
      reach: which GIFs they may change.

    Raises:
      NotFound: there is no such GIF, or they may not even see it.
      Denied: it is somebody else's (`not_yours`), or nobody's (`no_owner`).
    """
    gif = get_gif(gif_id, Viewer(None if user is None else user.id, reach))
    if may_change(gif, user, reach):
        return gif
    if gif.user_id is None:
        raise Denied("no_owner", "This GIF has no owner, so only a moderator may change it.")
    said = "This GIF belongs to somebody else."
    if user is not None and (user.is_admin or user.is_moderator) and reach not in MODERATORS:
        said += " To change it as a moderator, a token needs the scope admin."
    raise Denied("not_yours", said)


def locked_to_change(gif: Gif, user: User | None, reach: Reach) -> Gif:
    """The row of a GIF as it is now, locked until the transaction ends.

    Parameters:
      user, reach: as `gif_to_change()` got them when it was read.

    Raises:
      NotFound: it was deleted meanwhile, or its owner has made it private, and a moderator does not
        see it any more.
    """
    row: Gif | None = locked_row(gif)
    if row is None or not may_change(row, user, reach):
        raise gif_not_found(gif.id)
    return row


def keep_findings(counts: Mapping[str, int]) -> None:
    """Remember what a sweep has found, in place of what the previous one had."""
    with transaction(db):
        Finding.delete().execute()
        for kind, count in counts.items():
            Finding.create(kind=kind, count=count)


def last_findings() -> list[Finding]:
    """What the last sweep found; nothing before the first."""
    return list(Finding.select().order_by(Finding.kind))


def _check_owner(gif: Gif) -> None:
    """Raise `Invalid` for a private GIF that has no owner."""
    if gif.visibility == Visibility.PRIVATE and gif.user_id is None:
        raise details.private_needs_owner()


def _set_tags(gif: Gif, names: list[str]) -> None:
    if not names:
        return
    rows: list[dict[str, Any]] = []
    for _ in range(TAGS_TRIED):
        # In alphabetical order, as everybody does, so that no two transactions wait for each other.
        Tag.insert_many([{"name": name} for name in names]).on_conflict_ignore().execute()
        found: Any = Tag.select().where(Tag.name.in_(names))
        if db.obj.for_update:
            found = found.for_update("FOR KEY SHARE")  # nobody deletes one before it is named
        rows = [{"gif": gif, "tag": tag} for tag in found]
        if len(rows) == len(names):
            break
    else:
        raise Conflict("conflict", "A tag has just been deleted. Try again.")
    GifTag.insert_many(rows).on_conflict_ignore().execute()
