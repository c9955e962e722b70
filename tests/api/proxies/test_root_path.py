"""The library at a path of a host (`web.root_path`): no page, answer, cookie or script leads out of
it."""

import asyncio
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import falcon.inspect
import httpx
import pytest

from gifster.api.adapter import adapted
from gifster.api.app import create_app
from gifster.api.root_path import below
from gifster.app import collections, favourites, search, tokens, trash
from gifster.app.access import Reach, Viewer
from gifster.app.accounts import mail_links
from gifster.app.models import Gif
from gifster.app.settings import Settings, Web
from tests import images
from tests.api.stored_gifs import stored_gif
from tests.app.people import person
from tests.combinations import on_sqlite

STATIC = Path(__file__).parents[3] / "gifster" / "api" / "static"
ROOT = "/team/gifs"  # it ends like one of our own paths
SITE = "http://localhost"
#: What begins like this is for programs.
NO_PAGES = ("/api/", "/v1/", "/v2/", "/proxy/", "/events", "/healthz", "/readyz", "/metrics")
#: Attributes that name an address.
ADDRESSES = {"href", "src", "srcset", "poster", "data-url", "data-poster", "formaction"}


class Links(HTMLParser):
    """The addresses in a page, and its forms: the address and the method of each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.forms: set[tuple[str, str]] = set()
        self._in_template = False  # scripts complete what is there
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = {name: value or "" for name, value in attrs}
        self._in_template = self._in_template or tag == "template"
        if self._in_template:
            return
        if tag == "form":
            self.forms.add((of.get("action", ""), of.get("method", "get").lower()))
            return
        for name in ADDRESSES & of.keys():
            url = of[name].split(" ")[0]
            if url and not url.startswith("data:"):
                self.found.add(url)
        if of.get("property", "").startswith("og:") and of.get("content", "").startswith("http"):
            self.found.add(of["content"])

    def handle_endtag(self, tag: str) -> None:
        self._in_template = self._in_template and tag != "template"


class Browser:
    """Ann's browser, against the application in this process."""

    def __init__(self, settings: Settings, runner: asyncio.Runner, session: str) -> None:
        self._runner = runner
        made = create_app(settings)
        #: The paths of all pages without a parameter.
        self.pages = {
            route.path
            for route in falcon.inspect.inspect_routes(made)
            if "{" not in route.path and not route.path.startswith(NO_PAGES)
            if any(method.method == "GET" for method in route.methods)
        }
        app = adapted(below(made, settings.web.root_path), 30)
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),  # type: ignore[arg-type]
            base_url=SITE,
            headers={"Cookie": f"gifster_session={session}", "Accept": "text/html"},
        )

    def __call__(self, path: str, method: str = "GET", **options: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **options))


@pytest.fixture
def at_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be asked for before `booted`."""
    monkeypatch.setenv("GIFSTER_WEB__ROOT_PATH", ROOT)
    monkeypatch.setenv("GIFSTER_LIMITS__ENABLED", "false")


@pytest.fixture
def for_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be asked for before `ann`."""
    monkeypatch.setenv("GIFSTER_AUTH__READ", "members")
    monkeypatch.setenv("GIFSTER_SEARCH__KEYS", '["key"]')


@pytest.fixture
def ann(at_a_path: None, booted: Settings) -> Iterator[Browser]:
    """Ann's, who is an admin. She has GIFs, also a private one and one in the trash, a collection
    and a favourite."""
    ann = person("ann", is_admin=True)
    first, *_ = gifs = [stored_gif(ann, f"Cat {number}", ["cat"]) for number in range(3)]
    Gif.update(visibility="private").where(Gif.id == gifs[1].id).execute()
    trash.throw_away(gifs[2].id, ann, Reach.OWN)
    search.put(Gif.get_by_id(first.id), ["cat"])
    viewer = Viewer(ann.id, Reach.OWN)
    made = collections.create(ann, "Cats", "public")
    collections.add(made.id, first.id, viewer)
    favourites.add(ann, first.id, viewer)
    with asyncio.Runner() as runner:
        yield Browser(booted, runner, tokens.start_session(ann, 1))


