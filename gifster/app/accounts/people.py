"""All accounts, with what they have, for the people who run the library."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from peewee import SQL, fn

from gifster.app.models import Gif, User

#: Accounts are read in batches: an open SELECT would keep others from writing to SQLite.
BATCH = 500


@dataclass(frozen=True)
class Person:
    """An account, and how many GIFs it has, with their size (bytes)."""

    user: User
    gifs: int
    bytes: int


def everybody() -> Iterator[Person]:
    """All accounts, by address."""
    after = ""
    query: Any = User.select().order_by(User.email).limit(BATCH)
    while batch := list(query.where(User.email > after)):
        sums: Any = (
            Gif.select(Gif.user, fn.COUNT(SQL("*")), fn.COALESCE(fn.SUM(Gif.bytes), 0))
            .where(Gif.user.in_([user.id for user in batch]))
            .group_by(Gif.user)
        )
        has = {user_id: (int(number), int(size)) for user_id, number, size in sums.tuples()}
        for user in batch:
            yield Person(user, *has.get(user.id, (0, 0)))
        after = batch[-1].email
