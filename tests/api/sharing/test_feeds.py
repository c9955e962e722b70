"""Feeds: valid Atom, of what everybody may see, and nothing sent twice."""

import re
from datetime import datetime
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests import images
from tests.api.sharing.conftest import Make
from tests.api.sharing.page_heads import Head
from tests.stack import Stack

ATOM = "{http://www.w3.org/2005/Atom}"


def feed(stack: Stack, **asked: str) -> ET.Element:
    answer = stack.client.get("/feed.atom", params=asked)
    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    return ET.fromstring(answer.content)


def entry_of(found: ET.Element, title: str) -> ET.Element:
    [entry] = [one for one in found.iter(f"{ATOM}entry") if text(one, "title") == title]
    return entry


def text(element: ET.Element, name: str) -> str:
    """The text of the one child of that name."""
    [child] = element.findall(ATOM + name)
    return child.text or ""


def links(element: ET.Element) -> dict[str, ET.Element]:
    return {link.attrib["rel"]: link for link in element.findall(f"{ATOM}link")}


def test_a_feed_is_valid_atom(stack: Stack, moving: dict[str, Any]):
    """RFC 4287, 4.1.1 and 4.1.2: what a feed and each of its entries have exactly once."""
    found = feed(stack)
    base = f"http://127.0.0.1:{stack.port}"
    for element in [found, *found.iter(f"{ATOM}entry")]:
        assert re.match(r"urn:uuid:|http://", text(element, "id"))
        assert text(element, "title")
        moment = text(element, "updated")
        assert datetime.fromisoformat(moment).tzinfo is not None
        assert element.find(f"{ATOM}author/{ATOM}name") is not None
    assert text(found, "updated") == max(text(one, "updated") for one in found.iter(f"{ATOM}entry"))
    assert links(found)["self"].attrib["href"] == f"{base}/feed.atom" == text(found, "id")

    entry = entry_of(found, "My <b>cat</b> & dog")
    assert entry.findtext(f"{ATOM}author/{ATOM}name") == "Ann"
    assert [one.attrib["term"] for one in entry.findall(f"{ATOM}category")] == ["cats", "monday"]
    assert links(entry)["alternate"].attrib["href"] == f"{base}/gifs/{moving['id']}"
    enclosure = links(entry)["enclosure"].attrib
    assert enclosure["type"] == "image/gif"
    assert enclosure["length"] == str(len(httpx.get(enclosure["href"]).content))
    [content] = entry.findall(f"{ATOM}content")
    assert content.attrib == {"type": "html"}
    [picture] = re.findall(r'<img src="([^"]+)" width="300"', content.text or "")
    assert httpx.get(picture).headers["content-type"] == "image/gif"
    assert 'alt="A cat jumps"' in (content.text or "")


def test_feeds_of_a_tag_and_of_a_user(stack: Stack, make: Make, moving: dict[str, Any]):
    dog = make(title="Dog", tags="dogs & co")
    user = dog["user"]["id"]
    stack.upload(images.gif(), title="Nobody's")
    assert titles(feed(stack, tag="dogs & co")) == ["Dog"]
    assert titles(feed(stack, tag="nothing")) == []
    assert set(titles(feed(stack, user=user))) >= {"Dog", "My <b>cat</b> & dog"}
    assert "Nobody's" not in titles(feed(stack, user=user))
    assert text(feed(stack, user=user), "title") == "GIFs by Ann on Gifster"
    own = links(feed(stack, tag="dogs & co"))["self"].attrib["href"]
    assert titles(ET.fromstring(httpx.get(own).content)) == ["Dog"]
    assert stack.client.get("/feed.atom?user=nobody").status_code == 404

    # And pages lead to them
    for path, expected in (
        ("/", "/feed.atom"),
        ("/?tag=dogs+%26+co", "/feed.atom?tag=dogs+%26+co"),
        (f"/?user={user}", f"/feed.atom?user={user}"),
        (f"/gifs/{dog['id']}", f"/feed.atom?user={user}"),
    ):
        head = Head(stack.client.get(path).text)
        assert head.link(rel="alternate", type="application/atom+xml") == expected

    # And they lead to pages that show the same
    page = httpx.get(links(feed(stack, user=user))["alternate"].attrib["href"]).text
    assert "<bdi>GIFs by Ann</bdi>" in page
    assert "Dog" in page
    assert "Nobody" not in page
    assert stack.client.get("/?user=123456789abc").status_code == 404


def titles(found: ET.Element) -> list[str]:
    return [text(entry, "title") for entry in found.iter(f"{ATOM}entry")]


@pytest.mark.parametrize("visibility", ["private", "unlisted"])
def test_a_feed_has_only_what_is_listed(stack: Stack, make: Make, visibility: str):
    make(title="Hidden", visibility=visibility)

    assert "Hidden" not in titles(feed(stack))


def test_a_reader_gets_nothing_twice(stack: Stack, make: Make):
    first = stack.client.get("/feed.atom?tag=again")
    etag = {"If-None-Match": first.headers["etag"]}

    again = stack.client.get("/feed.atom?tag=again", headers=etag)
    assert (again.status_code, again.content) == (304, b"")

    make(title="Again", tags="again")
    assert titles(
        ET.fromstring(stack.client.get("/feed.atom?tag=again", headers=etag).content)
    ) == ["Again"]
    # Without a public address, what a reader gets depends on the Host that it asks for
    assert first.headers["cache-control"] == "private, no-cache"
