"""`gifster users second-factor-off` and `unlink`, and what a start loads."""

from collections.abc import Callable

import pytest

from gifster.app import accounts
from gifster.app.models import User, now
from gifster.app.settings import Settings, SettingsError
from gifster.app.sign_in import codes, extras, identities
from gifster.app.sign_in.identities import Person
from gifster.app.sign_in.tables import AuthenticatorApp
from tests.stack import Stack


def test_the_person_who_runs_it_lets_people_in(booted: Settings, monkeypatch: pytest.MonkeyPatch):
    from click.testing import CliRunner

    from gifster.cli import cli

    ann = accounts.sign_up("ann@example.org", "correct horse", "Ann")
    codes.begin(ann)
    AuthenticatorApp.update(confirmed_at=now()).execute()
    identities.link(User.get_by_id(ann.id), Person("https://a.example", "1"), booted)

    def run(*words: str) -> str:
        result = CliRunner().invoke(cli, list(words))
        return f"{result.exit_code} {result.output.strip()}"

    assert run("users", "second-factor-off", "ann@example.org") == (
        "0 ann@example.org: removed 1 authenticator apps and passkeys"
    )
    assert run("users", "unlink", "Ann@Example.org") == (
        "0 Ann@Example.org: removed 1 links to the sign-in service"
    )
    assert not codes.has_app(ann)
    assert run("users", "unlink", "bob@example.org").startswith("1 gifster: There is no account")


def test_a_missing_package_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)

    with pytest.raises(SettingsError, match=r"authlib, requests is not installed: pip install 'g"):
        extras.require("oidc", "oidc.issuer is https://a.example")
    assert not extras.installed("second-factor")


def test_the_pages_without_them_load_none_of_the_packages(new_stack: Callable[..., Stack]):
    stack = new_stack()
    program = (
        "import sys; from gifster.app.settings import load; from gifster.app.boot import boot;"
        "s = load(); boot(s); from gifster.api.app import create_app; create_app(s);"
        "print([n for n in ('authlib', 'requests', 'pyotp', 'segno', 'webauthn', 'cryptography')"
        " if n in sys.modules])"
    )

    assert stack.run("python", "-c", program).stdout.strip() == "[]"
