"""What chats show of a link to a GIF: each test reads the page as one of them does."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests import images
from tests.api.sharing.conftest import Make
from tests.api.sharing.page_heads import Head
from tests.machine import eventually
from tests.stack import Stack

#: Slack reads no more of a page (bytes).
SLACK_READS = 32_768


def head_of(stack: Stack, gif_id: str) -> Head:
    """The head of a page, as chats get it from the short link."""
    answer = stack.client.get(f"/g/{gif_id}", follow_redirects=True)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    return Head(answer.content[:SLACK_READS].decode())


def fetched(stack: Stack, url: str) -> httpx.Response:
    """What a chat gets from an address, which has to have a host."""
    assert url.startswith(f"http://127.0.0.1:{stack.port}/")
    answer = httpx.get(url)
    assert answer.status_code == 200
    return answer


def moves(content: bytes) -> bool:
    return content[:6] == b"GIF89a" and len(images.timing(content)[0]) > 1


def test_mattermost_and_open_graph(stack: Stack, moving: dict[str, Any]):
    """go-opengraph (github.com/dyatlov/go-opengraph) reads `property` alone; a type or a size
    belongs to the image before it. Mattermost shows a large image if it is wide enough."""
    og: dict[str, str] = {}
    pictures: list[dict[str, str]] = []
    for meta in head_of(stack, moving["id"]).metas:
        name, content = meta.get("property", ""), meta.get("content", "")
        if name == "og:image":
            pictures.append({"url": content})
        elif name.startswith("og:image:"):
            pictures[-1][name.removeprefix("og:image:")] = content
        elif name:
            og[name] = content

    [picture] = pictures
    assert og["og:title"] == "My <b>cat</b> & dog"
    assert og["og:site_name"] == "Gifster"
    assert og["og:description"] == "A cat jumps"
    assert og["og:url"] == f"http://127.0.0.1:{stack.port}/gifs/{moving['id']}"
    content = fetched(stack, picture["url"]).content
    assert moves(content)
    assert images.size(content) == (int(picture["width"]), int(picture["height"])) == (300, 200)
    assert (picture["type"], picture["alt"]) == ("image/gif", "A cat jumps")


def test_discord(stack: Stack, moving: dict[str, Any]):
    """docs.discord.com/developers/link-previews: the key is `name`, else `property`; the first
    title counts, and the last layout. A film would be a player to click on."""
    keys = [
        (meta.get("name") or meta.get("property", ""), meta.get("content", ""))
        for meta in head_of(stack, moving["id"]).metas
    ]
    layout = dict(keys)

    assert layout["twitter:card"] == "summary_large_image"
    assert not layout["og:type"].startswith(("video", "rich"))
    urls = {value for key, value in keys if key in ("og:image", "twitter:image")}
    assert len(urls) == 1  # two would be a gallery
    assert moves(fetched(stack, urls.pop()).content)
    assert all(len(value) < 2048 for _, value in keys)


def test_slack(stack: Stack, moving: dict[str, Any]):
    """It asks for oEmbed first, and takes the picture from it."""
    link = head_of(stack, moving["id"]).link(rel="alternate", type="application/json+oembed")

    answer = fetched(stack, link).json()

    assert moves(fetched(stack, answer["thumbnail_url"]).content)
    assert answer["title"] == "My <b>cat</b> & dog"


def test_matrix(stack: Stack, moving: dict[str, Any]):
    """Synapse (synapse/media/preview_html.py) overwrites what oEmbed says by Open Graph, and takes
    Twitter's values where that has none. Values of more than 1,000 characters are dropped."""
    head = head_of(stack, moving["id"])
    oembed = fetched(stack, head.link(type="application/json+oembed", rel="alternate")).json()
    og = {"og:title": oembed["title"], "og:image": oembed["thumbnail_url"]}
    for meta in head.metas:
        if meta.get("name", "").startswith("twitter:"):
            og["og" + meta["name"].removeprefix("twitter")] = meta["content"]
    og |= {
        meta["property"]: meta["content"]
        for meta in head.metas
        if meta.get("property", "").startswith("og:")
    }

    assert moves(fetched(stack, og["og:image"]).content)
    assert og["og:description"] == "A cat jumps"
    assert all(len(value) < 1000 for value in og.values())


