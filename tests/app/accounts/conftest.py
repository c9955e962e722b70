"""What the tests of accounts share: Ann, a mail's secret, and what many threads do at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gifster.app import accounts
from gifster.app.accounts import password_changes
from gifster.app.accounts.tables import MailSecret
from gifster.app.database import db
from gifster.app.errors import LibraryError
from gifster.app.models import User
from gifster.app.settings import Settings
from tests.app.accounts.inbox import inbox  # noqa: F401 a fixture
from tests.app.letters import run_mail_jobs, secret_of

OLD, NEW = "correct horse", "battery staple"


def refused(code: str, kind: type[LibraryError] = LibraryError):
    return pytest.raises(kind, check=lambda error: error.code == code)


@pytest.fixture
def ann(booted: Settings) -> User:
    """A user who has had their welcome mail."""
    user = accounts.sign_up("ann@example.org", OLD, "Ann")
    run_mail_jobs(booted)
    MailSecret.delete().execute()
    return user


def ask_for_reset(booted: Settings, address: str = "ann@example.org") -> str:
    password_changes.ask_for_reset(address)
    [mail] = run_mail_jobs(booted)
    return secret_of(mail)


def all_at_once(work: Callable[[], Any], times: int = 8) -> list[Any]:
    """The results of a function that runs in many threads at once; its refusals among them."""

    def connected(_: int) -> Any:
        with db.connection_context():
            try:
                return work()
            except LibraryError as error:
                return error

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(connected, range(times)))
