"""Somebody who has to log in first: what they read, and where they are afterwards."""

import asyncio
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import peewee
import pytest

from gifster.api.app import create_app
from gifster.api.form_tokens import SESSION
from gifster.api.way_back import local_path
from gifster.app import accounts, tokens
from gifster.app.settings import Settings
from tests.api.clients import Client
from tests.api.site import for_members

HTML = {"Accept": "text/html"}


@pytest.fixture
def stranger(booted: Settings) -> Iterator[Client]:
    """A stranger in a library for members."""
    accounts.sign_up("ann@example.org", "correct horse", "Ann")
    with asyncio.Runner() as runner:
        yield Client(create_app(for_members(booted)), runner.get_loop(), {})


@pytest.mark.parametrize(
    ("method", "asked", "back"),
    [
        ("GET", "/", "/"),
        ("GET", "/?q=cats%20%26%20dogs&tag=a", "/?q=cats%20%26%20dogs&tag=a"),
        ("GET", "/gifs/abcdefghijkm", "/gifs/abcdefghijkm"),
        ("GET", "/g/abcdefghijkm.gif", "/g/abcdefghijkm.gif"),
        ("POST", "/gifs/abcdefghijkm/favourite", "/gifs/abcdefghijkm"),
        ("POST", "/gifs", "/"),
        ("POST", "/trash/empty", "/trash"),
    ],
)
def test_people_read_a_sentence_and_come_back(stranger: Client, method: str, asked: str, back: str):
    page = stranger(method, asked, headers=HTML | {"Sec-Fetch-Site": "none"})

    if method == "GET":
        # A page leads to the log-in itself
        assert page.status_code == 303
        link = page.headers["location"]
        page = stranger("GET", link, headers=HTML | {"Sec-Fetch-Site": "none"})
    else:
        # A form says that it was not taken
        assert page.status_code == 401
        start = page.text.rindex('href="/login') + len('href="')
        link = page.text[start : page.text.index('"', start)].replace("&amp;", "&")
    assert "This library is for people who have an account." in page.text
    assert "Bearer" not in page.text
    assert "token" not in page.text
    assert parse_qs(urlsplit(link).query).get("next", ["/"]) == [back]

    form = stranger("GET", link, headers=HTML)
    assert form.status_code == 200
    sent = {"email": "ann@example.org", "password": "correct horse"}
    if back != "/":
        assert f'name="next" value="{back.replace("&", "&amp;")}"' in form.text
        sent["next"] = back
    # A typing error does not lose the way
    wrong = stranger("POST", "/login", data=sent | {"password": "wrong horse"}, headers=HTML)
    assert (f'name="next" value="{back.replace("&", "&amp;")}"' in wrong.text) is (back != "/")
    done = stranger("POST", "/login", data=sent)
    assert (done.status_code, done.headers["location"]) == (303, back)


def test_programs_read_how_to_send_a_token(stranger: Client):
    for path in ("/", "/api/gifs", "/gifs/abcdefghijkm", "/feed.atom", "/media/gifs/a/b.gif"):
        answer = stranger("GET", path, headers={"Accept": "*/*"})
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["code"] == "sign_in_first"
        assert "Authorization: Bearer" in answer.json()["detail"]


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example", "https://evil.example", "javascript:alert(1)", "evil.example", "", " /",
        "/%0d%0aSet-Cookie: a=b".replace("%0d%0a", "\r\n"), "/caf\u00e9", "/a b", "/" + "a" * 1001,
        "/a\\..\\evil", "/\x00", "/\x7f", "/login?next=/login", "/logout", "/signup",
    ],
)  # fmt: skip
def test_no_link_to_the_form_leads_anywhere_else(stranger: Client, elsewhere: str):
    assert local_path(elsewhere) == "/"
    sent = {"email": "ann@example.org", "password": "correct horse", "next": elsewhere}
    done = stranger("POST", "/login", data=sent)
    if "\0" not in elsewhere:
        assert done.status_code in (303, 400, 422)
    assert done.headers.get("location", "/") == "/"
    assert "evil" not in str(done.headers)


def test_paths_with_everything_that_they_may_have_are_ours():
    for path in ("/", "/gifs/abc", "/?q=a%26b&tag=%23", "/collections/x?cursor=a~b", "/a//b"):
        assert local_path(path) == path


@pytest.mark.parametrize(
    "path", ["/jobs", "/mine", "/moderation", "/people", "/account", "/invitations", "/trash"]
)
def test_a_page_for_people_who_are_logged_in_leads_to_the_log_in(booted: Settings, path: str):
    with asyncio.Runner() as runner:
        stranger = Client(create_app(booted), runner.get_loop(), {})

        page = stranger("GET", path, headers=HTML)

        assert (page.status_code, page.headers["location"]) == (303, f"/login?next={path}")
        assert stranger("GET", path, headers={"Accept": "*/*"}).status_code == 401


def test_error_pages_have_the_header_of_all_pages(
    booted: Settings, monkeypatch: pytest.MonkeyPatch
):
    ann = accounts.sign_up("ann@example.org", "correct horse", "Ann")
    with asyncio.Runner() as runner:
        app, loop = create_app(booted), runner.get_loop()
        cookie = {"Cookie": f"{SESSION}={tokens.start_session(ann, 1)}"}
        stranger, ann_here = Client(app, loop, HTML), Client(app, loop, HTML | cookie)

        # Nobody knows the address, no GIF has this id, and Ann is no admin
        for path, status in (("/nope", 404), ("/gifs/nope", 404), ("/jobs", 403)):
            page = ann_here("GET", path)
            assert page.status_code == status
            assert "<bdi>Ann</bdi>" in page.text, path
            assert "/#upload" in page.text, path
        page = stranger("GET", "/nope")
        assert page.status_code == 404
        assert 'href="/login"' in page.text

        # And while nobody can tell who asks, the page comes without names
        def away(*_: object) -> None:
            raise peewee.OperationalError("connection refused")

        monkeypatch.setattr(tokens, "find_token", away)
        page = ann_here("GET", "/nope")
        assert page.status_code == 404
        assert "<bdi>" not in page.text
        assert 'href="/login"' not in page.text
