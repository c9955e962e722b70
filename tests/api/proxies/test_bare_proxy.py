"""Behind nginx with a bare `proxy_pass`, which replaces the Host, and below a path of its host:
what a browser does there, and which requests are refused."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from gifster.api.assets import STATIC_FOLDER
from tests import images, proxies
from tests.combinations import only_in_ci
from tests.machine import eventually, free_port
from tests.stack import Stack

ROOT = "/team/gifs"
WEB: dict[str, str] = {}
PERSON = {"email": "ann@example.org", "password": "correct horse", "name": "Ann"}


#: More than nginx takes in one request.
LARGE = images.noisy_gif((300, 300), 14)
#: The name of the library; no stranger decides where it leads.
SITE = "http://gifs.lan"
#: A page of a stranger, whose name leads to the proxy by now (DNS rebinding).
REBOUND = "http://evil.example"
TOKEN = re.compile(
    r"""<form[^>]* action="([^"]+)" method="post"[^>]*>"""
    r"""<input type="hidden" name="form_token" value="([^"]+)">"""
)


class Browser:
    """A browser without scripts in front of a bare nginx, as far as forms matter: what it says of
    where a form comes from, its cookies, and the tokens of the forms that it has seen.

    Parameters:
      port: nginx's.
      origin: the address at which it believes to be.
    """

    def __init__(self, port: int, origin: str = SITE) -> None:
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}")
        self.origin = origin

    def tokens(self, path: str) -> dict[str, str]:
        """The tokens of a page's forms, by the paths that they go to."""
        page = self.client.get(path, headers={"Accept": "text/html"})
        assert page.headers["cache-control"] == "no-store"
        assert page.text.count('method="post"') == len(TOKEN.findall(page.text))
        return dict(TOKEN.findall(page.text))

    def send(self, path: str, token: str = "", **fields: str) -> httpx.Response:
        body = {"form_token": token, **fields} if token else fields
        return self.client.post(path, data=body, headers={"Origin": self.origin})

    def submit(self, page: str, path: str, **fields: str) -> httpx.Response:
        return self.send(path, self.tokens(page)[path], **fields)

    def upload(self, token: str) -> httpx.Response:
        files = {"form_token": (None, token), "image": ("a.gif", images.gif(), "image/gif")}
        return self.client.post("/gifs", files=files, headers={"Origin": self.origin})

    def sign_up(self, name: str) -> httpx.Response:
        person = {"email": f"{name}@example.org", "password": "correct horse", "name": name}
        return self.submit("/signup", "/signup", **person)


@pytest.fixture
def port(web: Stack, tmp_path: Any) -> Iterator[int]:
    """The port of nginx in front of a Gifster without any setting."""
    found = free_port()
    with proxies.bare_nginx(tmp_path, found, web.port):
        yield found


def test_a_browser_says_itself_that_a_form_is_of_the_same_site(port: int):
    # With TLS, and on this machine, browsers send Sec-Fetch-Site
    browser = Browser(port, "https://gifs.example.org")
    browser.client.headers["Sec-Fetch-Site"] = "same-origin"

    # I expect no token, and no cookie for one
    page = browser.client.get("/signup")
    assert "form_token" not in page.text + page.headers.get("set-cookie", "")
    assert browser.send("/signup", **PERSON).status_code == 303
    browser.client.headers["Sec-Fetch-Site"] = "cross-site"
    assert browser.send("/signup", **PERSON).status_code == 403


def test_forms_work_without_tls_and_without_a_setting(port: int):
    # Given a browser that says only that its page is of http://gifs.lan
    browser = Browser(port)

    # I expect it to upload without an account, to sign up, to upload, to edit, and to log out
    assert browser.upload(browser.tokens("/")["/gifs"]).status_code == 303
    assert browser.sign_up("bea").status_code == 303
    added = browser.upload(browser.tokens("/")["/gifs"]).headers["location"]
    details = {"title": "Bea", "rating": "g", "visibility": "public"}
    assert browser.submit(added, f"{added}/details", **details).status_code == 303
    assert "Bea</h1>" in browser.client.get(added).text
    assert browser.submit("/account", "/account/name", name="Beatrice").status_code == 303
    assert browser.submit("/", "/logout").status_code == 303
    person = {"email": "bea@example.org", "password": "correct horse"}
    assert browser.submit("/login", "/login", **person).status_code == 303


