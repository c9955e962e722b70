"""Cheap hashes of passwords."""

import secrets
from collections.abc import Iterator

import argon2
import pytest

from gifster.app.accounts import passwords
from tests.machine import ALL_EXAMPLES


@pytest.fixture(scope="module", autouse=not ALL_EXAMPLES)
def cheap_passwords() -> Iterator[None]:
    """Hash passwords in this process with the parameters that argon2 has for tests. Those of an
    installation take 50 milliseconds of processor time for each sign-up and log-in: commands of a
    stack have them, and so does every test in CI."""
    with pytest.MonkeyPatch.context() as patch:
        cheap = argon2.PasswordHasher.from_parameters(argon2.profiles.CHEAPEST)
        patch.setattr(passwords, "_hasher", cheap)
        patch.setattr(passwords, "NOBODY", cheap.hash(secrets.token_urlsafe(32)))
        yield