def test_mastodon(stack: Stack, moving: dict[str, Any]):
    """It makes a still of every picture (app/services/fetch_oembed_service.rb, lib/sanitize_ext):
    only a frame moves. It keeps the address of the answer as a pattern, in which it looks for an
    encoded address."""
    link = head_of(stack, moving["id"]).link(type="application/json+oembed")
    assert re.search(r"=http(%3A|:)(//|%2F%2F)[^&]*", link)
    card = fetched(stack, link).json()

    assert (card["version"], card["type"]) == ("1.0", "video")
    [frame] = re.findall(r'^<iframe src="([^"]+)" width="300" height="200"', card["html"])
    assert "My &lt;" not in frame
    page = fetched(stack, frame)
    assert moves(httpx.get(f"http://127.0.0.1:{stack.port}{picture_in(page.text)}").content)


def picture_in(page: str) -> str:
    return re.findall(r'<img src="([^"]+)"', page)[0]


def test_a_still_is_a_photo(stack: Stack, make: Make):
    still = make(images.still("JPEG", (900, 600)), "a.jpg", title="Still")

    answer = stack.client.get("/oembed", params={"url": page(stack, still)}).json()

    assert (answer["type"], answer["width"], answer["height"]) == ("photo", 480, 320)
    assert images.size(fetched(stack, answer["url"]).content) == (480, 320)
    assert "og:video" not in [meta.get("property") for meta in head_of(stack, still["id"]).metas]


def page(stack: Stack, gif: dict[str, Any], path: str = "gifs") -> str:
    return f"http://127.0.0.1:{stack.port}/{path}/{gif['id']}"


def test_every_address_of_a_gif_has_an_oembed_answer(stack: Stack, moving: dict[str, Any]):
    for path in "gifs", "g", "embed":
        url = page(stack, moving, path)
        for asked in url, f"{url}?a=b#c", f"{url.replace('127.0.0.1', 'LOCALHOST')}":
            answer = stack.client.get("/oembed", params={"url": asked})

            assert answer.json()["author_name"] == "Ann"
    file = {"url": f"{page(stack, moving, 'g')}.gif"}
    assert stack.client.get("/oembed", params=file).status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    # Without a public address the answer depends on who asks, so no proxy may keep it
    assert answer.headers["cache-control"] == "private, max-age=300"


@pytest.mark.parametrize(
    ("url", "more", "status"),
    [
        ("", {}, 400),
        ("http://evil.example/gifs/ID", {}, 404),
        ("http://127.0.0.1/", {}, 404),
        ("http://127.0.0.1/gifs/bptnyvtZ6xqU", {}, 404),
        ("ftp://127.0.0.1/gifs/ID", {}, 404),
        ("http://[::1/gifs/ID", {}, 404),
        ("http://me@127.0.0.1/gifs/ID", {}, 404),
        ("http://127.0.0.1/gifs/ID", {"format": "yaml"}, 501),
        ("http://127.0.0.1/gifs/ID", {"maxwidth": "-1", "maxheight": "many"}, 200),
        ("http://127.0.0.1/gifs/ID", {"maxwidth": "9" * 5000, "maxheight": "00"}, 200),
    ],
)
def test_what_oembed_refuses(
    stack: Stack, moving: dict[str, Any], url: str, more: dict[str, str], status: int
):
    asked = {"url": url.replace("ID", moving["id"]), **more}

    answer = stack.client.get("/oembed", params=asked, headers={"Origin": "https://chat.example"})

    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == "*"  # the page learns why, too


