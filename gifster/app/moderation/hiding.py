"""What moderators do with the GIFs of others: hide them, remove them, and undo both.

A hidden GIF is private. Its owner still sees it, with the reason, and moderators do; lists, files
and drop-ins treat it as any private GIF. A removed one is hidden and in the trash, from where its
owner cannot take it back. Each of these is written into the log (`log`) with its reason.
"""

from typing import Any

from gifster.app import library, search, texts
from gifster.app.access import MODERATORS, Reach, may_show_again
from gifster.app.cursors import newest_page
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied, Invalid
from gifster.app.models import Gif, User, now
from gifster.app.moderation import log, reports
from gifster.app.moderation.log import Action
from gifster.app.moderation.reports import Verdict
from gifster.app.texts import Visibility
from gifster.jobs import transaction
from gifster.jobs.wording import not_one_of

#: What can be done by `moderate()`.
ACTIONS = (Action.HIDE, Action.UNHIDE, Action.REMOVE, Action.RESTORE)


def moderate(gif_id: str, action: str, user: User, reach: Reach, reason: str) -> Gif:
    """The GIF after a moderator's action. What is so already stays so.

    Hiding and removing a GIF resolves the open reports about it.

    Parameters:
      action: one of `ACTIONS`.
      user, reach: a moderator or an admin.
      reason: why; not empty.

    Raises:
      Invalid: there is no such action, or no reason.
      Denied: they are no moderator, or would show their own GIF again.
      Conflict: they would show a GIF again that is not hidden.
      NotFound: there is no such GIF, or they may not see it.
    """
    if action not in ACTIONS:
        raise Invalid("action_invalid", not_one_of("action", action, ACTIONS))
    reason = texts.reason(reason)
    if not reason:
        raise log.reason_missing()
    if reach not in MODERATORS:
        raise Denied("moderators_only", "This is for moderators.")
    gif = library.gif_to_change(gif_id, user, reach)
    with transaction(db):
        # Its owner may have made it private since it was read: hidden, it would be seen again.
        present = library.locked_to_change(gif, user, reach)
        if action in (Action.UNHIDE, Action.RESTORE) and not may_show_again(present, user, reach):
            raise Denied("own_gif", "This GIF is your own: another moderator decides about it.")
        before = _state(present)
        _apply(present, Action(action))
        if changes := {
            name: (value, _state(present)[name])
            for name, value in before.items()
            if value != _state(present)[name]
        }:
            present.save(only=[Gif.hidden_from, Gif.visibility, Gif.trashed_at])
            search.put(present)
            log.note_moderation(Action(action), present, user, reason, changes)
        if action in (Action.HIDE, Action.REMOVE):
            reports.close_all(present, user, Verdict.RESOLVED, reason)
    return present


def _state(gif: Gif) -> dict[str, object]:
    """What an action changes, as the log has it."""
    return {
        "visibility": gif.visibility,
        "hidden": gif.hidden_from is not None,
        "in_trash": gif.trashed_at is not None,
    }


def _apply(gif: Gif, action: Action) -> None:
    """Make a GIF what an action makes of it."""
    if action in (Action.HIDE, Action.REMOVE):
        if gif.hidden_from is None:
            gif.hidden_from = gif.visibility
        # Also for a process of the release before, which knows nothing of `hidden_from`.
        gif.visibility = Visibility.PRIVATE
        if action is Action.REMOVE and gif.trashed_at is None:
            gif.trashed_at = now()
        return
    if gif.hidden_from is None:
        raise Conflict("not_hidden", "This GIF is not hidden.")
    gif.visibility, gif.hidden_from = gif.hidden_from, None
    if action is Action.RESTORE:
        gif.trashed_at = None


def hidden(*, cursor: str = "", limit: int = 30) -> tuple[list[Gif], str | None]:
    """A page of the GIFs that moderators have hidden or removed, the newest first, and the cursor
    of the next page.

    Raises:
      BadQuery: the limit or the cursor is invalid.
    """
    query: Any = Gif.select().where(Gif.hidden_from.is_null(False))
    return newest_page(query, Gif.created_at, Gif.id, cursor, limit)


def why_hidden(gif: Gif) -> str:
    """The reason that a moderator gave for hiding a GIF; empty if it is not hidden."""
    return "" if gif.hidden_from is None else log.why_hidden(gif.id)