def test_a_form_needs_the_token_of_its_own_session(port: int):
    # Given the tokens of a browser before its log-in, of a session, and of a session that ended
    browser, other = Browser(port), Browser(port)
    before = browser.tokens("/")["/gifs"]
    browser.sign_up("cat")
    ended = browser.tokens("/")["/logout"]
    cookies = dict(browser.client.cookies)
    assert browser.send("/logout", ended).status_code == 303
    browser.submit("/login", "/login", email="cat@example.org", password="correct horse")
    other.sign_up("dan")

    # I expect that none of them counts now, nor that of somebody else, nor half of the right one
    own = browser.tokens("/")["/logout"]
    for token in (before, ended, other.tokens("/")["/logout"], own[:20], "é", ""):
        for answer in (browser.send("/account/name", token, name="Eve"), browser.upload(token)):
            assert answer.status_code == 403, token
            assert answer.json()["code"] == "cross_site"
    assert browser.send("/account/name", own, name="Cathy").status_code == 303
    # A session that has ended lets in nobody, whatever token comes with it
    browser.client.cookies = httpx.Cookies(cookies)
    assert browser.send("/account/name", ended, name="Eve").status_code == 401


def test_a_page_whose_name_leads_to_the_proxy_acts_for_nobody(port: int, web: Stack):
    # Given a page of a stranger, which is of the same origin for its browser and reads tokens
    rebound = Browser(port, REBOUND)
    token = rebound.tokens("/login")["/login"]

    # I expect that it neither uploads nor signs up, and that the answer names the setting
    gif_id = web.upload(images.gif()).json()["id"]
    for answer in (
        rebound.upload(token),
        rebound.send("/signup", token, **PERSON),
        rebound.send("/forgot", token, email=PERSON["email"]),
        rebound.send(f"/gifs/{gif_id}/report", token, reason="spam"),
        rebound.client.delete(
            f"/api/gifs/{gif_id}", headers={"Origin": REBOUND, "X-Form-Token": token}
        ),
        rebound.client.post("/api/uploads", headers={"Origin": REBOUND, "X-Form-Token": token}),
    ):
        assert answer.status_code == 403
        assert f"GIFSTER_WEB__PUBLIC_URL={REBOUND}" in answer.json()["detail"]

    # Somebody who has a password may log in there, and then send forms
    rebound.submit("/login", "/login", **PERSON)
    Browser(port).sign_up("fay")
    person = {"email": "fay@example.org", "password": "correct horse"}
    assert rebound.submit("/login", "/login", **person).status_code == 303
    assert rebound.upload(rebound.tokens("/")["/gifs"]).status_code == 303


def test_a_session_that_the_proxy_tells_is_no_proof(web: Stack, tmp_path: Any):
    # Given a proxy that says who somebody is, under whatever name they come
    site = Stack(web.folder, web.environment["GIFSTER_BROKER__URL"])
    site.environment |= {
        "GIFSTER_WEB__PORT": str(site.port),
        "GIFSTER_AUTH__PROXY_HEADER": "X-Remote-User",
        "GIFSTER_AUTH__PROXY_ADDRESSES": '["127.0.0.1"]',
    }
    site.start_web()
    found = free_port()
    try:
        with proxies.bare_nginx(tmp_path, found, site.port):
            for origin, status in ((SITE, 303), (REBOUND, 403)):
                browser = Browser(found, origin)
                browser.client.headers["X-Remote-User"] = "gus@example.org"
                assert browser.upload(browser.tokens("/")["/gifs"]).status_code == status
    finally:
        site.stop()


