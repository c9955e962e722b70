"""A library with a GIF of Ann's, and everybody who may look for it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gifster.api.app import create_app
from gifster.app import tokens
from gifster.app.models import Gif, User, now
from gifster.app.settings import Settings
from gifster.app.tokens import Scope
from tests.api.clients import Client
from tests.api.stored_gifs import stored_gif
from tests.app.people import person

#: Who sees a private GIF of Ann's, or one in the trash.
MAY_SEE = ("owner", "owner's browser", "owner's reading token", "admin")


@dataclass
class Library:
    app: Any
    people: dict[str, Client]
    ann: User
    gif: Gif

    def hide(self, kind: str) -> None:
        values = {"visibility": "private"} if kind == "private" else {"trashed_at": now()}
        Gif.update(values).where(Gif.id == self.gif.id).execute()

    @property
    def strangers(self) -> list[tuple[str, Client]]:
        return [(name, one) for name, one in self.people.items() if name not in MAY_SEE]

    @property
    def urls(self) -> list[str]:
        stored = Gif.get_by_id(self.gif.id).image.stored
        return [stored.url(), *(version.url() for version in stored.versions.values())]


@pytest.fixture
def library_of_ann(booted: Settings) -> Iterator[Library]:
    """A library with a stored GIF of Ann's, and people who look for it."""
    app = create_app(booted)
    ann, bob, root = person("ann"), person("bob"), person("root", is_admin=True)

    def bearer(one: User, scope: str = Scope.ADMIN) -> dict[str, str]:
        return {"Authorization": f"Bearer {tokens.create_token(one, 't', scope)[1]}"}

    def browser(one: User) -> dict[str, str]:
        return {"Cookie": f"gifster_session={tokens.start_session(one, 1)}"}

    headers = {
        "stranger": {},
        "somebody with a wrong cookie": {"Cookie": "gifster_session=wrong"},
        "another user": bearer(bob),
        "another user's browser": browser(bob),
        "admin's token that only writes": bearer(root, Scope.WRITE),
        "owner": bearer(ann),
        "owner's browser": browser(ann),
        "owner's reading token": bearer(ann, Scope.READ),
        "admin": bearer(root),
    }
    with asyncio.Runner() as runner:
        people = {name: Client(app, runner.get_loop(), sent) for name, sent in headers.items()}
        yield Library(app, people, ann, stored_gif(ann, "Needle", ["haystack"]))
