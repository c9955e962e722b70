"""The page of a GIF in a real Chromium: its details are edited in place, nothing that was typed is
lost, and a delete can be undone."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests import axe, images
from tests.combinations import only_in_ci
from tests.machine import ALL_EXAMPLES, eventually
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
    page.get_by_role("alert").filter(has_text="A tag has at most 50 characters").wait_for()
    assert page.get_by_label("Title", exact=True).input_value() == "New title"
    assert page.evaluate("document.activeElement.role") == "alert"

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


def test_what_is_typed_outlives_the_session(chromium: Any, stack: Stack):
    # Given somebody who edits a private GIF, also its crop, when their session ends
    with chromium.new_context(base_url=str(stack.client.base_url)) as context:
        page = context.new_page()
        log_in = {"email": "outlived@example.org", "password": "correct horse"}
        stack.client.post("/api/users", json=log_in)
        enter(page, log_in)
        sent = {"image": ("a.gif", images.gif((61, 40)), "image/gif")}
        cookies = {cookie["name"]: cookie["value"] for cookie in context.cookies()}
        with httpx.Client(base_url=stack.client.base_url, cookies=cookies) as send:
            values = {"title": "Mine", "visibility": "private"}
            gif_id = send.post("/api/gifs", files=sent, data=values).json()["id"]
            eventually(lambda: send.get(f"/api/gifs/{gif_id}").json()["state"] == "ready")
        page.goto(f"/gifs/{gif_id}")
        page.get_by_text("Edit the details").click()
        title = page.get_by_label("Title", exact=True)
        title.fill("A long title")
        page.locator("summary", has_text="Trim and crop").click()
        crop = page.locator("form.editor [name=crop]")
        crop.fill("1,2,3,4")
        context.clear_cookies()

        # When the page asks how the GIF is, which nobody is told any more
        page.evaluate("dispatchEvent(new Event('online'))")

        # I expect the page to stay, and to say why it is out of date
        page.get_by_text("What you have typed is still here.").wait_for()
        assert (title.input_value(), crop.input_value()) == ("A long title", "1,2,3,4")

        # When they save, I expect no redirect either
        page.route("**/api/gifs/*", lambda route: route.fulfill(status=401, json={"detail": "…"}))
        page.get_by_role("button", name="Save").click()
        page.get_by_role("alert").filter(has_text="log in in another tab").wait_for()
        assert title.input_value() == "A long title"

        # And what they typed to be saved once they have logged in elsewhere
        enter(context.new_page(), log_in)
        page.unroute_all()
        page.get_by_role("button", name="Save").click()
        page.get_by_role("heading", name="A long title").wait_for()
        assert crop.input_value() == "1,2,3,4"


def enter(page: Any, log_in: dict[str, str]) -> None:
    page.goto("/login")
    page.get_by_label("E-mail address").fill(log_in["email"])
    page.get_by_label("Password").fill(log_in["password"])
    page.get_by_label("Password").press("Enter")
    page.locator(".menu summary").wait_for()


def test_a_gif_is_collected_and_taken_out_without_leaving_the_page(
    chromium: Any, stack: Stack, gif_id: str
):
    # Given somebody on the page of a GIF
    with chromium.new_context(base_url=str(stack.client.base_url)) as context:
        page = context.new_page()
        log_in = {"email": "collector@example.org", "password": "correct horse"}
        stack.client.post("/api/users", json=log_in)
        enter(page, log_in)
        page.goto(f"/gifs/{gif_id}")
        focused = "document.activeElement.ariaLabel ?? document.activeElement.innerText"
        page.evaluate("window.notReloaded = true")

        # When they put it into collections, I expect that part of the page to stay open
        page.locator("#collections > summary").click()
        for name in ("Best", "Worst"):
            page.locator("#collections [name=name]").fill(name)
            page.keyboard.press("Enter")
            page.get_by_role("button", name=f"Remove from {name}").wait_for()
            eventually(lambda: page.evaluate(focused) == "Add")

        # And the focus to go on to the next button when they take it out again
        for name, then in (("Best", "Remove from Worst"), ("Worst", "Collections")):
            page.get_by_role("button", name=f"Remove from {name}").press("Enter")
            eventually(lambda then=then: page.evaluate(focused) == then)
        assert page.locator("#collections .collected").count() == 0
        assert page.evaluate("window.notReloaded") is True

        # When their session has ended, I expect a sentence that everybody sees
        context.clear_cookies()
        page.get_by_role("button", name="Favourite").click()
        page.locator(".toast", has_text="You are not logged in any more").wait_for()


@only_in_ci("five pages that change seldom")
def test_axe_finds_nothing_on_a_users_own_pages(chromium: Any, stack: Stack):
    # Given a user with a GIF, a favourite, a collection and something in the trash
    context = chromium.new_context(base_url=str(stack.client.base_url), reduced_motion="reduce")
    page = context.new_page()
    page.goto("/signup")
    page.get_by_label("E-mail address").fill("details@example.org")
    page.get_by_label("Password").fill("correct horse")
    page.get_by_label("Password").press("Enter")
    page.locator(".menu summary").wait_for()
    cookies = {cookie["name"]: cookie["value"] for cookie in context.cookies()}
    send = httpx.Client(base_url=stack.client.base_url, cookies=cookies)
    ids = [
        send.post("/api/gifs", files={"image": ("a.gif", images.gif((90, 60)), "image/gif")},
                  data={"title": title, "visibility": "private"}).json()["id"]
        for title in ("Kept", "Thrown")
    ]  # fmt: skip
    kept, thrown = ids
    for gif_id in ids:
        eventually(lambda gif_id=gif_id: send.get(f"/api/gifs/{gif_id}").json()["state"] == "ready")
    collection = send.post("/api/collections", json={"name": "Best"}).json()["id"]
    send.put(f"/api/favourites/{kept}")
    send.put(f"/api/collections/{collection}/gifs/{kept}")
    send.post(f"/api/gifs/{thrown}/trash")

    # I expect no barrier, in both colour schemes, on a desk and on a phone
    script, found = axe.source(), []
    for path in ("/mine", "/favourites", "/collections", f"/collections/{collection}", "/trash",
                 f"/gifs/{kept}", f"/gifs/{thrown}"):  # fmt: skip
        page.goto(path)
        page.evaluate("document.querySelectorAll('main details').forEach((one) => one.open = true)")
        for width, scheme in ((1280, "light"), (390, "dark")):
            page.set_viewport_size({"width": width, "height": 844})
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            rules = () if ALL_EXAMPLES or scheme == "light" else axe.BY_APPEARANCE
            found += [
                f"{path}, {width}: {barrier}" for barrier in axe.barriers(page, script, *rules)
            ]
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert not found, "\n".join(found)
    context.close()


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