def test_oembed_in_xml_and_in_a_box(stack: Stack, moving: dict[str, Any]):
    asked = {"url": page(stack, moving), "format": "xml", "maxwidth": "150", "maxheight": "90"}

    answer = stack.client.get("/oembed", params=asked)

    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    found = {element.tag: element.text or "" for element in ET.fromstring(answer.content)}
    assert found["title"] == "My <b>cat</b> & dog"
    assert (int(found["width"]), int(found["height"])) == (135, 90)
    assert (int(found["thumbnail_width"]), int(found["thumbnail_height"])) == (135, 90)


def test_nothing_is_told_of_a_private_gif(stack: Stack, make: Make, ann: dict[str, str]):
    secret = make(visibility="private", title="Secret")
    url = page(stack, secret)

    for path in f"/gifs/{secret['id']}", f"/embed/{secret['id']}", f"/oembed?url={url}":
        answer = stack.client.get(path)
        assert answer.status_code == 404
        assert "Secret" not in answer.text
    # … and its own owner's page tells no chat anything; nobody may put that page into a frame
    mine = stack.client.get(f"/gifs/{secret['id']}", headers=ann).text
    assert "og:image" not in mine
    assert '<meta name="robots" content="noindex">' in mine
    assert stack.client.get(f"/embed/{secret['id']}", headers=ann).status_code == 404


def test_an_unlisted_gif_has_a_preview_and_is_not_indexed(stack: Stack, make: Make):
    metas = head_of(stack, make(visibility="unlisted")["id"]).metas

    assert {"name": "robots", "content": "noindex"} in metas
    assert any(meta.get("property") == "og:image" for meta in metas)


def test_only_the_embedded_page_may_be_framed(stack: Stack, moving: dict[str, Any]):
    answer = stack.client.get(f"/embed/{moving['id']}")

    policy = answer.headers["content-security-policy"]
    assert policy.endswith("frame-ancestors *")
    assert "default-src 'none'" in policy
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "<script" not in answer.text
    # Of a GIF that is gone, too: a browser would show that the library refuses to answer
    gone = stack.client.get(f"/embed/{'x' * 12}")
    assert (gone.status_code, gone.headers["content-security-policy"]) == (404, policy)
    assert "There is no GIF here any more." in gone.text
    for path in f"/gifs/{moving['id']}", "/", "/login":
        other = stack.client.get(path).headers["content-security-policy"]
        assert other.endswith("frame-ancestors 'none'")


@contextmanager
def blog(frame: str) -> Iterator[str]:
    """The address of another site, whose page has a frame."""

    class Blog(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f'<!doctype html><link rel="icon" href="data:,">{frame}'.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Blog) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(
    ("motion", "versions"), [("reduce", ["poster"]), ("no-preference", ["webp", "preview"])]
)
def test_a_frame_in_another_sites_page(
    stack: Stack, moving: dict[str, Any], chromium: Any, motion: str, versions: list[str]
):
    context = chromium.new_context(reduced_motion=motion)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("console", lambda said: errors.append(said.text))
    # Given a blog in WordPress, which gives frames an origin of their own
    frame = f'<iframe sandbox="allow-scripts" src="{page(stack, moving, "embed")}" width="300"'
    with blog(f'{frame} height="200" style="border: 0"></iframe>') as address:
        opened.goto(address)

        # I expect the picture in its size, and a still for those who want less motion
        picture = opened.frame_locator("iframe").get_by_role("img", name="A cat jumps")
        picture.wait_for()
        box = picture.bounding_box()
        assert (box["width"], box["height"]) == (300, 200)
        files = (moving["versions"][name] for name in versions)
        smallest = min(files, key=lambda file: file["bytes"])
        assert opened.frames[1].evaluate("document.images[0].currentSrc") == smallest["url"]
        eventually(lambda: opened.frames[1].evaluate("document.images[0].naturalWidth") == 300)
        assert errors == []
    context.close()
