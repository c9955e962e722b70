"""Who may see a GIF, and who may change it: the one rule for pages, lists, files and events
(decision 64).

`may_see()` judges a GIF that somebody asks for by its id. `listed()` is the condition of what
strangers find: lists, search, feeds and drop-ins show nothing else.
"""

import unicodedata
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from peewee import SQL

from gifster.app.models import Gif, User
from gifster.app.texts import GIF_ID, Visibility
from gifster.jobs.statements import Statement


class Reach(Enum):
    """Which GIFs somebody may change."""

    #: None: somebody without an account.
    NONE = "none"
    #: Their own. To code without a user, such as a command, belong those without an owner.
    OWN = "own"
    #: Also GIFs without an owner, where anybody may change these.
    OWNERLESS = "ownerless"
    #: All but those that others keep private: a moderator.
    MODERATED = "moderated"
    #: All: an admin.
    ALL = "all"


#: What those see who know an address. A value that is none of ours is as `private`.
OPEN = (Visibility.PUBLIC, Visibility.UNLISTED)
#: Those who may change the GIFs of others.
MODERATORS = (Reach.MODERATED, Reach.ALL)


@dataclass(frozen=True)
class Viewer:
    """Somebody who looks at GIFs; by default a stranger.

    Parameters:
      user_id: None for somebody who is not logged in.
      reach: which GIFs they may change.
    """

    user_id: str | None = None
    reach: Reach = Reach.OWN


STRANGER = Viewer(reach=Reach.NONE)


def listed(gif: Any = Gif) -> Any:
    """The condition of the GIFs that lists, search, feeds and drop-ins may show: public, and not in
    the trash.

    Its values are part of the SQL, as an index for a part of the rows needs (`gif_listed`).

    Parameters:
      gif: the model, or an alias of it.
    """
    return (gif.visibility == SQL("'public'")) & gif.trashed_at.is_null()


def shown_to(user_id: Any, gif: Any = Gif) -> Any:
    """The condition of the GIFs that a public collection shows to somebody: those that are listed,
    and the viewer's own ones outside the trash.

    Parameters:
      user_id: the viewer's; empty for somebody who is not logged in.
      gif: the model, or an alias of it.
    """
    own = (gif.user == user_id) & gif.trashed_at.is_null()
    return listed(gif) | own


def comparable(user_id: Any, gif: Any = Gif) -> Any:
    """The condition of the GIFs that others' GIFs may mention to somebody, as duplicates: of
    `shown_to()`, but others' GIFs with an edit. These are compared by their originals, and others
    do not see the originals (decision 85).

    Parameters:
      user_id, gif: as `shown_to()` takes them.
    """
    own = (gif.user == user_id) & gif.trashed_at.is_null()
    return (listed(gif) & gif.edit.is_null()) | own


def seen_by(viewer: Viewer) -> Any:
    """The condition of the GIFs outside the trash that somebody may see who has their addresses, as
    `may_see()` says: for favourites and collections."""
    if viewer.reach is Reach.ALL:
        return Gif.trashed_at.is_null()
    open_to_them = Gif.visibility.in_(OPEN) | (Gif.user == (viewer.user_id or ""))
    return Gif.trashed_at.is_null() & open_to_them


def may_see(
    user_id: str | None,
    visibility: str,
    in_trash: bool,
    is_hidden: bool,
    viewer: Viewer = STRANGER,
) -> bool:
    """Whether somebody who knows a GIF's id may see it. If not, it does not exist for them.

    A private GIF is for its owner and for admins; one that is private because a moderator has
    hidden it, for moderators, too. A GIF in the trash is for those who may change it.

    Parameters:
      user_id, visibility, in_trash, is_hidden: the GIF's owner, if it has one; its visibility; and
        whether it is in the trash, and hidden.
    """
    if viewer.reach is Reach.ALL or (user_id is not None and user_id == viewer.user_id):
        return True
    if viewer.reach is Reach.MODERATED:
        return is_hidden or visibility in OPEN
    if visibility not in OPEN:
        return False
    return not in_trash or (user_id is None and viewer.reach is Reach.OWNERLESS)