def test_without_a_token_the_answer_says_what_to_set(port: int):
    browser = Browser(port)

    page = browser.client.post(
        "/signup", data=PERSON, headers={"Origin": SITE, "Accept": "text/html"}
    )

    assert page.status_code == 403
    assert f"GIFSTER_WEB__PUBLIC_URL={SITE}" in page.text
    # It comes without the cookie. A new one would make the forms of open pages stale
    assert "set-cookie" not in page.headers


def test_a_body_that_comes_in_pieces_has_its_token(port: int):
    # Given a form of which each byte comes by itself
    browser = Browser(port)
    token = browser.tokens("/signup")["/signup"]
    body = urlencode({"form_token": token, **PERSON, "email": "hal@example.org"}).encode()

    def pieces() -> Iterator[bytes]:
        yield from (body[at : at + 1] for at in range(len(body)))

    # I expect it to be read whole
    headers = {"Origin": SITE, "Content-Type": "application/x-www-form-urlencoded"}
    assert browser.client.post("/signup", content=pieces(), headers=headers).status_code == 303


@only_in_ci("many uploads by the page; the next test uploads one daily")
def test_scripts_work_without_tls_and_without_a_setting(stack: Stack, tmp_path: Any, chromium: Any):
    # Given a browser at http://gifs.lan, whose nginx replaces the Host, and no setting
    found, errors, asked = free_port(), [], []
    with proxies.bare_nginx(tmp_path, found, stack.port):
        context = chromium.new_context(proxy={"server": f"http://127.0.0.1:{found}"}, base_url=SITE)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("response", lambda got: asked.append((got.request.method, got.url, got.status)))
        told: list[str] = []
        page.on("request", lambda sent: told.append(sent.headers.get("upload-metadata", "")))

        # When somebody signs up, and uploads in one request and in several
        page.goto("/signup")
        for name, value in (PERSON | {"email": "scripts@example.org"}).items():
            page.fill(f"form.account [name={name}]", value)
        page.click("form.account button")
        page.wait_for_url(f"{SITE}/")
        for title, content in (("Small", images.gif()), ("Large", LARGE)):
            page.goto("/")
            page.click("#add summary")
            file = {"name": "a.gif", "mimeType": "image/gif", "buffer": content}
            page.set_input_files("#image", file)
            page.fill("#upload [name=title]", title)
            page.click("#upload button:has-text('Upload')")
            page.wait_for_selector(f"article.card[data-state=ready]:has-text('{title}')")

        # And marks a GIF, edits it, and shares it
        page.click("article.card h3 a:has-text('Large')")
        page.click("form[action$='/favourite'] button")
        page.wait_for_selector("form[action$='/unfavourite']")
        page.click("#details summary")
        page.fill("[data-details] [name=title]", "Larger")
        page.click("[data-details] button:has-text('Save')")
        page.wait_for_selector("h1:has-text('Larger')")
        page.click("[data-share]")
        counted = lambda got: (got.request.method, got.url[-6:]) == ("POST", "/share")  # noqa: E731
        with page.expect_response(counted):
            page.click("dialog.share-menu .of-picture")

        # I expect that nothing was refused but what nginx takes for too large, at once
        refused = [
            (how, url.removeprefix(SITE), status) for how, url, status in asked if status >= 400
        ]
        assert (errors, refused) == ([], [("POST", "/api/gifs", 413)])
        assert [how for how, url, _ in asked if "/api/uploads/" in url].count("PATCH") == 4
        # And that no token is kept with the upload, as another session has another one
        kept = [text for text in told if text]
        assert kept
        assert not any("form_token" in text for text in kept)
        context.close()


