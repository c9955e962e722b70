"""The share menu and the keys, in a real Chromium: what is in the clipboard afterwards."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests import axe, images
from tests.api.sharing.conftest import Make
from tests.combinations import only_in_ci
from tests.machine import eventually
from tests.stack import Stack

Open = Callable[..., Any]
READ = "navigator.clipboard.readText()"


@pytest.fixture
def open_with_clipboard(open_page: Open, moving: dict[str, Any]) -> Open:
    """Opens a page that may read the clipboard."""

    def open_it(path: str = "/", **options: Any) -> Any:
        return open_page(path, permissions=["clipboard-read", "clipboard-write"], **options)

    return open_it


def base(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.port}"


def test_the_menu_copies_links_and_code(
    open_with_clipboard: Open, stack: Stack, make: Make, moving: dict[str, Any]
):
    gif = make(title='A "quoted" [cat]')
    page = open_with_clipboard(f"/gifs/{gif['id']}")
    page.get_by_role("button", name='Share A "quoted" [cat]').click()
    menu = page.get_by_role("dialog", name='Share “A "quoted" [cat]”')
    link = f"{base(stack)}/g/{gif['id']}"
    for button, text in {
        "Copy link": link,
        "Copy file address": f"{link}.gif",
        "Copy Markdown": f'![A "quoted" \\[cat\\]]({link}.gif)',
        "Copy BBCode": f"[img]{link}.gif[/img]",
        "Copy HTML code": f'<img src="{link}.gif" alt="A &#34;quoted&#34; [cat]" '
        'width="300" height="200">',
        "Copy embed code": f'<iframe src="{base(stack)}/embed/{gif["id"]}" width="300" '
        'height="200" title="A &#34;quoted&#34; [cat]" style="border: 0" loading="lazy"></iframe>',
    }.items():
        menu.get_by_role("button", name=button, exact=True).click()

        eventually(lambda: page.evaluate(READ) == text)  # noqa: B023
        assert menu.get_by_role("status").inner_text() == f"Copied: {text}"

    # And Escape leads back to the button
    page.keyboard.press("Escape")
    assert not menu.is_visible()
    assert page.evaluate("'share' in document.activeElement.dataset")


KINDS = "navigator.clipboard.read().then((items) => [...items[0].types].sort().join())"
SIZE = """navigator.clipboard.read().then((items) => items[0].getType("image/png"))
    .then(createImageBitmap).then((picture) => [picture.width, picture.height])"""
HTML = """navigator.clipboard.read().then((items) => items[0].getType("text/html"))
    .then((blob) => blob.text())"""


def test_a_still_is_copied_as_png(open_with_clipboard: Open, make: Make):
    still = make(images.still("JPEG", (900, 600)), "a.jpg", title="Photo")
    page = open_with_clipboard(f"/gifs/{still['id']}")
    page.get_by_role("button", name="Share Photo").click()

    page.get_by_role("button", name="Copy picture", exact=True).click()

    page.get_by_text("Copied the picture as PNG.").wait_for()
    assert page.evaluate(KINDS) == "image/png"
    assert page.evaluate(SIZE) == [900, 600]


def test_what_moves_is_copied_as_html(
    open_with_clipboard: Open, stack: Stack, moving: dict[str, Any]
):
    page = open_with_clipboard(f"/gifs/{moving['id']}")
    page.get_by_role("button", name="Share My").click()

    page.get_by_role("button", name="Copy for mails and documents").click()

    page.get_by_text("Copied as HTML, with the address as text").wait_for()
    assert page.evaluate(KINDS) == "text/html,text/plain"
    assert f'src="{base(stack)}/g/{moving["id"]}.gif"' in page.evaluate(HTML)
    assert page.evaluate(READ) == f"{base(stack)}/g/{moving['id']}.gif"


@only_in_ci("a browser; the menu is used daily")
def test_without_tls_a_link_is_copied_too(open_page: Open, stack: Stack, moving: dict[str, Any]):
    page = open_page()
    page.context.add_init_script("delete Navigator.prototype.clipboard")
    page.goto(f"/gifs/{moving['id']}")
    assert page.evaluate("navigator.clipboard") is None
    page.get_by_role("button", name="Share My").click()
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("Copied: ").first.wait_for()
    page.keyboard.press("Escape")

    search = page.locator("input[name=q]")
    search.focus()
    page.keyboard.press("ControlOrMeta+v")

    assert search.input_value() == f"{base(stack)}/g/{moving['id']}"


def test_a_download_has_its_name(open_with_clipboard: Open, make: Make):
    gif = make(title="Jump")
    page = open_with_clipboard(f"/gifs/{gif['id']}")
    page.get_by_role("button", name="Share Jump").click()

    with page.expect_download() as begun:
        page.get_by_role("link", name="Download").click()

    assert begun.value.suggested_filename == "Jump.gif"


@only_in_ci("a browser; the menu is used daily")
def test_the_systems_share_sheet_gets_the_file(open_page: Open, make: Make):
    gif = make(title="Sheet")
    page = open_page()
    # Given a system with a share sheet, which a browser without a window has not
    page.context.add_init_script(
        "navigator.canShare = () => true;"
        "navigator.share = async (given) => { window.handed = given; }"
    )
    page.goto(f"/gifs/{gif['id']}")
    page.get_by_role("button", name="Share Sheet").click()

    page.get_by_role("button", name="Share…").click()

    eventually(lambda: page.evaluate("Boolean(window.handed)"))
    told = page.evaluate("[handed.files[0].name, handed.files[0].type, handed.files[0].size]")
    assert told == ["Sheet.gif", "image/gif", gif["image"]["bytes"]]


@only_in_ci("a browser; one key is tried daily")
def test_two_keys_lead_from_the_search_to_the_clipboard(
    open_with_clipboard: Open, stack: Stack, make: Make
):
    wanted = make(title="Zebra one")
    other = make(title="Zebra two")
    page = open_with_clipboard("/?q=zebra")
    sent: list[Any] = []
    page.on("request", lambda request: sent.append(request))  # noqa: PLW0108 Playwright marks it

    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("c")

    first = page.evaluate("document.activeElement.closest('article').dataset.gif")
    assert first in (wanted["id"], other["id"])
    eventually(lambda: page.evaluate(READ) == f"{base(stack)}/g/{first}")
    page.locator(".toast", has_text="Copied: ").wait_for()
    # It counts for the words that found it
    [used] = [request for request in sent if request.url.endswith(f"/{first}/share")]
    assert parse_qs(used.post_data)["q"] == ["zebra"]
    eventually(lambda: used.response().status == 204)

    # The arrows go on, and "s" opens the menu
    page.keyboard.press("ArrowRight")
    second = page.evaluate("document.activeElement.closest('article').dataset.gif")
    assert {first, second} == {wanted["id"], other["id"]}
    page.keyboard.press("s")
    page.get_by_role("dialog", name="Share “Zebra").wait_for()


@pytest.mark.parametrize(("key", "title"), [("Enter", "Quagga"), ("ArrowDown", "Tarpan")])
def test_from_a_search_that_is_just_typed_one_key_leads_to_its_first_result(
    open_with_clipboard: Open, make: Make, key: str, title: str
):
    # Given a page with other GIFs, and a search whose results are not there yet
    wanted = make(title=title, tags="stripes")
    page = open_with_clipboard()
    page.keyboard.press("/")
    page.keyboard.type(title.lower())

    # When I press the key at once, and then that which copies
    page.keyboard.press(key)
    eventually(lambda: page.evaluate("Boolean(document.activeElement.closest('article'))"))
    page.keyboard.press("c")

    page.get_by_text("Copied: ").first.wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.endswith(f"/g/{wanted['id']}")


def test_the_picture_is_clicked_where_its_title_lies_over_it(open_page: Open, make: Make):
    gif = make(title="Okapi", tags="one, two, three")
    page = open_page("/?q=okapi")
    card = page.locator("article.card").first
    card.hover()
    box = card.bounding_box()
    assert box is not None

    page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.8)

    page.wait_for_url(f"**/gifs/{gif['id']}")


def test_no_key_is_taken_from_a_field(open_with_clipboard: Open):
    page = open_with_clipboard("/?q=cat")
    search = page.locator("input[name=q]")
    search.fill("")
    search.press_sequentially("a/c?s")

    assert search.input_value() == "a/c?s"
    assert page.locator("dialog[open]").count() == 0
    assert page.locator(".toast").count() == 0


def test_keys_are_explained_and_can_be_switched_off(open_with_clipboard: Open):
    page = open_with_clipboard("/?q=cat")
    # Given the button at the foot of each page, or the key
    page.get_by_role("button", name="Keys", exact=True).click()
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Keys").wait_for(state="hidden")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").get_by_text("copy the link").wait_for()
    page.get_by_role("checkbox", name="Use the keys").uncheck()
    page.keyboard.press("Escape")

    page.locator("h3 a").first.focus()
    for key in "?", "s", "/":
        page.keyboard.press(key)

    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("document.activeElement.localName") == "a"
    # … for good
    page.reload()
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 0


@only_in_ci("two dialogs that change seldom")
def test_axe_finds_nothing_in_the_menu_and_in_the_keys(
    open_with_clipboard: Open, moving: dict[str, Any]
):
    page = open_with_clipboard(f"/gifs/{moving['id']}")
    script = axe.source()
    for key, name in ("s", "Share “My"), ("?", "Keys"):
        # The focus leaves a dialog that has closed a moment later, and no key is taken from one.
        eventually(lambda: page.evaluate("!document.activeElement?.closest('dialog')"))
        page.keyboard.press(key)
        dialog = page.get_by_role("dialog", name=name)
        dialog.wait_for()
        for scheme in "light", "dark":
            page.emulate_media(color_scheme=scheme)
            assert axe.barriers(page, script) == []
        page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")


def test_only_what_one_may_see_is_used(stack: Stack, make: Make, moving: dict[str, Any]):
    assert stack.client.post(f"/gifs/{moving['id']}/share", data={"q": "x"}).status_code == 204
    secret = make(visibility="private")
    assert stack.client.post(f"/gifs/{secret['id']}/share", data={"q": ""}).status_code == 404
    assert stack.client.get(f"/gifs/{secret['id']}/share").status_code == 404
    elsewhere = {"Origin": "http://evil.example"}
    answer = stack.client.post(f"/gifs/{moving['id']}/share", data={"q": ""}, headers=elsewhere)
    assert answer.status_code == 403
