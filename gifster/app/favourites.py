"""Users' favourite GIFs. Only their user sees which they are."""

from typing import Any

import peewee

from gifster.app import library
from gifster.app.access import Viewer, seen_by
from gifster.app.cursors import newest_page
from gifster.app.database import db
from gifster.app.errors import Denied
from gifster.app.models import BaseModel, Gif, MomentField, User, now
from gifster.jobs import transaction
from gifster.uploads.columns.rows import locked_row

#: How many a user may have.
MOST = 10_000


class Favourite(BaseModel):
    user = peewee.ForeignKeyField(User, on_delete="CASCADE")
    gif = peewee.ForeignKeyField(Gif, on_delete="CASCADE")
    gif_id: str
    added_at: Any = MomentField(default=now)

    class Meta:
        primary_key = peewee.CompositeKey("user", "gif")
        indexes = ((("user", "added_at"), False),)


def add(user: User, gif_id: str, viewer: Viewer) -> None:
    """Make a GIF a user's favourite. Doing it twice changes nothing.

    Parameters:
      viewer: the user, who must be able to see it.

    Raises:
      NotFound: there is no such GIF, or the user may not see it.
      Denied: the user has `MOST` favourites already.
    """
    gif = library.get_gif(gif_id, viewer)
    with transaction(db):
        locked_row(user)  # two requests at once cannot share the last place
        if is_favourite(user, gif_id):
            return
        if Favourite.select().where(Favourite.user == user).count() >= MOST:
            raise Denied(
                "too_many_favourites",
                f"You have {MOST:,} favourites, which is the most. Remove one first.",
            )
        if locked_row(gif) is None:
            raise library.gif_not_found(gif_id)
        Favourite.create(user=user, gif=gif)


def remove(user: User, gif_id: str) -> None:
    """Make a GIF no favourite of a user's any more, if it was one."""
    Favourite.delete().where(Favourite.user == user, Favourite.gif == gif_id).execute()


def is_favourite(user: User, gif_id: str) -> bool:
    """Whether a GIF is a favourite of a user's."""
    query: Any = Favourite.select().where(Favourite.user == user, Favourite.gif == gif_id)
    found: bool = query.exists()
    return found


def favourites_of(
    user: User, viewer: Viewer, *, cursor: str = "", limit: int = 30
) -> tuple[list[Gif], str | None]:
    """A page of a user's favourites, the last added first, and the cursor of the next page.

    Those that the user may not see now are left out; they come back with the GIF.

    Raises:
      BadQuery: the limit or the cursor is invalid.
    """
    query: Any = (
        Favourite.select(Favourite, Gif).join(Gif).where((Favourite.user == user) & seen_by(viewer))
    )
    rows, following = newest_page(query, Favourite.added_at, Favourite.gif, cursor, limit)
    return [row.gif for row in rows], following
