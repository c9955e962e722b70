"""Tokens: named, scoped, expiring, shown once and revocable."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.tokens.conftest import COOKIE, GIF, Person, bearer, cookie, logged_in, refused
from tests.stack import Stack


def test_signing_up_gives_a_token_that_expires(person: Callable[[str], Person]):
    ann = person("ann")

    [token] = ann.ask("GET", "/api/tokens").json()["items"]

    assert (token["name"], token["kind"], token["scope"]) == ("sign-up", "token", "admin")
    assert token["current"] is True
    expires_at = datetime.fromisoformat(token["expires_at"])
    assert timedelta(364) < expires_at - datetime.now(UTC) < timedelta(366)
    assert token["last_used_at"] is not None


def test_a_token_has_a_name_a_scope_and_an_end_and_is_shown_once(person: Callable[[str], Person]):
    ann = person("ann")

    made = ann.new_token(name="  camera   trap ", scope="read", expires_in_days=7)
    forever = ann.new_token(name="forever", expires_in_days=None)

    secret = made.pop("token")
    assert (made["name"], made["scope"], made["kind"]) == ("camera trap", "read", "token")
    assert datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC) < timedelta(7)
    assert (forever["scope"], forever["expires_at"]) == ("write", None)
    listed = ann.ask("GET", "/api/tokens")
    assert secret not in listed.text
    assert [token["name"] for token in listed.json()["items"]] == [
        "forever", "camera trap", "sign-up"]  # fmt: skip
    assert made in listed.json()["items"]


BAD: dict[str, tuple[Any, str]] = {
    "no name": ({}, "name_invalid"),
    "an empty name": ({"name": " "}, "name_invalid"),
    "a name that is no text": ({"name": 1}, "name_invalid"),
    "a long name": ({"name": "a" * 101}, "name_invalid"),
    "a name with a control": ({"name": "a\1"}, "name_invalid"),
    "an unknown scope": ({"name": "a", "scope": "root"}, "scope_invalid"),
    "a scope that is no text": ({"name": "a", "scope": ["read"]}, "scope_invalid"),
    "no days": ({"name": "a", "expires_in_days": 0}, "expires_in_days_invalid"),
    "days for ever": ({"name": "a", "expires_in_days": 10**9}, "expires_in_days_invalid"),
    "half a day": ({"name": "a", "expires_in_days": 0.5}, "expires_in_days_invalid"),
    "true days": ({"name": "a", "expires_in_days": True}, "expires_in_days_invalid"),
    "an unknown field": ({"name": "a", "user": "bob"}, "field_unknown"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code"), BAD.values(), ids=BAD)
def test_bad_tokens_are_refused(web: Stack, body: Any, code: str, secret: str):
    import json

    answer = web.client.post(
        "/api/tokens", content=json.dumps(body), headers=bearer(secret)
        | {"Content-Type": "application/json"},
    )  # fmt: skip

    assert refused(answer, 422, code)


def test_a_token_that_only_reads_changes_nothing(web: Stack, person: Callable[[str], Person]):
    ann = person("ann")
    path = ann.upload()
    made = ann.new_token(scope="read")
    reads = made["token"]

    for method, path_, options in [
        ("POST", "/api/gifs", {"files": {"image": GIF}}),
        ("POST", "/api/gifs", {"json": {"remote_image_url": "http://127.0.0.1/"}}),
        ("POST", "/gifs", {"files": {"image": GIF}}),
        ("PATCH", path, {"json": {"title": "a"}}),
        ("PUT", f"{path}/image", {"files": {"image": GIF}}),
        ("DELETE", path, {}),
        ("POST", path.removeprefix("/api") + "/delete", {}),
        ("POST", "/api/tokens", {"json": {"name": "more"}}),
        ("DELETE", "/api/tokens", {}),
        ("POST", "/logout/everywhere", {}),
        ("GET", "/api/stats", {}),
        ("GET", "/jobs", {}),
        ("POST", "/jobs", {"data": {"do": "pause", "of": "default"}}),
    ]:
        answer = ann.ask(method, path_, token=reads, **options)
        assert refused(answer, 403, "scope_insufficient"), path_
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]

    assert ann.ask("GET", path, token=reads).status_code == 200
    assert ann.ask("GET", "/api/tokens", token=reads).status_code == 200


def test_only_an_admin_s_admin_token_reaches_the_jobs(person: Callable[[str], Person]):
    ann = person("ann")
    writes, admin = ann.new_token(scope="write")["token"], ann.new_token(scope="admin")["token"]
    assert refused(ann.ask("GET", "/api/stats", token=admin), 403, "admins_only")

    ann.become_admin()

    assert refused(ann.ask("GET", "/api/stats", token=writes), 403, "scope_insufficient")
    assert ann.ask("GET", "/api/stats", token=admin).status_code == 200
    assert ann.web.client.get("/jobs", headers=cookie(ann.log_in())).status_code == 200


def test_a_token_that_writes_manages_no_tokens_but_revokes_itself(
    person: Callable[[str], Person],
):
    # Given a stolen token of a script
    ann = person("ann")
    made, other = ann.new_token(scope="write"), ann.new_token(scope="write")
    stolen = made["token"]

    # I expect that it makes no other tokens
    for method, path in [("POST", ""), ("DELETE", ""), ("DELETE", f"/{other['id']}")]:
        answer = ann.ask(method, f"/api/tokens{path}", token=stolen, json={"name": "a"})
        assert refused(answer, 403, "scope_insufficient")

    # But that it can revoke itself
    assert ann.ask("DELETE", f"/api/tokens/{made['id']}", token=stolen).status_code == 204
    assert refused(ann.ask("GET", "/api/tokens", token=stolen), 401, "token_invalid")


def test_a_token_is_revoked_by_its_own_user_only(person: Callable[[str], Person]):
    ann, eve = person("ann"), person("eve")
    made = ann.new_token()
    path = f"/api/tokens/{made['id']}"

    assert refused(eve.ask("DELETE", path), 404, "token_not_found")
    assert ann.ask("GET", "/api/tokens", token=made["token"]).status_code == 200
    assert ann.ask("DELETE", path).status_code == 204
    assert refused(ann.ask("GET", "/api/tokens", token=made["token"]), 401, "token_invalid")
    assert refused(ann.ask("DELETE", path), 404, "token_not_found")
    assert refused(ann.ask("DELETE", "/api/tokens/%00"), 404, "not_found")


def test_logging_out_everywhere_leaves_nothing(web: Stack, person: Callable[[str], Person]):
    # Given somebody with two browsers and two tokens, and somebody else
    ann, bob = person("ann"), person("bob")
    browsers = [ann.log_in(), ann.log_in()]
    made = ann.new_token(scope="read")["token"]

    answer = web.client.delete("/api/tokens", headers=cookie(browsers[0]))

    assert (answer.status_code, answer.json()) == (200, {"revoked": 4})
    assert f"{COOKIE}=" in answer.headers["set-cookie"]
    assert not any(logged_in(web, secret) for secret in browsers)
    for token in (ann.token, made):
        assert refused(ann.ask("GET", "/api/tokens", token=token), 401, "token_invalid")
    assert bob.ask("GET", "/api/tokens").status_code == 200
    assert logged_in(web, ann.log_in())


def test_tokens_are_for_people_who_are_logged_in(web: Stack, development: Stack):
    for method, path in [("GET", ""), ("POST", ""), ("DELETE", ""), ("DELETE", "/a")]:
        for stack in (web, development):
            answer = stack.client.request(method, f"/api/tokens{path}")
            assert refused(answer, 401, "sign_in_first")
            assert answer.headers["www-authenticate"] == "Bearer"


def test_a_page_of_another_site_makes_no_token(web: Stack, person: Callable[[str], Person]):
    headers = cookie(person("ann").log_in()) | {"Origin": "https://evil.example"}

    for method in ("POST", "DELETE"):
        answer = web.client.request(method, "/api/tokens", json={"name": "a"}, headers=headers)
        assert refused(answer, 403, "cross_site")


def test_the_command_line_gives_lists_and_revokes_tokens(
    web: Stack, person: Callable[[str], Person]
):
    ann = person("ann")

    options = ["--name", "backup", "--scope", "read", "--days", "3"]
    made = web.run("gifster", "tokens", "add", ann.email, *options)
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    assert ann.ask("GET", "/api/tokens", token=secret).status_code == 200

    [line] = [
        line for line in web.run("gifster", "tokens", "list", ann.email).stdout.splitlines()
        if "backup" in line
    ]  # fmt: skip
    assert "read" in line
    assert secret not in line
    token_id = line.split()[0]
    assert web.run("gifster", "tokens", "revoke", token_id).returncode == 0
    assert refused(ann.ask("GET", "/api/tokens", token=secret), 401, "token_invalid")
    assert web.run("gifster", "tokens", "revoke", token_id).returncode == 1
