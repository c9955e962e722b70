"""Absolute addresses: which scheme and host the URLs of an answer have, and that no stranger
chooses them."""

from collections.abc import Iterator

import httpx
import pytest
from falcon.asgi import Request
from falcon.testing import create_scope

from gifster.api.links import absolute, origin
from gifster.app.settings import Web
from tests import images
from tests.machine import free_port
from tests.stack import Stack

#: What a newcomer has: no public address is set.
WEB: dict[str, str] = {}
PUBLIC = "https://gifs.example.org"


def request(host: str | None, *headers: tuple[str, str], peer: str = "192.0.2.9") -> Request:
    scope = create_scope(headers=[*headers], host=host or "x", http_version="1.1", scheme="http")
    if host is None:
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return Request(scope | {"client": (peer, 40_000), "server": ("::1", 8000)}, None)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("localhost:80", "http://localhost"),
        ("LocalHost.", "http://localhost"),
        ("[::1]:8000", "http://[::1]:8000"),
        (None, "http://[::1]:8000"),  # HTTP/1.0
    ],
)
def test_without_a_public_address_it_is_the_one_that_the_client_used(
    host: str | None, expected: str
):
    assert origin(request(host), Web()) == expected


def test_the_public_address_wins():
    web = Web(public_url=PUBLIC)

    assert origin(request("10.0.0.3:8000"), web) == PUBLIC


def test_only_a_trusted_proxy_says_the_scheme_and_nobody_says_another_host():
    said = ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example")
    web = Web(trusted_proxies=["10.0.0.0/8"])

    assert origin(request("gifs", *said, peer="10.0.0.1"), web) == "https://gifs"
    assert origin(request("gifs", *said), web) == "http://gifs"


def test_addresses_of_buckets_stay():
    assert absolute(PUBLIC, "/media/a.gif") == f"{PUBLIC}/media/a.gif"
    assert absolute(PUBLIC, "http://cdn.example/a.gif") == "http://cdn.example/a.gif"
    assert absolute(PUBLIC, "//cdn.example/a.gif") == "https://cdn.example/a.gif"
    assert absolute("", "/media/a.gif") == "/media/a.gif"


@pytest.fixture(scope="module")
def public(stack: Stack) -> Iterator[httpx.Client]:
    """A second server over the same library, which knows its public address."""
    port = free_port()
    other = Stack(stack.folder, stack.environment["GIFSTER_BROKER__URL"])
    other.environment |= {"GIFSTER_WEB__PORT": str(port), "GIFSTER_WEB__PUBLIC_URL": PUBLIC}
    other.client.base_url = f"http://127.0.0.1:{port}"
    other.start_web()
    yield other.client
    other.stop()


def test_every_url_in_json_is_absolute(stack: Stack, public: httpx.Client):
    gif_id = stack.upload(images.gif((300, 200), [60, 60])).json()["id"]
    stack.finished(gif_id)
    image = {"image": ("b.gif", images.gif((30, 20)), "image/gif")}
    for client, start in (stack.client, f"http://127.0.0.1:{stack.port}"), (public, PUBLIC):
        now = stack.finished(gif_id)["image"]["url"]
        assert stack.client.get(now).status_code == 200
        answers = [
            client.get(f"/api/gifs/{gif_id}").json(),
            client.patch(f"/api/gifs/{gif_id}", json={"title": "Other"}).json(),
            client.put(f"/api/gifs/{gif_id}/image", files=image).json(),
            *client.get("/api/gifs").json()["items"],
        ]

        for gif in answers:
            for file in gif["image"], *gif["versions"].values():
                assert file["url"].startswith(f"{start}/media/gifs/{gif_id}/"), file


def test_what_chats_and_readers_get_begins_with_the_public_address(
    stack: Stack, public: httpx.Client
):
    gif_id = stack.upload(images.gif()).json()["id"]
    stack.finished(gif_id)
    page = public.get(f"/gifs/{gif_id}").text
    assert f'property="og:image" content="{PUBLIC}/g/{gif_id}/' in page
    assert f'<html lang="en" data-origin="{PUBLIC}">' in page  # where the menu finds it

    asked = {"url": f"{PUBLIC}/gifs/{gif_id}"}
    answer = public.get("/oembed", params=asked)
    assert answer.json()["provider_url"] == PUBLIC
    # The answer is the same for all, so a proxy may keep it
    assert answer.headers["cache-control"] == "public, max-age=300"
    feed = public.get("/feed.atom")
    assert f'rel="self" type="application/atom+xml" href="{PUBLIC}/feed.atom"' in feed.text
    assert feed.headers["cache-control"] == "no-cache"


def test_a_page_names_no_host(stack: Stack, public: httpx.Client):
    """So it works at every address of the library, also at one that only this network knows."""
    gif_id = stack.upload(images.gif()).json()["id"]
    stack.finished(gif_id)
    for path in "/", f"/gifs/{gif_id}":
        page = public.get(path).text
        assert f'src="/media/gifs/{gif_id}/' in page
        assert f"{PUBLIC}/media" not in page.partition("<body>")[2]


def test_a_forged_host_gets_no_address(stack: Stack, public: httpx.Client):
    for client in stack.client, public:
        answer = client.get("/api/gifs", headers={"Host": "evil.example"})

        assert answer.status_code == 421
    answer = stack.client.get("/api/gifs", headers={"X-Forwarded-Host": "evil.example"})
    assert "evil.example" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
