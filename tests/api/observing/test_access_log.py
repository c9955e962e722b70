"""The access log: a line for each request, in which nobody finds a secret and into which nobody
writes lines of their own. And who may read `/metrics`."""

import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from falcon.asgi import Request
from falcon.testing import create_scope

from gifster.api.access_log import SHOWN, shown_path, word
from gifster.api.forwarded import PASSED_ON, is_from
from gifster.api.openapi import document
from gifster.app.settings import Web
from tests.machine import eventually
from tests.stack import Stack

TOKEN = "a-token-of-prometheus"
WEB = {
    "GIFSTER_WEB__ACCESS_LOG": "true",
    "GIFSTER_WEB__METRICS_TOKEN": TOKEN,
    "GIFSTER_WEB__METRICS_ADDRESSES": '["192.0.2.0/24"]',
    "GIFSTER_WEB__TRUSTED_PROXIES": '["127.0.0.1"]',
}
SECRET = "hD3kfLq0Zx8vB2nM5pR7tY1uW4eA6sG9"
LINE = re.compile(
    r"INFO gifster\.access access client=(?P<client>\S+) user=(?P<user>\S+) "
    r'method=(?P<method>\S+) path=(?P<path>\S+|".*?(?<!\\)") status=(?P<status>\d+)'
    r"(?: code=(?P<code>\S+))? bytes=(?P<bytes>\d+) ms=(?P<ms>[\d.]+) agent=(?P<agent>.*)"
)


def lines(web: Stack) -> list[dict[str, str]]:
    matches = map(LINE.search, web.log("gifster-web").splitlines())
    return [match.groupdict() for match in matches if match]


def line_of(web: Stack, agent: str) -> dict[str, str]:
    """The line of the request with this `User-Agent`, which no other has."""
    return eventually(lambda: next((one for one in lines(web) if one["agent"] == agent), None))


def test_each_request_gets_a_line(web: Stack, gif: bytes):
    # When a client behind the proxy uploads a GIF and looks at it
    headers = {"X-Forwarded-For": "203.0.113.9", "User-Agent": "uploading/1.0"}
    answer = web.client.post("/api/gifs", files={"image": ("a.gif", gif)}, headers=headers)
    gif_id = answer.json()["id"]
    line = line_of(web, "uploading/1.0")
    page = web.client.get(f"/gifs/{gif_id}", headers={"User-Agent": 'a "browser" = 2'})

    # I expect a line for each, with the client, what it asked for, and what it got
    assert answer.status_code == 202
    assert (line["client"], line["user"], line["method"]) == ("203.0.113.9", "-", "POST")
    assert (line["path"], line["status"]) == ("/api/gifs", "202")
    assert int(line["bytes"]) == len(answer.content)
    assert float(line["ms"]) > 0
    seen = line_of(web, r'"a \"browser\" = 2"')
    assert (seen["client"], seen["path"]) == ("127.0.0.1", f"/gifs/{gif_id}")
    assert page.status_code == int(seen["status"]) == 200


def test_a_line_names_the_user(web: Stack):
    account = {"email": "ann@example.org", "password": "correct horse", "name": "Ann"}
    made = web.client.post("/api/users", json=account).json()
    sent = {"Authorization": f"Bearer {made['token']}", "User-Agent": "anns/1"}
    mine = web.client.get("/api/mine", headers=sent)

    assert mine.status_code == 200
    assert line_of(web, "anns/1")["user"] == made["id"]
    assert made["token"] not in web.log("gifster-web")
    assert "correct horse" not in web.log("gifster-web")


