"""Tokens and sessions: named, scoped, expiring, revocable; logging out everywhere; and who may
change which GIF with them."""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests import images
from tests.machine import free_port
from tests.stack import Stack

#: As in production: people log in to write.
WEB = {"GIFSTER_AUTH__ANONYMOUS_UPLOADS": "false"}
GIF = images.gif()
PASSWORD = "correct horse"
COOKIE = "gifster_session"


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(web: Stack) -> None:
    web.client.cookies.clear()


@pytest.fixture(scope="module")
def development(web: Stack) -> Iterator[Stack]:
    """A second server over the same library, where anybody may write."""
    port = free_port()
    other = Stack(web.folder, web.environment["GIFSTER_BROKER__URL"])
    other.environment |= {"GIFSTER_WEB__PORT": str(port)}
    other.client.base_url = f"http://127.0.0.1:{port}"
    other.start_web()
    yield other
    other.stop()


class Person:
    """Somebody with an account, and the token that signing up gave."""

    def __init__(self, web: Stack, name: str) -> None:
        self.web, self.email = web, f"{name}@example.org"
        body = {"email": self.email, "password": PASSWORD, "name": name}
        self.token = web.client.post("/api/users", json=body).json()["token"]

    def ask(
        self, method: str, path: str, *, token: str | None = None, **options: Any
    ) -> httpx.Response:
        headers = bearer(token or self.token)
        return self.web.client.request(method, path, headers=headers, **options)

    def new_token(self, **body: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/api/tokens", json={"name": "script"} | body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def log_in(self) -> str:
        """A new session, as its cookie's value."""
        form = {"email": self.email, "password": PASSWORD}
        answer = httpx.post(f"{self.web.client.base_url}/login", data=form)
        assert answer.status_code == 303
        return answer.cookies[COOKIE]

    def upload(self) -> str:
        answer = self.ask("POST", "/api/gifs", files={"image": GIF})
        assert answer.status_code == 202
        return f"/api/gifs/{answer.json()['id']}"

    def become_admin(self) -> None:
        assert self.web.run("gifster", "admins", "add", self.email).returncode == 0


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def cookie(secret: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={secret}"}


@pytest.fixture
def person(web: Stack, request: pytest.FixtureRequest) -> Callable[[str], Person]:
    """Makes people, with addresses that no other test uses."""
    return lambda name: Person(web, f"{name}.{abs(hash(request.node.name))}")


def refused(answer: httpx.Response, status: int, code: str) -> bool:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return True


def logged_in(web: Stack, secret: str) -> bool:
    return 'action="/logout"' in web.client.get("/", headers=cookie(secret)).text


# Tokens.


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


@pytest.fixture(scope="module")
def secret(web: Stack) -> str:
    return Person(web, "bad-tokens").token


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


# Sessions.


def test_a_token_is_no_session_and_a_session_is_no_token(
    web: Stack, person: Callable[[str], Person]
):
    ann = person("ann")

    # A token that somebody planted as a cookie logs nobody in
    assert not logged_in(web, ann.token)
    answer = web.client.get("/api/tokens", headers=bearer(ann.log_in()))
    assert refused(answer, 401, "token_invalid")


def test_a_token_takes_precedence_over_the_cookie(web: Stack, person: Callable[[str], Person]):
    ann, bob = person("ann"), person("bob")
    session = cookie(ann.log_in())

    def kinds(token: str) -> set[str]:
        items = web.client.get("/api/tokens", headers=session | bearer(token)).json()["items"]
        return {item["kind"] for item in items}

    assert kinds(bob.token) == {"token"}
    wrong = web.client.get("/api/tokens", headers=session | bearer("wrong"))
    assert refused(wrong, 401, "token_invalid")
    empty = web.client.get("/api/tokens", headers=session | {"Authorization": "Bearer"})
    assert refused(empty, 401, "token_invalid")


def test_logging_in_ends_the_session_that_the_browser_had(
    web: Stack, person: Callable[[str], Person]
):
    ann, bob = person("ann"), person("bob")
    first, elsewhere, planted = ann.log_in(), ann.log_in(), bob.log_in()

    form = {"email": ann.email, "password": PASSWORD}
    second = web.client.post("/login", data=form, headers=cookie(first)).cookies[COOKIE]
    web.client.cookies.clear()
    third = web.client.post("/login", data=form, headers=cookie(planted)).cookies[COOKIE]
    web.client.cookies.clear()

    assert [logged_in(web, secret) for secret in (first, elsewhere, second, third)] == [
        False, True, True, True]  # fmt: skip
    assert len({first, second, third, planted}) == 4
    assert "bob" not in web.client.get("/", headers=cookie(third)).text


def test_the_page_logs_out_here_or_everywhere(web: Stack, person: Callable[[str], Person]):
    ann = person("ann")
    here, there = ann.log_in(), ann.log_in()
    page = web.client.get("/logout", headers=cookie(here)).text
    assert "Log out everywhere" in page
    assert 'href="/logout"' in web.client.get("/", headers=cookie(here)).text

    answer = web.client.post("/logout", headers=cookie(here))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert [logged_in(web, secret) for secret in (here, there)] == [False, True]
    assert ann.ask("GET", "/api/tokens").status_code == 200

    web.client.post("/logout/everywhere", headers=cookie(there))
    assert not logged_in(web, there)
    assert refused(ann.ask("GET", "/api/tokens"), 401, "token_invalid")

    # A request without a session logs nobody out
    nobody = web.client.post("/logout/everywhere")
    assert (nobody.status_code, nobody.headers["location"]) == (303, "/")
    assert web.client.get("/logout").headers["location"] == "/login"


def test_a_deleted_user_is_logged_out(web: Stack, person: Callable[[str], Person]):
    ann = person("ann")
    path, session = ann.upload(), ann.log_in()

    with sqlite3.connect(web.var / "gifster.db") as database:
        database.execute("PRAGMA foreign_keys = 1")
        database.execute("DELETE FROM user WHERE email = ?", (ann.email,))

    assert refused(ann.ask("GET", "/api/tokens"), 401, "token_invalid")
    assert not logged_in(web, session)
    # And the GIF stays, for admins to look after
    assert web.client.get(path).status_code == 200
    assert refused(person("bob").ask("DELETE", path), 403, "no_owner")


# GIFs of others, and GIFs without an owner.


def changes(path: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        ("PATCH", path, {"json": {"title": "mine now"}}),
        ("PUT", f"{path}/image", {"files": {"image": GIF}}),
        ("POST", path.removeprefix("/api") + "/delete", {}),
        ("DELETE", path, {}),
    ]


def test_a_gif_without_an_owner_is_changed_by_admins_only(
    web: Stack, development: Stack, person: Callable[[str], Person]
):
    # Given a GIF without an owner, from when anybody could write
    path = f"/api/gifs/{development.upload(GIF).json()['id']}"
    bob, ann = person("bob"), person("ann")
    ann.become_admin()

    # I expect that somebody with an account cannot change it
    for method, where, options in changes(path):
        assert refused(bob.ask(method, where, **options), 403, "no_owner"), method
    page = path.removeprefix("/api")
    assert f"{page}/trash" not in web.client.get(page, headers=cookie(bob.log_in())).text

    # Nor can an admin's script, whose token has no such scope
    writes = ann.new_token(scope="write")["token"]
    for method, where, options in changes(path):
        assert refused(ann.ask(method, where, token=writes, **options), 403, "no_owner"), method

    # But the admin can
    assert f"{page}/trash" in web.client.get(page, headers=cookie(ann.log_in())).text
    for method, where, options in changes(path)[:2]:
        assert ann.ask(method, where, **options).status_code in (200, 202)
    assert web.client.get(path).json()["title"] == "mine now"
    assert ann.ask("DELETE", path).status_code == 204


def test_in_development_anybody_may_change_a_gif_without_an_owner(
    web: Stack, development: Stack, person: Callable[[str], Person]
):
    bob = person("bob")
    for headers in ({}, bearer(bob.token), bearer(bob.new_token(scope="write")["token"])):
        path = f"/api/gifs/{development.upload(GIF).json()['id']}"
        page = development.client.get(path.removeprefix("/api"), headers=headers).text
        assert f"{path.removeprefix('/api')}/trash" in page
        assert development.client.delete(path, headers=headers).status_code == 204


def test_an_admin_may_change_gifs_of_others(web: Stack, person: Callable[[str], Person]):
    # Given a GIF of Bob's, and an admin with a script
    bob, ann = person("bob"), person("ann")
    path = bob.upload()
    ann.become_admin()
    writes = ann.new_token(scope="write")["token"]

    for method, where, options in changes(path):
        assert refused(ann.ask(method, where, token=writes, **options), 403, "not_yours"), method
    said = ann.ask("PATCH", path, token=writes, json={"title": "tidied"}).json()["detail"]
    assert "a token needs the scope admin" in said
    assert ann.ask("PATCH", path, json={"title": "tidied"}).status_code == 200
    assert ann.ask("PUT", f"{path}/image", files={"image": GIF}).status_code == 202
    # It stays Bob's
    assert bob.ask("PATCH", path, json={"title": "mine"}).status_code == 200
    assert ann.ask("DELETE", path).status_code == 204


# The command line.


def test_the_command_line_logs_somebody_out(web: Stack, person: Callable[[str], Person]):
    ann = person("ann")
    session = ann.log_in()

    done = web.run("gifster", "users", "log-out", ann.email)

    assert (done.returncode, done.stdout) == (0, f"logged out {ann.email}: 2 sessions and tokens\n")
    assert not logged_in(web, session)
    assert refused(ann.ask("GET", "/api/tokens"), 401, "token_invalid")
    nobody = web.run("gifster", "users", "log-out", "nobody@example.org")
    assert nobody.returncode == 1
    assert "no account with the address nobody@example.org" in nobody.stderr


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


@pytest.mark.parametrize("path", ["/nowhere", "/gifs/zzzzzzzzzzzz", "/?cursor=xx"])
def test_an_error_page_does_not_ask_a_user_to_log_in(
    web: Stack, person: Callable[[str], Person], path: str
):
    headers = cookie(person("ann").log_in()) | {"Accept": "text/html"}

    answer = web.client.get(path, headers=headers)

    assert answer.status_code in (400, 404)
    assert "Sign up" not in answer.text


def test_the_page_of_a_refused_upload_says_who_is_logged_in(
    web: Stack, person: Callable[[str], Person]
):
    headers = cookie(person("ann").log_in()) | {"Accept": "text/html"}

    answer = web.client.post("/gifs", files={"image": ("x.gif", b"hello")}, headers=headers)

    assert answer.status_code == 415
    assert "Log out" in answer.text
