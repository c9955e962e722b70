"""Reports: readers tell moderators of a GIF that should not be in the library.

Everybody who sees a GIF may report it, also without an account. Nothing is kept of who reported it
but their account. Moderators resolve or dismiss a report.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Any

import peewee

from gifster.app import library, texts
from gifster.app.access import Viewer
from gifster.app.cursors import newest_page
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied, Invalid, NotFound
from gifster.app.models import BaseModel, Gif, MomentField, User, moment_before, new_id, now
from gifster.app.moderation import log
from gifster.app.moderation.log import Action
from gifster.app.moderation.roles import Role, role_of
from gifster.jobs import transaction
from gifster.jobs.wording import not_one_of
from gifster.uploads.columns.rows import locked_row

#: So many reports of one GIF are open at once: more say nothing new.
MOST_OPEN = 20
#: How long closed reports are kept.
KEPT_DAYS = 180


class ReportReason(StrEnum):
    """Why somebody reports a GIF."""

    SPAM = "spam"
    HARMFUL = "harmful"
    RIGHTS = "rights"
    WRONG = "wrong"
    OTHER = "other"


class Verdict(StrEnum):
    """What a moderator decided about a report."""

    #: Something was done about it.
    RESOLVED = "resolved"
    #: Nothing needs to be done.
    DISMISSED = "dismissed"


class Report(BaseModel):
    id = peewee.CharField(12, primary_key=True, default=new_id)
    gif = peewee.ForeignKeyField(Gif, on_delete="CASCADE")
    gif_id: str
    #: None for somebody who was not logged in.
    user = peewee.ForeignKeyField(User, null=True, on_delete="SET NULL")
    user_id: str | None
    reason = peewee.CharField(12)
    text = peewee.CharField(1000, default="")
    created_at: Any = MomentField(default=now)
    #: None as long as it is open.
    closed_at: Any = MomentField(null=True, index=True)
    verdict = peewee.CharField(9, null=True)


_created_at: Any = Report.created_at
_is_open: Any = Report.closed_at.is_null()
Report.add_index(
    peewee.ModelIndex(Report, (_created_at, Report.id), where=_is_open, name="report_open")
)


def report(gif_id: str, viewer: Viewer, user: User | None, reason: str, text: str = "") -> None:
    """Tell the moderators of a GIF. A second report by the same account changes nothing, as long as
    the first one is open.

    Parameters:
      viewer: who reports it, and must be able to see it.
      user: their account; None for somebody who is not logged in.
      reason: one of `ReportReason`.
      text: what else they say, at most `texts.MAX_REASON` characters.

    Raises:
      NotFound: there is no such GIF, or they may not see it.
      Invalid: the reason or the text is invalid.
    """
    if reason not in set(ReportReason):
        raise Invalid("reason_invalid", not_one_of("reason", reason, ReportReason))
    text = texts.reason(text)
    gif = library.get_gif(gif_id, viewer)
    with transaction(db):
        if locked_row(gif) is None:  # the lock also counts simultaneous reports one by one
            raise library.gif_not_found(gif_id)
        about = _open_about(gif)
        twice = user is not None and about.where(Report.user == user).exists()
        if not twice and about.count() < MOST_OPEN:
            Report.create(gif=gif, user=user, reason=reason, text=text)


def _open_about(gif: Gif) -> Any:
    return Report.select().where(Report.gif == gif, Report.closed_at.is_null())


def open_reports(*, cursor: str = "", limit: int = 30) -> tuple[list[Report], str | None]:
    """A page of the open reports with their GIFs, the newest first, and the cursor of the next
    page.

    Raises:
      BadQuery: the limit or the cursor is invalid.
    """
    query: Any = (
        Report.select(Report, Gif, User)
        .join(Gif)
        .switch(Report)
        .join(User, peewee.JOIN.LEFT_OUTER, on=(Report.user == User.id))
        .where(Report.closed_at.is_null())
    )
    return newest_page(query, Report.created_at, Report.id, cursor, limit)


def count_open() -> int:
    """How many reports are open."""
    return int(Report.select().where(Report.closed_at.is_null()).count())


def close(report_id: str, verdict: str, by: User, reason: str = "") -> Report:
    """The report, which is closed from now on.

    Parameters:
      verdict: one of `Verdict`.
      by: the moderator.
      reason: why; may be empty.

    Raises:
      NotFound: there is no such report (any more).
      Conflict: it is closed already.
      Invalid: the verdict or the reason is invalid.
      Denied: it is about their own GIF, and they are no admin.
    """
    checked, reason = read_verdict(verdict), texts.reason(reason)
    found = (
        Report.get_or_none(Report.id == report_id) if texts.GIF_ID.fullmatch(report_id) else None
    )
    with transaction(db):
        present: Report | None = None if found is None else locked_row(found)
        if present is None:
            raise NotFound("report_not_found", f"There is no report {report_id[:40]}.")
        check_moderator(present.gif, by)
        if present.closed_at is not None:
            raise Conflict("report_closed", "Somebody has closed this report already.")
        present.closed_at, present.verdict = now(), checked.value
        present.save(only=[Report.closed_at, Report.verdict])
        log.note_report(_ACTIONS[checked], present.gif, by, reason, 1)
    return present


def close_reports(gif_id: str, verdict: str, by: User, reason: str = "") -> int:
    """Close all open reports about a GIF. Returns how many there were.

    Raises:
      Invalid: the verdict or the reason is invalid.
      NotFound: there is no such GIF.
      Denied: it is their own GIF, and they are no admin.
    """
    checked, reason = read_verdict(verdict), texts.reason(reason)
    gif = Gif.get_or_none(Gif.id == gif_id) if texts.GIF_ID.fullmatch(gif_id) else None
    if gif is None:
        raise library.gif_not_found(gif_id)
    check_moderator(gif, by)
    with transaction(db):
        if locked_row(gif) is None:
            raise library.gif_not_found(gif_id)
        return close_all(gif, by, checked, reason)


def check_moderator(gif: Gif, by: User) -> None:
    """Raise `Denied` for a moderator who would decide about their own GIF."""
    if gif.user_id == by.id and role_of(by) is not Role.ADMIN:
        raise Denied("own_gif", "This GIF is your own: another moderator decides about it.")


def close_all(gif: Gif, by: User, verdict: Verdict, reason: str) -> int:
    """Close all open reports about a GIF, in the caller's transaction. Returns how many."""
    closing = Report.update(closed_at=now(), verdict=verdict.value)
    number = int(closing.where(Report.gif == gif, Report.closed_at.is_null()).execute())
    if number:
        log.note_report(_ACTIONS[verdict], gif, by, reason, number)
    return number


_ACTIONS = {Verdict.RESOLVED: Action.RESOLVE, Verdict.DISMISSED: Action.DISMISS}


def read_verdict(text: str) -> Verdict:
    """A verdict; raises `Invalid` for anything else."""
    if text not in set(Verdict):
        raise Invalid("verdict_invalid", not_one_of("verdict", text, Verdict))
    return Verdict(text)


def forget_closed(days: int = KEPT_DAYS) -> int:
    """Delete reports that were closed longer ago. Returns how many."""
    before = moment_before(timedelta(days=days))
    return int(Report.delete().where(Report.closed_at < before).execute())