def test_a_failed_log_in_says_so(web: Stack):
    # The filter of docs/running/observing.md
    guide = Path("docs/running/observing.md").read_text("utf-8")
    pattern = re.search(r"^failregex = (.*)$", guide, re.MULTILINE)
    assert pattern
    wrong = {"email": "nobody@example.org", "password": "wrong horse"}
    page = web.client.post("/login", data=wrong, headers={"User-Agent": "failing/1"})
    web.client.get("/gifs/none", headers={"User-Agent": "missing/1"})

    assert page.status_code == 403
    assert line_of(web, "failing/1")["code"] == "login_failed"
    assert line_of(web, "missing/1")["code"] == "gif_not_found"
    found = re.findall(pattern[1].replace("<HOST>", r"(\S+)"), web.log("gifster-web"))
    assert found == ["127.0.0.1"]


def test_a_refused_head_gets_a_line(web: Stack):
    agent = {"User-Agent": "long/1"}
    assert web.client.get("/", params={"q": "x" * 9_000}, headers=agent).status_code == 414

    line = line_of(web, "long/1")
    assert (line["path"], line["status"], line["user"]) == ("/", "414", "-")
    assert "xxxx" not in web.log("gifster-web")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/v1/gifs/search?api_key={SECRET}&q=cats", {}),
        (f"/v2/search?key={SECRET}&q=cats", {}),
        (f"/gifs?token={SECRET}", {}),
        (f"/v1/tags/related/{SECRET}", {}),
        (f"/password/{SECRET}", {}),
        (f"/confirm/{SECRET}", {}),
        (f"/invitation/{SECRET}", {}),
        (f"/invitation/{SECRET}/", {}),
        (f"/nowhere/{SECRET}", {}),
        (f"/nowhere/{SECRET}/{SECRET}?a={SECRET}", {}),
        (f"/media/gifs/abc/{SECRET}/original.gif", {}),
        ("/", {"Authorization": f"Bearer {SECRET}"}),
        ("/", {"Authorization": SECRET}),
        ("/", {"Cookie": f"gifster_session={SECRET}"}),
        ("/", {"Referer": f"http://127.0.0.1/reset/{SECRET}"}),
        ("/metrics", {"Authorization": f"Bearer {SECRET}"}),
        (f"//{SECRET}", {}),
        (f"/%2e%2e/{SECRET}", {}),
        (f"/api/gifs/{SECRET}%0a{SECRET}", {"Origin": f"https://{SECRET}"}),
    ],
)
def test_no_secret_is_in_the_log(web: Stack, path: str, headers: dict[str, str]):
    before = len(lines(web))
    httpx.get(f"{web.client.base_url}".rstrip("/") + path, headers=headers)
    eventually(lambda: len(lines(web)) > before)

    if path.startswith("/api/gifs/"):  # an id is no secret: it is what people share
        assert "%0a" not in web.log("gifster-web")
    else:
        assert SECRET not in web.log("gifster-web")


def test_nobody_writes_a_line_of_their_own(web: Stack):
    # Given requests whose path, method and program look like the beginning of another line
    forged = "status=200 agent=-%0a2026-01-01 INFO gifster.access access client=10.6.6.6"
    before = len(lines(web))
    web.client.get(f"/gifs/{forged}")
    web.client.get(f"/{forged}", headers={"User-Agent": "a\u00852026 b".encode("latin1")})
    port = web.port
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: \x9b2J\xff\r\n\r\n")
        assert raw.recv(100)
    eventually(lambda: len(lines(web)) >= before + 3)

    # I expect each of them to be one line, and no line of theirs
    new = lines(web)[before:]
    assert len(new) == 3
    assert all(line["client"] == "127.0.0.1" for line in new)
    assert "\x9b" not in web.log("gifster-web")
    assert "\x85" not in web.log("gifster-web")