def inside(url: str, at: str) -> str:
    """The path and query of an address of ours that was found at a path."""
    parts = urlsplit(urljoin(SITE + at, url))
    assert f"{parts.scheme}://{parts.netloc}" == SITE, (at, url)
    assert parts.path.startswith(f"{ROOT}/"), f"{at} leads to {url}"
    return parts.path + (parts.query and "?" + parts.query)


@on_sqlite
def test_a_walk_over_all_pages_never_leaves_the_path(ann: Browser):
    gif = Gif.select().where(Gif.visibility == "public").first()
    # Not all of them are linked from others
    begin = {f"{ROOT}{page}" for page in ann.pages} | {f"{ROOT}/gifs/{gif.id}/edit"}
    waiting, seen, forms = [*begin], set(), set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = ann(path)
        linked = path not in begin
        assert answer.status_code in (200, 301, 303) or not linked, (path, answer.text)
        if "Location" in answer.headers:
            waiting.append(inside(answer.headers["Location"], path))
        if not answer.headers.get("Content-Type", "").startswith("text/html"):
            continue
        page = Links(answer.text)
        waiting += [inside(url, path) for url in page.found]
        for action, method in page.forms:
            forms.add((inside(action or path, path), method))
            waiting += [inside(action or path, path)] if method == "get" else []

    # The walk has seen what there is, and each form leads to something that takes it
    routes = {re.sub(r"/[0-9A-Za-z]{12}\b", "/ID", urlsplit(path).path) for path in seen}
    pages = ("", "mine", "favourites", "trash", "collections", "collections/ID", "gifs/ID",
             "gifs/ID/edit", "jobs", "tags", "logout", "account", "openapi.json",
             "feed.atom")  # fmt: skip
    assert {f"{ROOT}/{page}" for page in pages} <= routes
    for path, method in forms:
        if method == "post":
            assert "POST" in ann(path, "OPTIONS").headers["Allow"], path


@on_sqlite
def test_addresses_in_answers_for_programs_are_below_the_path(ann: Browser):
    gif = ann(f"{ROOT}/api/gifs", headers={"Accept": "application/json"}).json()["items"][0]
    page = f"{SITE}{ROOT}/gifs/{gif['id']}"
    oembed = ann(f"{ROOT}/oembed?url={page}").json()
    texts = [
        json.dumps(gif),
        json.dumps(oembed),
        ann(f"{ROOT}/feed.atom").text,
        ann(f"{ROOT}/v1/gifs/search?q=cat").text,
        ann(f"{ROOT}/v2/search?q=cat").text,
        ann(f"{ROOT}/gifs/{gif['id']}/share").text,
        ann(f"{ROOT}/embed/{gif['id']}").text,
    ]

    for text in texts:
        found = re.findall(rf'{SITE}[^"<>\s\\&]*|(?<=[">])/[a-z][^"<>\s]*', text)
        assert found, text
        for url in found:
            if url != SITE + ROOT:  # the provider of oEmbed
                assert ann(inside(url, "/")).status_code in (200, 301, 302, 405), url
    assert ann(f"{ROOT}/openapi.json").json()["servers"] == [{"url": ROOT}]
    # Where the page was before the library moved
    assert ann(f"{ROOT}/oembed?url={SITE}/gifs/{gif['id']}").status_code == 404


@on_sqlite
def test_an_upload_and_a_log_in_lead_below_the_path(ann: Browser):
    sent = {"image": ("a.gif", images.gif(), "image/gif")}

    by_program = ann(f"{ROOT}/api/gifs", "POST", files=sent)
    by_form = ann(f"{ROOT}/gifs", "POST", files=sent)
    person = {"email": "bob@example.org", "password": "correct horse", "name": "Bob"}
    signed_up = ann(f"{ROOT}/signup", "POST", data=person)

    assert by_program.headers["Location"] == f"{ROOT}/api/gifs/{by_program.json()['id']}"
    assert by_form.headers["Location"].startswith(f"{ROOT}/gifs/")
    assert signed_up.headers["Location"] == f"{ROOT}/"
    paths = re.findall("Path=([^;,]*)", signed_up.headers["Set-Cookie"])
    assert sorted(paths) == [f"{ROOT}/", f"{ROOT}/login"]


