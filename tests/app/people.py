"""The users of tests that need no password."""

from typing import Any

from gifster.app.models import User


def person(name: str, **values: Any) -> User:
    """A user, whose address begins with their name in small letters."""
    email = f"{name.lower()}@example.org"
    return User.create(email=email, name=name, password_hash="x", **values)
