"""The page of a GIF in a real Chromium: its details are edited in place, nothing that was typed is
lost, and a delete can be undone."""

from collections.abc import Callable
from typing import Any

import pytest

from tests import images
from tests.stack import Stack


@pytest.fixture(scope="module")
def gif_id(stack: Stack) -> str:
    done = stack.finished(stack.upload(images.gif((60, 40)), title="Old title").json()["id"])
    return str(done["id"])


def test_details_are_saved_without_leaving_the_page(chromium: Any, stack: Stack, gif_id: str):
    # `open_page` would mind the refusal, which the browser writes to its console
    with chromium.new_context(base_url=str(stack.client.base_url)) as context:
        page = context.new_page()
        page.goto(f"/gifs/{gif_id}")
        edit(page)
    assert stack.gif(gif_id)["alt_text"] == "A square that wanders"


def edit(page: Any) -> None:
    page.evaluate("window.notReloaded = true")

    # When somebody types what the server refuses
    page.get_by_text("Edit the details").click()
    page.get_by_label("Title", exact=True).fill("New title")
    page.get_by_label("Tags", exact=True).fill("t" * 51)
    page.get_by_label("Alternative text").fill("A square that wanders")
    page.get_by_role("button", name="Save").click()

    # I expect the reason, and all that they typed
    page.get_by_role("alert").filter(has_text="A tag has at most 50 characters.").wait_for()
    assert page.get_by_label("Title", exact=True).input_value() == "New title"

    # When the rest of the page changes meanwhile, I expect it to stay, with the focus
    page.get_by_label("Tags", exact=True).fill("squares")
    page.evaluate(
        "import(document.querySelector('script[src$=\"/gifster.js\"]').src.replace("
        "/gifster.js$/, 'cards.js')).then((cards) => cards.showPage())"
    )
    assert page.get_by_label("Tags", exact=True).input_value() == "squares"
    assert page.evaluate("document.activeElement.name") == "tags"

    # When it is saved, I expect the page to show it
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="New title").wait_for()
    page.get_by_role("link", name="#squares").wait_for()
    page.locator(".whole").get_by_label("A square that wanders").or_(
        page.locator(".whole").get_by_alt_text("A square that wanders")
    ).first.wait_for()
    assert page.evaluate("window.notReloaded") is True


@pytest.mark.parametrize("scripts", [True, False])
def test_a_delete_is_undone(
    open_page: Callable[..., Any], stack: Stack, gif_id: str, scripts: bool
):
    page = open_page(f"/gifs/{gif_id}", java_script_enabled=scripts)

    page.get_by_role("button", name="Delete", exact=True).click()
    page.wait_for_url("**/")
    assert stack.gif(gif_id)["trashed_at"] is not None
    page.get_by_role("button", name="Undo").click()

    page.wait_for_url(f"**/gifs/{gif_id}")
    assert stack.gif(gif_id)["trashed_at"] is None
