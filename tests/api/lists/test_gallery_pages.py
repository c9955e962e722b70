"""The gallery in pages: links to newer and older GIFs, and loading on scroll."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from gifster.api.pages.links import MOST_BACK, page_links
from tests import images
from tests.combinations import only_in_ci
from tests.machine import eventually
from tests.stack import Stack

WEB: dict[str, str] = {}
PAGES = 6


@pytest.fixture(scope="module")
def library(web: Stack) -> Stack:
    """GIFs on six pages, and no worker."""
    content = images.gif((16, 12), [50])
    for number in range(30 * (PAGES - 1) + 1):
        web.upload(content, title=f"Number {number}", tags="numbers")
    return web


@pytest.fixture
def page(chromium: Any, library: Stack) -> Iterator[Any]:
    context = chromium.new_context(base_url=str(library.client.base_url))
    yield context.new_page()
    context.close()


def link(text: str, rel: str) -> str | None:
    found = re.search(rf'rel="{rel}" href="([^"]*)"', text)
    return found and found[1].replace("&amp;", "&")


@pytest.mark.parametrize("path", ["/", "/?tag=numbers", "/?q=number"])
def test_one_can_go_forward_and_back_through_all_pages(library: Stack, path: str):
    shown, address = [], path
    while address:
        text = library.client.get(address).text
        shown.append((address, re.findall('data-gif="([^"]+)"', text)))
        address = link(text, "next")
    assert len(shown) == PAGES
    assert len({gif_id for _, ids in shown for gif_id in ids}) == 30 * (PAGES - 1) + 1

    # And back, each page as it was
    address = link(library.client.get(shown[-1][0]).text, "prev")
    for _, ids in reversed(shown[:-1]):
        text = library.client.get(address).text
        assert re.findall('data-gif="([^"]+)"', text) == ids
        address = link(text, "prev")
    assert address is None


def test_a_link_back_has_a_limited_length():
    cursor, way = "", ""
    for number in range(100):
        _, older = page_links({"q": ""}, cursor, way, f"{number:>040}")
        asked = dict(part.split("=") for part in older.split("&"))
        cursor, way = asked["cursor"], asked.get("way", "").replace("%7E", "~")

    assert len(older) < 41 * MOST_BACK + 60
    assert page_links({}, "b", "", None) == ("", None)
    assert page_links({"q": "a b"}, "c", "a~b", None) == ("q=a+b&cursor=b&way=a", None)


def test_scrolling_loads_a_few_pages_and_leaves_the_footer_in_reach(page: Any):
    page.goto("/")
    cards = page.locator("#gallery article")

    def all_there() -> bool:
        page.mouse.wheel(0, 20_000)
        return cards.count() == 120

    eventually(all_there)
    # Then the link is a link
    page.mouse.wheel(0, 20_000)
    page.locator("footer").scroll_into_view_if_needed()
    page.get_by_role("link", name="Older GIFs").click()
    page.get_by_role("link", name="Newer GIFs").wait_for()
    assert page.locator("#gallery article h3").first.inner_text() == "Number 30"


def test_the_back_button_returns_to_a_card_that_was_loaded_on_scroll(page: Any):
    page.goto("/")

    def third_page() -> bool:
        page.mouse.wheel(0, 20_000)
        return page.locator("#gallery article").count() >= 90

    eventually(third_page)
    title = "Number 70"  # 151 GIFs, newest first: on the third page

    page.get_by_role("link", name=title, exact=True).click()
    page.get_by_role("heading", name=title).wait_for()
    page.go_back()

    card = page.locator("#gallery article", has_text=title)
    card.wait_for()
    eventually(lambda: card.evaluate(
        """card => { const { top, bottom } = card.getBoundingClientRect();
                     return top >= 0 && bottom <= innerHeight; }"""
    ))  # fmt: skip
    assert page.evaluate("document.activeElement.textContent") == title
    assert page.get_by_role("link", name="Newer GIFs").count() == 1


def test_the_focus_stays_while_pages_are_loaded(page: Any):
    page.goto("/")
    first = page.locator("#gallery article h3 a").first
    first.focus()
    kept = first.inner_text()

    page.mouse.wheel(0, 20_000)
    eventually(lambda: page.locator("#gallery article").count() >= 60)

    assert page.evaluate("document.activeElement.textContent") == kept
    assert page.locator("#told").inner_text() == "30 more GIFs"


@only_in_ci("a browser; the gallery is scrolled daily")
def test_results_of_the_script_are_loaded_on_scroll_too(page: Any):
    # Given somebody who has scrolled, and searches
    page.goto("/")
    cards = page.locator("#gallery article")

    def more() -> bool:
        page.mouse.wheel(0, 20_000)
        return cards.count() >= 60

    eventually(more)
    page.locator("#q").fill("number")

    # I expect the first results in sight, the focus on the first one, and more of them on scroll
    page.get_by_role("heading", name="“number”").wait_for()
    eventually(lambda: page.evaluate("scrollY") == 0)
    page.keyboard.press("Enter")
    eventually(lambda: page.evaluate("document.activeElement.closest('h3') !== null"))
    eventually(more)

    # And again after the way back
    page.go_back()
    page.get_by_role("heading", name="Newest GIFs").wait_for(state="attached")
    eventually(more)
