"""Behind nginx with a bare `proxy_pass`, which replaces the Host, and below a path of its host:
what a browser does there, and which requests are refused."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import images, proxies
from tests.machine import eventually, free_port
from tests.stack import Stack

ROOT = "/team/gifs"
WEB: dict[str, str] = {}
PERSON = {"email": "ann@example.org", "password": "correct horse", "name": "Ann"}


@pytest.fixture
def bare(web: Stack, tmp_path: Any) -> Iterator[httpx.Client]:
    """A client of nginx in front of a Gifster without any setting."""
    port = free_port()
    with (
        proxies.bare_nginx(tmp_path, port, web.port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
    ):
        yield client


def test_a_browser_says_itself_that_a_form_is_of_the_same_site(bare: httpx.Client):
    # With TLS, and on this machine, browsers send Sec-Fetch-Site
    sent = {"Origin": "https://gifs.example.org", "Sec-Fetch-Site": "same-origin"}

    assert bare.post("/signup", data=PERSON, headers=sent).status_code == 303
    foreign = sent | {"Sec-Fetch-Site": "cross-site"}
    assert bare.post("/signup", data=PERSON, headers=foreign).status_code == 403


def test_without_tls_the_answer_says_what_to_set(bare: httpx.Client):
    page = bare.post(
        "/signup", data=PERSON, headers={"Origin": "http://gifs.lan", "Accept": "text/html"}
    )

    assert page.status_code == 403
    assert "GIFSTER_WEB__PUBLIC_URL=http://gifs.lan" in page.text


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
