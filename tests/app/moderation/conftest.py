"""The people of these tests, and what they do."""

from typing import Any

import pytest

from gifster.app import search
from gifster.app.access import Reach
from gifster.app.models import Gif, User
from gifster.app.moderation import hiding, log
from gifster.app.settings import Settings
from tests.app.people import person

MODERATED, ALL, OWN = Reach.MODERATED, Reach.ALL, Reach.OWN


@pytest.fixture
def people(booted: Settings) -> dict[str, User]:
    """Ann with a GIF, Bob, Mo who moderates, and Root who is an admin."""
    return {
        "ann": person("Ann"),
        "bob": person("Bob"),
        "mo": person("Mo", is_moderator=True),
        "root": person("Root", is_admin=True),
    }


def gif_of(user: User | None, title: str = "cat", **values: Any) -> Gif:
    gif = Gif.create(title=title, user=user, **values)
    search.put(gif, [])
    return gif


def fresh(gif: Gif) -> Gif:
    return Gif.get_by_id(gif.id)


def logged() -> list[tuple[str, str, str]]:
    found, _ = log.entries(limit=100)
    return [(entry.action, entry.moderator_name, entry.reason) for entry in reversed(found)]


def moderate(gif: Gif, action: str, mo: User, reason: str = "rude") -> Gif:
    return hiding.moderate(gif.id, action, mo, MODERATED, reason)
