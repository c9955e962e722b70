"""The mounted jobs' page below any prefix and behind proxies, against other sites and bad input."""

import asyncio
import http
import io
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from gifster import jobs
from gifster.jobs import Job, page
from tests.jobs.page.mounted import HOST, MOUNT, PAGE, add, mounted, states


@pytest.fixture
def client(mount: Callable[..., httpx.Client]) -> Iterator[httpx.Client]:
    """A client of somebody who may do everything."""
    return mount()


class Links(HTMLParser):
    """All addresses in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {value or "" for name, value in attrs if name in ("href", "src", "action")}


def test_every_address_leads_below_the_mount(client: httpx.Client):
    add(dead="x")

    for query in ("", "?state=dead&q=charge"):
        links = Links(client.get(PAGE + query).text).found
        assert {"./jobs.css", "./jobs.js", "./layout.css", "./icon.svg", "./"} <= links
        for link in links:
            address = urljoin(HOST + PAGE, link)
            assert address.startswith(HOST + PAGE), link
            assert client.get(address).status_code == 200, link


def test_scripts_import_what_is_there(client: httpx.Client):
    script = client.get(f"{PAGE}jobs.js")

    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    for name in ("follow.js", "confirm.js"):
        assert f'"./{name}"' in script.text
        assert client.get(PAGE + name).status_code == 200


def test_the_mount_without_a_slash_leads_to_the_page(database: Any):
    with mounted("wsgi") as client:
        moved = client.get(f"{MOUNT}?state=dead")
    assert (moved.status_code, moved.headers["location"]) == (308, "jobs/?state=dead")
    assert urljoin(f"{HOST}{MOUNT}?state=dead", "jobs/?state=dead") == f"{HOST}{PAGE}?state=dead"


@pytest.mark.parametrize(
    ("root_path", "path"),
    [
        ("", "/"),
        ("/tools", "/tools/"),  # the path includes the mount, as ASGI says
        ("/tools", "/"),  # a server that has removed it
        ("/tools/", "/tools/"),
        ("/tool", "/tools/"),  # another path with the same beginning
    ],
)
def test_each_way_to_tell_the_mount_is_understood(database: Any, root_path: str, path: str):
    async def status() -> int:
        transport = httpx.ASGITransport(page.asgi(allow=lambda scope: True), root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            return (await client.get(path)).status_code

    assert asyncio.run(status()) == (404 if root_path == "/tool" else 200)


CROSS = "https://evil.example"


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({}, True),  # no browser
        ({"Sec-Fetch-Site": "same-origin", "Origin": CROSS}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": ""}, False),
        ({"Origin": HOST}, True),
        ({"Origin": "https://shop.example"}, True),  # a proxy speaks https
        ({"Origin": CROSS}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://shop.example:8080"}, False),
        ({"Origin": "http://sub.shop.example"}, False),
        ({"Origin": "http://[::1"}, False),
        ({"Origin": "http://shop.example:8080", "Host": "SHOP.example:8080"}, True),
        ({"Origin": "https://shop.example", "Host": "shop.example:443"}, True),
        ({"Origin": "https://shop.example", "Host": "127.0.0.1:8000"}, False),
        # A proxy that passes on its own Host, and the browser's in another header
        ({"Origin": "https://shop.example", "Host": "127.0.0.1:8000",
          "X-Forwarded-Host": "shop.example, inner.example"}, True),
        ({"Origin": CROSS, "X-Forwarded-Host": "shop.example"}, False),
        ({"Origin": "http://", "X-Forwarded-Host": ""}, False),
    ],
)  # fmt: skip
def test_another_sites_page_changes_nothing(
    client: httpx.Client, headers: dict[str, str], taken: bool
):
    add(dead="x")

    answer = client.post(PAGE, data={"do": "delete_all"}, headers=headers)

    assert answer.status_code == (303 if taken else 403)
    assert ("let the proxy pass on" in answer.text) is not taken
    assert len(states()) == (0 if taken else 1)


def test_each_answer_has_the_headers_that_protect_it(client: httpx.Client):
    for answer in [
        client.get(PAGE),
        client.get(f"{PAGE}none"),
        client.get(f"{PAGE}jobs.js"),
        client.post(PAGE, data={"do": "x"}),
    ]:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get(PAGE).headers["cache-control"] == "no-store"
    assert "<style" not in client.get(PAGE).text
    assert " style=" not in client.get(PAGE).text


def test_a_browser_that_has_a_file_does_not_load_it_again(client: httpx.Client):
    first = client.get(f"{PAGE}jobs.css")

    again = client.get(f"{PAGE}jobs.css", headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert "content-length" not in again.headers


def test_head_has_the_headers_of_get(client: httpx.Client):
    head = client.head(f"{PAGE}jobs.css")

    assert head.content == b""
    assert head.headers["content-length"] == client.get(f"{PAGE}jobs.css").headers["content-length"]


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "?state=undead", {}, 400),
        ("GET", "?state=", {}, 200),
        ("GET", "?span=year", {}, 400),
        ("GET", "?state=dead&cursor=-1", {}, 400),
        ("GET", f"?state=dead&cursor={'9' * 30}", {}, 400),
        ("GET", f"?state=dead&q={'x' * 201}", {}, 400),
        ("GET", "?state=dead&q=%00", {}, 400),
        ("GET", "?state=dead&q=%ff", {}, 400),
        ("GET", "?state=dead&queue=%ed%a0%80", {}, 400),
        ("GET", "?" + "a=1&" * 300, {}, 400),
        ("GET", "?done=nonsense", {}, 200),
        ("GET", "none", {}, 404),
        ("GET", "../jobs/jobs.css", {}, 200),
        ("GET", "layout.html", {}, 404),
        ("GET", "%2e%2e/templates/layout.html", {}, 404),
        ("PUT", "", {}, 405),
        ("DELETE", "", {}, 405),
        ("POST", "jobs.css", {}, 405),
        ("POST", "", {}, 415),
        ("POST", "", {"json": {"do": "delete_all"}}, 415),
        ("POST", "", {"content": b"", "headers": FORM}, 422),
        ("POST", "", {"content": b"do=%ff", "headers": FORM}, 400),
        ("POST", "", {"content": b"do=\xff", "headers": FORM}, 422),
        ("POST", "", {"content": b"do=delete&of=%00", "headers": FORM}, 400),
        ("POST", "", {"content": b"do=" + b"x" * 70_000, "headers": FORM}, 413),
        ("POST", "", {"content": b"of=1&" * 300, "headers": FORM}, 400),
        ("POST", "", {"data": {"do": "nonsense"}}, 422),
        ("POST", "", {"data": {"do": "retry", "of": "none"}}, 404),
        ("POST", "", {"data": {"do": "delete", "of": "none"}}, 404),
        ("POST", "", {"data": {"do": "pause", "of": "none"}}, 404),
        ("POST", "", {"data": {"do": "quiet", "of": "none"}}, 404),
        ("POST", "", {"data": {"do": "delete_all", "q": "x" * 201}}, 400),
    ],
)
def test_bad_input_is_refused(
    client: httpx.Client, method: str, path: str, options: Any, status: int
):
    job_id = add(dead="x")

    answer = client.request(method, PAGE + path, **options)

    assert answer.status_code == status
    assert "Traceback" not in answer.text
    assert states() == {job_id: "dead"}


def test_a_job_that_runs_is_not_deleted(client: httpx.Client):
    job_id = add()
    with Job._meta.database.connection_context():
        Job.update(leased_by="shop:1:x").execute()

    answer = client.post(PAGE, data={"do": "delete", "of": job_id})

    assert answer.status_code == 409
    assert "The job is running." in answer.text
    assert states() == {job_id: "running"}


def test_a_database_that_fails_is_logged_and_not_shown(
    mount: Callable[..., httpx.Client], database: Any, caplog: pytest.LogCaptureFixture
):
    with database.connection_context():
        database.drop_tables(jobs.TABLES)

    answer = mount().get(PAGE)

    assert answer.status_code == 500  # which is no better later
    assert "retry-after" not in answer.headers
    assert "no such table" not in answer.text
    assert "no such table" in caplog.text


def test_a_database_that_is_locked_says_when_to_come_again(
    mount: Callable[..., httpx.Client], database: Any, caplog: pytest.LogCaptureFixture
):
    # Given a writer that holds the lock of SQLite for longer than anybody waits
    job_id, client = add(dead="x"), mount()
    with database.connection_context():
        database.pragma("busy_timeout", 10, permanent=True)
    with closing(sqlite3.connect(database.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = client.post(PAGE, data={"do": "delete", "of": job_id})

    # I expect a page that says so, a line of the log, and nothing lost
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "The database with the jobs is locked" in answer.text
    assert "database is locked" in caplog.text
    assert "Traceback" not in caplog.text
    assert states() == {job_id: "dead"}
    assert client.post(PAGE, data={"do": "delete", "of": job_id}).status_code == 303


def test_a_content_length_that_is_no_number_is_no_error(database: Any):
    started: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "CONTENT_TYPE": FORM["Content-Type"],
        "CONTENT_LENGTH": "many",
        "wsgi.input": io.BytesIO(b"do=delete_all"),
    }

    page.wsgi(allow=lambda environ: True)(environ, lambda status, headers: started.append(status))

    assert started == [f"422 {http.HTTPStatus(422).phrase}"]  # RFC 9110 renamed it


@pytest.mark.parametrize(
    ("scope", "received", "sent"),
    [
        # A server that serves only the page
        ("lifespan", ["lifespan.startup", "lifespan.shutdown"],
         ["lifespan.startup.complete", "lifespan.shutdown.complete"]),
        ("websocket", ["websocket.connect"], ["websocket.close"]),
        # The client goes away before its form is here
        ("http", ["http.disconnect"], []),
    ],
)  # fmt: skip
def test_what_is_no_request_is_answered_too(
    database: Any, scope: str, received: list[str], sent: list[str]
):
    answers: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": received.pop(0)}

    async def send(message: dict[str, Any]) -> None:
        answers.append(message["type"])

    request = {"type": scope, "method": "POST", "path": "/", "headers": []}
    asyncio.run(page.asgi(allow=lambda scope: True)(request, receive, send))

    assert answers == sent
