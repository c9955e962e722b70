"""What people say about a GIF: its texts, its rating and its visibility. What an edit may change of
them, and what it has changed, for the log of moderation."""

from collections.abc import Mapping
from typing import Any

from gifster.app import texts
from gifster.app.access import Reach, moderates
from gifster.app.errors import Denied, Invalid
from gifster.app.models import Gif
from gifster.app.moderation.log import Actor
from gifster.app.search.index import tags_of
from gifster.app.texts import Visibility


def cleaned(**given: str | None) -> dict[str, str]:
    """The texts that an edit gives a GIF, clean, by their columns.

    Raises:
      Invalid: one of them is, or the title is empty.
    """
    clean = {
        "title": texts.title,
        "alt_text": texts.alt_text,
        "rating": texts.rating,
        "visibility": texts.visibility,
    }
    new = {name: clean[name](text) for name, text in given.items() if text is not None}
    if new.get("title") == "":
        raise Invalid("title_missing", "A GIF needs a title.")
    return new


def changes(
    gif: Gif, new: Mapping[str, str], names: list[str] | None
) -> dict[str, tuple[Any, Any]]:
    """What an edit changes, for the log of moderation."""
    before: dict[str, Any] = {name: getattr(gif, name) for name in new}
    after: dict[str, Any] = dict(new)
    if names is not None:
        before["tags"], after["tags"] = tags_of([gif])[gif.id], names
    return {name: (before[name], after[name]) for name in after if before[name] != after[name]}


def edit_json(gif: Gif) -> Any:
    """The edit of a GIF as JSON; None without one."""
    return None if gif.edit is None else gif.edit.as_json()


def check_visibility(gif: Gif, wanted: str, by: Actor) -> None:
    """Raise unless somebody may give a GIF a visibility.

    Raises:
      Invalid: nobody but an admin would see it again.
      Denied: a moderator has hidden it, or would show more of somebody else's GIF, or hide it
        without its owner knowing.
    """
    if wanted == gif.visibility:
        return
    if gif.hidden_from is not None:
        raise Denied("gif_hidden", "A moderator has hidden this GIF, so it stays private.")
    if by.reach is Reach.ALL:
        return
    if wanted == Visibility.PRIVATE and gif.user_id is None:
        raise private_needs_owner()
    if moderates(gif, by.user, by.reach) and wanted != Visibility.UNLISTED:
        raise Denied(
            "owners_choice",
            "Only its owner makes this GIF public or private. Make it unlisted, or hide it.",
        )


def private_needs_owner() -> Invalid:
    """The error of a private GIF that has no owner."""
    return Invalid(
        "private_needs_owner", "Nobody could see this GIF: log in before you make one private."
    )
