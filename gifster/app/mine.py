"""A user's own GIFs, whatever their visibility."""

from gifster.app.cursors import newest_page
from gifster.app.models import Gif, User


def gifs_of(user: User, *, cursor: str = "", limit: int = 30) -> tuple[list[Gif], str | None]:
    """A page of a user's GIFs outside the trash, newest first, and the cursor of the next page.

    Raises:
      BadQuery: the limit or the cursor is invalid.
    """
    own = Gif.select().where((Gif.user == user) & Gif.trashed_at.is_null())
    return newest_page(own, Gif.created_at, Gif.id, cursor, limit)