@on_sqlite
def test_nothing_but_the_path_is_the_librarys(ann: Browser):
    for path in ("/", "/gifs", "/team", f"{ROOT}x", "/team/gifs2/", "//team/gifs/", "/team//gifs/"):
        answer = ann(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    assert f"the library is at {ROOT}/" in ann("/login").json()["detail"]

    # Relative links would miss the path without its slash
    assert ann(f"{ROOT}?q=a").headers["Location"] == f"{ROOT}/?q=a"
    # Probes and scrapers come by the port, past the proxy
    for path in ("/healthz", "/metrics"):
        assert (ann(path).status_code, ann(ROOT + path).status_code) == (200, 200)
    # And no path makes a redirect to another host of it
    assert ann(f"{ROOT}//evil.example/").status_code == 404


def test_no_script_names_an_address_at_the_root():
    for path in STATIC.glob("*.js"):
        for line in path.read_text().splitlines():
            assert not re.search(r"""["'`]/[a-z$]""", line), (path.name, line)
    manifest = (STATIC / "manifest.webmanifest").read_text()
    assert '"/' not in manifest


@on_sqlite
def test_a_library_for_members_hands_out_signed_addresses_below_the_path(
    for_members: None, ann: Browser
):
    # Given a client of GIPHY's API with a key, which fetches files without logging in
    stranger = {"headers": {"Cookie": "", "Accept": "*/*"}}
    found = ann(f"{ROOT}/v1/gifs/search?q=cat&api_key=key", **stranger).json()["data"][0]
    made_up = ann(f"{ROOT}/media/{found['id']}/giphy.gif", **stranger)
    assert made_up.status_code == 401
    # And one that asks through a proxy, and fetches the files there by their path
    proxied = ann(f"{ROOT}/proxy/tenor/api/v2/search?q=cat&key=key", **stranger).json()
    formats = proxied["results"][0]["media_formats"]

    # I expect what they were given to lead to the file
    path = inside(formats["gif"]["url"], "/")
    given = [
        inside(found["images"]["original"]["url"], "/"),
        path,
        f"{ROOT}/proxy/tenor/media{path}",
    ]
    for url in given[:2]:
        answer = ann(url, **stranger)
        while answer.status_code == 302:
            answer = ann(inside(answer.headers["Location"], "/"), **stranger)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/gif")
    assert ann(given[2], **stranger).status_code in (302, 401)
    # And somebody who has to log in to come back
    page = ann(f"{ROOT}/gifs/{found['id']}", headers={"Cookie": ""})
    assert page.headers["location"] == f"{ROOT}/login?next=/gifs/{found['id']}"


def test_only_redirects_and_cookies_of_ours_get_the_path():
    headers = {
        b"location": [b"/gifs/1", b"//evil.example/", b"https://evil.example/", b"relative"],
        b"set-cookie": [b"a=1; Path=/; HttpOnly", b"b=2; path=/x", b'c="; Path=/"', b"d=3"],
        b"link": [b"</gifs/1>"],
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"] == "/gifs/1"
        scope["noted"] = True
        sent = [(name, value) for name, values in headers.items() for value in values]
        await send({"type": "http.response.start", "status": 200, "headers": sent})

    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "GET", "path": f"{ROOT}/gifs/1", "query_string": b""}
    asyncio.run(below(app, ROOT)(scope, app, send))

    # The access log, around it, finds what the application has noted
    assert scope["noted"] is True
    answered: dict[bytes, list[bytes]] = {}
    for name, value in messages[0]["headers"]:
        answered.setdefault(name, []).append(value)
    assert answered[b"location"] == [
        b"/team/gifs/gifs/1", b"//evil.example/", b"https://evil.example/", b"relative",
    ]  # fmt: skip
    assert answered[b"set-cookie"] == [
        b"a=1; Path=/team/gifs/; HttpOnly", b"b=2; Path=/team/gifs/x", b'c="; Path=/"', b"d=3",
    ]  # fmt: skip
    assert answered[b"link"] == headers[b"link"]


def test_a_mail_leads_below_the_path():
    public = Web(public_url="https://gifs.example.org", root_path=ROOT)

    assert mail_links.link(public, mail_links.RESET, "s") == (
        f"https://gifs.example.org{ROOT}/password/s"
    )
    assert mail_links.link(Web(root_path=ROOT), mail_links.RESET, "s") == (
        f"http://127.0.0.1:8000{ROOT}/password/s"
    )
