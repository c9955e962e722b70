"""The application in this process, with settings of a test's own, and people who use it."""

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from gifster.api.app import create_app
from gifster.app import tokens
from gifster.app.models import User
from gifster.app.settings import Settings
from gifster.app.tokens import Scope
from tests.api.clients import Client

#: A form without fields.
NOTHING = {"": ""}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass
class Site:
    """The application in this process, with changed settings, and people with browsers."""

    settings: Settings
    app: Any
    loop: asyncio.AbstractEventLoop

    def stranger(self) -> Client:
        return Client(self.app, self.loop, {"User-Agent": FIREFOX})

    def browser(self, user: User) -> Client:
        present = User.get_by_id(user.id)  # a test may have changed the password
        secret = tokens.start_session(present, 1, address="10.0.0.1", browser=FIREFOX)
        return Client(self.app, self.loop, {"Cookie": f"gifster_session={secret}"})

    def program(self, user: User, scope: str = Scope.ADMIN) -> Client:
        secret = tokens.create_token(user, "script", scope)[1]
        return Client(self.app, self.loop, {"Authorization": f"Bearer {secret}"})


@pytest.fixture
def make_site(booted: Settings) -> Iterator[Callable[..., Site]]:
    """Makes the application with changed settings of `[auth]` and `[limits]`."""
    with asyncio.Runner() as runner:

        def make(*, limits: dict[str, Any] | None = None, **auth: Any) -> Site:
            changed = {
                "auth": booted.auth.model_copy(update=auth),
                "limits": booted.limits.model_copy(update={"enabled": False} | (limits or {})),
            }
            settings = booted.model_copy(update=changed)
            return Site(settings, create_app(settings), runner.get_loop())

        yield make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


def hidden(page: str, name: str) -> str:
    """The value of a hidden field of a page."""
    return re.search(f'type="hidden" name="{name}" value="([^"]*)"', page)[1]


def is_done(answer: httpx.Response, location: str) -> bool:
    assert (answer.status_code, answer.headers.get("location")) == (303, location), answer.text
    return True


def for_members(settings: Settings, **more: Any) -> Settings:
    auth = settings.auth.model_copy(update={"read": "members", **more})
    return settings.model_copy(update={"auth": auth})