def test_each_request_of_a_script_that_changes_something_has_the_token():
    scripts = [path.read_text() for path in STATIC_FOLDER.glob("*.js")]
    calls = [line for text in scripts for line in text.splitlines() if 'method: "' in line]
    made = [text for text in scripts if "XMLHttpRequest()" in text]

    assert calls
    assert made
    # By `proof` or `jsonHeaders` of root.js; a form that is sent as it is has it in a field
    assert all("headers" in line for line in calls), calls
    assert all("proof" in text for text in made)
    users = [text for text in scripts if 'method: "' in text]
    assert all("jsonHeaders" in text or "proof" in text for text in users)


@pytest.fixture(scope="module")
def below(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory, chromium: Any
) -> Iterator[tuple[Any, Stack]]:
    """A browser at http://gifs.lan/team/gifs/: a name without TLS, by a bare proxy, and a path. The
    library is that of `stack`, whose worker makes the pictures."""
    port, site = free_port(), Stack(stack.folder, stack.environment["GIFSTER_BROKER__URL"])
    site.environment |= {
        "GIFSTER_WEB__PORT": str(site.port),
        "GIFSTER_WEB__ROOT_PATH": ROOT,
        "GIFSTER_WEB__PUBLIC_URL": "http://gifs.lan",
    }
    site.start_web()
    with proxies.bare_nginx(tmp_path_factory.mktemp("nginx"), port, site.port, ROOT):
        # As its proxy, nginx gets the requests for all hosts.
        context = chromium.new_context(
            proxy={"server": f"http://127.0.0.1:{port}"}, base_url="http://gifs.lan"
        )
        yield context, site
        context.close()
    site.stop()


def test_a_browser_signs_up_uploads_and_finds_a_gif(below: tuple[Any, Stack]):
    context, _ = below
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{ROOT}/signup")
    for name, value in PERSON.items():
        page.fill(f"form.account [name={name}]", value)
    page.click("form.account button")
    page.wait_for_url(f"http://gifs.lan{ROOT}/")
    cookies = {cookie["name"]: cookie["path"] for cookie in context.cookies()}
    assert cookies == {"gifster_session": f"{ROOT}/", "gifster_device": f"{ROOT}/login"}

    # An upload by the script of the page, whose card becomes a picture
    page.click("#add summary")
    gif = {"name": "needle.gif", "mimeType": "image/gif", "buffer": images.gif((60, 40), [60] * 3)}
    page.set_input_files("#image", gif)
    page.fill("#upload [name=title]", "Needle")
    page.click("#upload button:has-text('Upload')")
    page.wait_for_selector("article.card[data-state=ready] img")

    # Searches while one types, and the page of what was found
    page.fill("input[type=search]", "needle")
    page.wait_for_url(f"http://gifs.lan{ROOT}/?q=needle")
    page.click("article.card h3 a")
    page.wait_for_selector("h1:has-text('Needle')")
    page.click("[data-share]")
    page.wait_for_selector("dialog.share-menu[open]")

    outside = [url for url in asked if not url.startswith((f"http://gifs.lan{ROOT}/", "data:"))]
    assert (outside, errors) == ([], [])


def test_links_that_leave_the_library_lead_back_through_the_proxy(below: tuple[Any, Stack]):
    _, site = below
    sent = {"image": ("a.gif", images.gif((60, 40), [60] * 3), "image/gif")}
    gif_id = site.client.post(f"{ROOT}/api/gifs", files=sent).json()["id"]
    gif = f"{ROOT}/api/gifs/{gif_id}"
    eventually(lambda: site.client.get(gif).json()["state"] == "ready")

    page = site.client.get(f"{ROOT}/gifs/{gif_id}").text

    assert f'<meta property="og:image" content="http://gifs.lan{ROOT}/g/{gif_id}' in page


def test_sample_gifs_go_below_the_path(below: tuple[Any, Stack]):
    _, site = below

    told = site.run("gifster", "demo", "--count", "1")

    assert told.returncode == 0, told.stderr
    assert f"see http://127.0.0.1:{site.port}{ROOT}/" in told.stdout
