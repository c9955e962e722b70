"""`gifster users second-factor-off` and `unlink`, and a package that is missing."""

import sqlite3
from collections.abc import Callable

import pytest

from gifster.app.settings import SettingsError
from gifster.app.sign_in import extras
from tests.stack import Stack


def test_the_person_who_runs_it_lets_people_in(new_stack: Callable[..., Stack]):
    stack = new_stack()
    assert stack.run("gifster", "users", "add", "ann@example.org").returncode == 0
    with sqlite3.connect(stack.var / "gifster.db") as database:
        [(ann,)] = database.execute("SELECT id FROM user")
        database.execute(
            "INSERT INTO authenticator_app (user_id, secret, created_at, confirmed_at, last_step,"
            " failures) VALUES (?, 'A', 1, 1, 0, 0)",
            (ann,),
        )
        database.execute(
            "INSERT INTO identity (issuer, subject, id, user_id, email, linked_at)"
            " VALUES ('https://a.example', '1', 'x', ?, '', 1)",
            (ann,),
        )

    def run(*words: str) -> str:
        result = stack.run("gifster", "users", *words)
        return f"{result.returncode} {(result.stdout + result.stderr).strip()}"

    assert run("second-factor-off", "ann@example.org") == (
        "0 ann@example.org: removed 1 authenticator app or passkey"
    )
    assert run("unlink", "Ann@Example.org") == (
        "0 Ann@Example.org: removed 1 link to the sign-in service"
    )
    assert run("unlink", "ann@example.org").endswith("removed 0 links to the sign-in service")
    assert run("unlink", "bob@example.org").startswith("1 gifster: there is no account")


def test_a_missing_package_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)

    with pytest.raises(SettingsError, match=r"authlib, requests is not installed: pip install 'g"):
        extras.require("oidc", "oidc.issuer is https://a.example")
    assert not extras.installed("second-factor")
