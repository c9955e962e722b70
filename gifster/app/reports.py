"""Reports: readers tell moderators of a GIF that should not be in the library.

Everybody who sees a GIF may report it, also without an account. Nothing is kept of who reported it
but their account. Moderators resolve or dismiss a report.
"""

from enum import StrEnum
from typing import Any

import peewee

from gifster.app.models import BaseModel, Gif, MomentField, User, new_id, now


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
