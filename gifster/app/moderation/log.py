"""The log of moderation: who changed, hid or removed whose GIF, and why; who closed a report; who
got another role.

An entry is written in the transaction of what it tells of, and never changed. It names the GIF and
the people as they were then, so it outlives them. Admins read it.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import peewee

from gifster.app import texts
from gifster.app.access import Reach, moderates
from gifster.app.cursors import newest_page
from gifster.app.damaged_text import whole
from gifster.app.errors import Invalid
from gifster.app.models import (
    BaseModel,
    Gif,
    MomentField,
    User,
    moment_before,
    new_id,
    now,
    rfc3339,
)
from gifster.uploads.columns.rows import log_unreadable, readable

#: How long entries are kept.
KEPT_DAYS = 730
#: How many characters of a value that was changed are kept.
MOST_VALUE = 300


class Action(StrEnum):
    """What a moderator did."""

    EDIT = "edit"
    REPLACE = "replace"
    TRASH = "trash"
    RESTORE = "restore"
    DELETE = "delete"
    HIDE = "hide"
    UNHIDE = "unhide"
    REMOVE = "remove"
    RESOLVE = "resolve"
    DISMISS = "dismiss"
    ROLE = "role"
    DISABLE = "disable"
    ENABLE = "enable"
    LOG_OUT = "log-out"
    #: An account, by a command; people who leave by themselves are not in the log.
    LEAVE = "leave"
    #: The second factor of somebody who has lost it.
    FACTOR_OFF = "factor-off"


class ModerationEntry(BaseModel):
    id = peewee.CharField(12, primary_key=True, default=new_id)
    at: Any = MomentField(default=now)
    #: None for a command; also once the account is deleted.
    moderator = peewee.ForeignKeyField(User, null=True, on_delete="SET NULL")
    moderator_id: str | None
    moderator_name = peewee.CharField(100)
    action = peewee.CharField(12)
    #: No foreign keys: the entry outlives the GIF, its owner, and the account with another role.
    gif_id = peewee.CharField(12, null=True, index=True)
    user_id = peewee.CharField(12, null=True)
    #: The title of the GIF, or the name of the account.
    subject = peewee.CharField(200)
    reason = peewee.CharField(1000)
    #: JSON: the values before and after, by the name of the field.
    changes = peewee.TextField()

    class Meta:
        table_name = "moderation_entry"
        indexes = ((("at", "id"), False),)

    @property
    def changed(self) -> dict[str, list[Any]]:
        """The values before and after, by the name of the field; none if they are damaged."""
        try:
            read: dict[str, list[Any]] = json.loads(self.changes)
        except ValueError as error:
            log_unreadable(ModerationEntry, self.id, error)
            return {}
        return read


@dataclass(frozen=True)
class Actor:
    """Somebody who changes a GIF.

    Parameters:
      user: None for somebody who is not logged in, and for a command.
      reach: which GIFs they may change.
      reason: why they do it; clean, and maybe empty.
    """

    user: User | None
    reach: Reach
    reason: str = ""


def actor(gif: Gif, user: User | None, reach: Reach, reason: str) -> Actor:
    """Somebody who is going to change a GIF. A moderator needs a reason to change somebody else's;
    an admin, whose scripts may do so, may leave it out.

    Raises:
      Invalid: the reason is missing, too long, or has control characters.
    """
    reason = texts.reason(reason)
    if not reason and needs_reason(gif, user, reach):
        raise reason_missing()
    return Actor(user, reach, reason)


def needs_reason(gif: Gif, user: User | None, reach: Reach) -> bool:
    """Whether somebody has to say why they change a GIF."""
    return reach is Reach.MODERATED and moderates(gif, user, reach)


def reason_missing() -> Invalid:
    """The error about what a moderator does without a reason."""
    return Invalid("reason_missing", "Give a reason: the log of moderation keeps it.")


def note(
    action: Action, gif: Gif, by: Actor, changes: dict[str, tuple[Any, Any]] | None = None
) -> None:
    """Write into the log what a moderator did with somebody else's GIF. What people do with their
    own GIFs is not in it. Call it in the transaction of the change.

    Parameters:
      changes: the values before and after, by the name of the field.
    """
    if moderates(gif, by.user, by.reach):
        about = {"gif_id": gif.id, "user_id": gif.user_id, "subject": gif.title}
        _write(action, by.user, by.reason, changes or {}, about)


def note_moderation(
    action: Action, gif: Gif, by: User, reason: str, changes: dict[str, tuple[Any, Any]]
) -> None:
    """Write into the log that a moderator hid a GIF, or the like, be it their own.

    Parameters:
      changes: as of `note()`.
    """
    about = {"gif_id": gif.id, "user_id": gif.user_id, "subject": gif.title}
    _write(action, by, reason, changes, about)


def note_report(action: Action, gif: Gif, by: User, reason: str, number: int) -> None:
    """Write into the log that somebody closed reports about a GIF.

    Parameters:
      number: how many.
    """
    about = {"gif_id": gif.id, "user_id": gif.user_id, "subject": gif.title}
    _write(action, by, reason, {"open_reports": (number, 0)}, about)


def note_role(user: User, before: str, after: str, by: User | None, reason: str) -> None:
    """Write into the log that an account got another role."""
    about = {"gif_id": None, "user_id": user.id, "subject": user.name}
    _write(Action.ROLE, by, texts.reason(reason), {"role": (before, after)}, about)


def note_account(
    action: Action,
    user: User,
    changes: dict[str, tuple[Any, Any]],
    by: User | None = None,
    reason: str = "",
) -> None:
    """Write into the log what an admin or a command did with an account.

    Parameters:
      changes: as of `note()`.
      by: the admin; None for a command.
    """
    about = {"gif_id": None, "user_id": user.id, "subject": user.name}
    _write(action, by, texts.reason(reason), changes, about)


def _write(
    action: Action,
    by: User | None,
    reason: str,
    changes: dict[str, tuple[Any, Any]],
    about: dict[str, str | None],
) -> None:
    kept = {name: [_cut(before), _cut(after)] for name, (before, after) in changes.items()}
    ModerationEntry.create(
        moderator=by,
        moderator_name="" if by is None else by.name,
        action=action.value,
        reason=reason,
        changes=json.dumps(kept, ensure_ascii=False),
        **about,
    )


def _cut(value: Any) -> Any:
    """A value, shortened: an entry says what was changed, and is no copy of it."""
    if isinstance(value, list):
        value = ", ".join(value)
    if isinstance(value, str) and len(value) > MOST_VALUE:
        return value[: MOST_VALUE - 1] + "…"
    return value


def entries(
    *, gif_id: str = "", user_id: str = "", cursor: str = "", limit: int = 30
) -> tuple[list[ModerationEntry], str | None]:
    """A page of the log, the newest entries first, and the cursor of the next page.

    Parameters:
      gif_id: only entries about this GIF; empty for all.
      user_id: only entries about this account, without those about its GIFs; empty for all.

    Raises:
      BadQuery: the limit or the cursor is invalid.
    """
    query: Any = ModerationEntry.select()
    if gif_id:
        query = query.where(ModerationEntry.gif_id == gif_id)
    if user_id:
        about_it = (ModerationEntry.user_id == user_id) & ModerationEntry.gif_id.is_null()
        query = query.where(about_it)
    return newest_page(query, ModerationEntry.at, ModerationEntry.id, cursor, limit)


def entry_json(entry: ModerationEntry) -> dict[str, Any]:
    """An entry as JSON, for the API and for commands."""
    return {
        "id": entry.id,
        "at": rfc3339(entry.at),
        "moderator": {"id": entry.moderator_id, "name": entry.moderator_name},
        "action": entry.action,
        "gif_id": entry.gif_id,
        "user_id": entry.user_id,
        "subject": entry.subject,
        "reason": entry.reason,
        "changes": entry.changed,
    }


def hidings(gif_ids: list[str]) -> dict[str, ModerationEntry]:
    """The last entry about the hiding of each GIF, by the ids of those that the log has."""
    query: Any = ModerationEntry.select().where(
        ModerationEntry.gif_id.in_(whole(gif_ids)),
        ModerationEntry.action.in_([Action.HIDE.value, Action.REMOVE.value]),
    )
    return {entry.gif_id: entry for entry in readable(query.order_by(ModerationEntry.at))}


def why_hidden(gif_id: str) -> str:
    """The reason that a moderator gave last for hiding a GIF; empty if the log does not have it."""
    last = hidings([gif_id]).get(gif_id)
    return "" if last is None else str(last.reason)


def forget_old(days: int = KEPT_DAYS) -> int:
    """Delete entries that are older. Returns how many."""
    before = moment_before(timedelta(days=days))
    return int(ModerationEntry.delete().where(ModerationEntry.at < before).execute())