@pytest.mark.parametrize(
    ("template", "path", "shown"),
    [
        ("/gifs/{gif_id}", "/gifs/abc", "/gifs/abc"),
        ("/media/{gif_id:gif_id}/{name:rendition}", "/media/abc/tiny.gif", "/media/abc/tiny.gif"),
        ("/reset/{secret}", f"/reset/{SECRET}", "/reset/{secret}"),
        ("/invited/{secret}/{gif_id}", f"/invited/{SECRET}/abc", "/invited/{secret}/{gif_id}"),
        (None, f"/a/{SECRET}/b", "/a/…/b"),
        (None, "/wp-login.php", "/wp-login.php"),
        (None, "/a b", '"/a b"'),
        ("/", "/" + "ab/" * 100, "/" + "ab/" * 66 + "a…"),
    ],
)
def test_what_is_shown_of_a_path(template: str | None, path: str, shown: str):
    assert shown_path(template, path) == shown


def test_no_part_of_a_path_that_is_shown_sounds_like_a_secret():
    assert not any(re.search("secret|token$|key|code|signature", name) for name in SHOWN)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("curl/8.5", "curl/8.5"),
        ("", '""'),
        ("a b", '"a b"'),
        ('a"b\\', r'"a\"b\\"'),
        ("a=b", '"a=b"'),
    ],
)
def test_values_with_odd_characters_are_quoted(text: str, written: str):
    assert word(text) == written


# Who may read /metrics


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"Authorization": f"bearer  {TOKEN}"}, 200),
        ({"Authorization": TOKEN}, 401),
        ({"X-Forwarded-For": "192.0.2.7"}, 200),
        ({"X-Forwarded-For": "198.51.100.7"}, 401),
        ({"X-Forwarded-For": "192.0.2.7, 198.51.100.7"}, 401),
        ({"X-Forwarded-For": "garbage"}, 401),
    ],
)
def test_metrics_are_for_an_address_or_a_token(web: Stack, headers: dict[str, str], status: int):
    answer = web.client.get("/metrics", headers=headers)

    assert answer.status_code == status
    if status == 401:
        assert answer.json()["code"] == "metrics_closed"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert TOKEN not in answer.text


def test_the_document_of_the_api_says_that_metrics_may_be_closed():
    documented = document()["paths"]["/metrics"]["get"]["responses"]

    assert documented.keys() >= {"200", "401", "403", "503"}


def request(*headers: tuple[str, str], peer: Any) -> Request:
    scope = create_scope(headers=list(headers), host="gifster")
    return Request(scope | {"client": peer}, None)


@pytest.mark.parametrize(
    ("peer", "headers", "allowed"),
    [
        ("127.0.0.1", [], True),
        ("::1", [], True),
        ("::ffff:10.2.3.4", [], True),
        ("fd12::1", [], True),
        ("203.0.113.9", [], False),
        ("172.32.0.1", [], False),
        ("2001:db8::1", [], False),
        # a proxy on this machine that the settings do not name
        *(("127.0.0.1", [(name, "10.0.0.1")], False) for name in PASSED_ON),
    ],
)
def test_by_default_metrics_are_for_private_networks(
    peer: str, headers: list[tuple[str, str]], allowed: bool
):
    web = Web()

    assert is_from(request(*headers, peer=(peer, 4_000)), web, web.metrics_addresses) is allowed


@pytest.mark.parametrize(
    ("sent", "allowed"),
    [
        ([], True),
        ([("X-Forwarded-For", "192.168.1.7")], True),
        ([("X-Forwarded-For", "203.0.113.9")], False),
        ([("X-Forwarded-For", "unknown")], False),
        ([("X-Forwarded-For", "192.168.1.7, garbage")], False),
        ([("X-Forwarded-For", "127.0.0.1")], False),
        ([("Forwarded", "for=192.168.1.7")], False),
    ],
)
def test_a_proxy_of_ours_must_say_who_asks(sent: list[tuple[str, str]], allowed: bool):
    web = Web(trusted_proxies=["127.0.0.1"])

    found = is_from(request(*sent, peer=("127.0.0.1", 4_000)), web, web.metrics_addresses)

    assert found is allowed


def test_a_connection_without_an_address_is_from_nowhere():
    web = Web()
    assert not is_from(request(peer=None), web, web.metrics_addresses)