def may_see_gif(gif: Gif, viewer: Viewer = STRANGER) -> bool:
    """The same of a GIF."""
    in_trash, is_hidden = gif.trashed_at is not None, gif.hidden_from is not None
    return may_see(gif.user_id, gif.visibility, in_trash, is_hidden, viewer)


def is_for_everybody(gif: Gif) -> bool:
    """Whether everybody who knows the address of a GIF or of its files may see them."""
    return gif.visibility in OPEN and gif.trashed_at is None


def gif_of(key: str) -> str | None:
    """The id of the GIF that a key in the store belongs to; None for other files.

    Some file systems (of macOS and Windows) take other spellings of a name for the same name: such
    keys belong to no GIF that there is, rather than to none at all.
    """
    folder, _, rest = key.partition("/")
    gif_id, _, name = rest.partition("/")
    if not name or _spelt_simply(folder) != "gifs" or not GIF_ID.fullmatch(_spelt_simply(gif_id)):
        return None
    return gif_id if folder == "gifs" else f"not {gif_id}"


def _spelt_simply(name: str) -> str:
    return name if name == "gifs" else unicodedata.normalize("NFKC", name).casefold()


class FileStanding(NamedTuple):
    """Whose files those of a GIF are, and who may have them.

    Attributes:
      user_id, visibility, in_trash, is_hidden: as `may_see()` takes them.
      edited: whether it has an edit.
      image: its stored image, as the database has it.
    """

    user_id: str | None
    visibility: str
    in_trash: bool
    is_hidden: bool
    edited: bool
    image: str | None


def standing_of(gif_id: str) -> FileStanding | None:
    """The standing of a GIF; None if there is no such GIF. It runs with each file that is
    served."""
    row = _STANDING.row(gif_id=gif_id)
    if row is None:
        return None
    user_id, visibility, trashed_at, hidden_from, edit, image = row
    states = (trashed_at is not None, hidden_from is not None, edit is not None)
    return FileStanding(user_id, visibility, *states, image)


_STANDING = Statement(
    lambda gif_id: Gif.select(
        Gif.user, Gif.visibility, Gif.trashed_at, Gif.hidden_from, Gif.edit, Gif.image
    ).where(Gif.id == gif_id)
)


def may_change(gif: Gif, user: User | None, reach: Reach) -> bool:
    """Whether somebody who may write may change a GIF.

    Parameters:
      user: None for somebody who is not logged in, but may write.
      reach: which GIFs they may change.
    """
    viewer = Viewer(user.id if user else None, reach)
    if reach is Reach.MODERATED and not may_see_gif(gif, viewer):
        return False
    return may_edit(gif.user_id, viewer)


def may_edit(user_id: str | None, viewer: Viewer) -> bool:
    """Whether somebody may change a GIF that they may see, as far as it is theirs to change.

    Parameters:
      user_id: the GIF's owner, if it has one.
    """
    if viewer.reach is Reach.NONE:
        return False
    if viewer.reach in MODERATORS or user_id == viewer.user_id:
        return True
    return user_id is None and viewer.reach is Reach.OWNERLESS


def moderates(gif: Gif, user: User | None, reach: Reach) -> bool:
    """Whether somebody who changes a GIF does so as a moderator or an admin: it is not their own.

    Parameters:
      user, reach: as `may_change()` takes them.
    """
    return reach in MODERATORS and (user is None or gif.user_id != user.id)


def may_show_again(gif: Gif, user: User | None, reach: Reach) -> bool:
    """Whether somebody may show a hidden GIF again: a moderator, but not of their own GIF; admins.

    Parameters:
      user, reach: as `may_change()` takes them.
    """
    return reach is Reach.ALL or (reach is Reach.MODERATED and moderates(gif, user, reach))
