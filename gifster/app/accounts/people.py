"""All accounts, with what they have, for the people who run the library."""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from peewee import SQL, fn

from gifster.app import texts
from gifster.app.cursors import newest_page
from gifster.app.damaged_text import whole
from gifster.app.errors import BadQuery, NotFound
from gifster.app.models import Gif, MomentField, Token, User
from gifster.jobs.wording import not_one_of
from gifster.uploads.columns.rows import place_of

#: Accounts are read in batches: an open SELECT would keep others from writing to SQLite.
BATCH = 500


class Kind(StrEnum):
    """Which accounts a list shows."""

    MEMBERS = "members"
    MODERATORS = "moderators"
    ADMINS = "admins"
    DISABLED = "disabled"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True)
class Person:
    """An account, how many GIFs it has, with their size (bytes), and when one of its sessions or
    tokens was last used (within an hour; None if none that is still valid ever was)."""

    user: User
    gifs: int
    bytes: int
    seen_at: datetime | None = None


def everybody() -> Iterator[Person]:
    """All accounts, by address."""
    after = ""
    query: Any = User.select().order_by(User.email).limit(BATCH)
    while batch := list(query.where(User.email > place_of(after))):
        yield from _persons(batch)
        after = batch[-1].email


def find(
    *, text: str = "", kind: str = "", cursor: str = "", limit: int = 30
) -> tuple[list[Person], str | None]:
    """A page of the accounts in use, the newest first, and the cursor of the next page. Those whose
    users have left are none of them.

    Parameters:
      text: a part of the name or the address, in any case; empty for all.
      kind: one of `Kind`; empty for all.

    Raises:
      BadQuery: one of them is invalid.
    """
    query: Any = User.select().where(~User.email.startswith(LEFT))
    if kind:
        if kind not in set(Kind):
            raise BadQuery("kind_invalid", not_one_of("kind", kind, Kind))
        query = query.where(_CONDITIONS[Kind(kind)])
    if asked := texts.query(text):
        query = query.where(_has(asked))
    found, following = newest_page(query, User.created_at, User.id, cursor, limit)
    return _persons(found), following


def get(user_id: str) -> Person:
    """The account with that id.

    Raises:
      NotFound: there is none, or its user has left.
    """
    possible = texts.GIF_ID.fullmatch(user_id)
    user = User.get_or_none(User.id == user_id) if possible else None
    if user is None or has_left(user):
        raise NotFound("account_not_found", f"There is no account {user_id[:40]!r}.")
    [person] = _persons([user])
    return person


#: What the addresses of accounts begin with whose users have left. Nobody can sign up with one.
LEFT = "left "


def address_left(user_id: str) -> str:
    """What an account that its user left has in place of an address, so that this can be used
    again."""
    return f"{LEFT}{user_id}"


def has_left(user: User) -> bool:
    """Whether the user of an account has left it, and a worker is about to remove it."""
    return bool(user.email == address_left(user.id))


_MEMBER = ~User.is_moderator & ~User.is_admin
_CONDITIONS: dict[Kind, Any] = {
    Kind.MEMBERS: _MEMBER,
    Kind.MODERATORS: User.is_moderator & ~User.is_admin,
    Kind.ADMINS: User.is_admin,
    Kind.DISABLED: User.disabled_at.is_null(False),
    Kind.UNCONFIRMED: User.confirmed_at.is_null(),
}


def _has(text: str) -> Any:
    """The condition of accounts whose name or address has a text in it. SQLite folds only the
    letters of ASCII, so a name is also looked for as people usually write one."""
    spelt = unicodedata.normalize("NFC", text)
    found: Any = User.email.contains(spelt)
    for one in {spelt, spelt.lower(), spelt.title(), spelt.capitalize()}:
        found |= User.name.contains(one)
    return found


def _persons(users: Iterable[User]) -> list[Person]:
    users = list(users)
    ids = whole(user.id for user in users)
    sums: Any = (
        Gif.select(Gif.user, fn.COUNT(SQL("*")), fn.COALESCE(fn.SUM(Gif.bytes), 0))
        .where(Gif.user.in_(ids))
        .group_by(Gif.user)
    )
    uses: Any = (
        Token.select(Token.user, fn.MAX(Token.last_used_at))
        .where(Token.user.in_(ids))
        .group_by(Token.user)
    )
    has = {user_id: (int(number), int(size)) for user_id, number, size in sums.tuples()}
    seen = dict(uses.tuples())
    return [Person(user, *has.get(user.id, (0, 0)), _moment(seen.get(user.id))) for user in users]


def _moment(value: Any) -> datetime | None:
    """What an aggregate of a `MomentField` gives, as a moment."""
    return MomentField().python_value(value) if isinstance(value, int) else value
