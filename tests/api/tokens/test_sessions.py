"""Sessions: what ends them, and what pages say about who is logged in."""

import sqlite3
from collections.abc import Callable

import pytest

from tests.api.tokens.conftest import (
    COOKIE,
    PASSWORD,
    Person,
    bearer,
    cookie,
    logged_in,
    refused,
)
from tests.stack import Stack


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


@pytest.mark.parametrize(
    "path",
    ["gifs", "tags", "search/complete?q=a", "search/suggestions?q=a", "search/trending"],
)
def test_a_wrong_token_reads_nothing(web: Stack, path: str):
    assert web.client.get(f"/api/{path}").status_code == 200
    answer = web.client.get(f"/api/{path}", headers=bearer("wrong"))
    assert refused(answer, 401, "token_invalid")


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
