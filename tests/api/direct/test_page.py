"""Large files from the gallery in a real Chromium: in several requests, and on after a loss."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import images
from tests.combinations import only_in_ci
from tests.machine import eventually, signal_group
from tests.stack import Stack

CONTENT = images.noisy_gif((200, 200), 6)
CHUNK = len(CONTENT) // 5


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "Film.gif"
    path.write_bytes(CONTENT)
    return path


def visit(browser: Any, stack: Stack, context: Any = None) -> tuple[Any, list[Any]]:
    """A page for which a fifth of the file is much, and its requests for uploads."""
    context = context or browser.new_context(base_url=f"http://127.0.0.1:{stack.port}")
    page = context.new_page()

    def smaller(route: Any) -> None:
        answer = route.fetch()
        script = answer.text()
        assert "8 * 1024 * 1024" in script
        route.fulfill(response=answer, body=script.replace("8 * 1024 * 1024", str(CHUNK)))

    page.route("**/resume.js", smaller)
    sent: list[Any] = []
    page.on("request", lambda request: "/api/uploads" in request.url and sent.append(request))
    page.goto("/")
    return page, sent


def choose(page: Any, path: Path, title: str) -> None:
    page.get_by_label("Choose a GIF").set_input_files(path)
    page.get_by_label("Title", exact=True).fill(title)
    page.get_by_role("button", name="Upload").click()


def card(page: Any, title: str) -> Any:
    return page.locator("#gallery article", has_text=title)


def offsets(sent: list[Any]) -> list[int]:
    """Where the requests with content began."""
    patches = [request for request in sent if request.method == "PATCH"]
    return [int(request.headers["upload-offset"]) for request in patches]


def hang(page: Any, film: Path, title: str) -> Any:
    """Upload a film, whose third piece does not arrive. Returns its route, which can go on."""
    held: list[Any] = []

    def hold(route: Any) -> None:
        third = route.request.headers.get("upload-offset") == str(2 * CHUNK)
        held.append(route) if third and not held else route.continue_()

    page.route("**/api/uploads/*", hold)
    choose(page, film, title)
    eventually(lambda: page.evaluate("1") and held)
    return held[0]


def test_a_large_file_goes_in_several_requests(chromium: Any, stack: Stack, film: Path):
    page, sent = visit(chromium, stack)

    choose(page, film, "Ein Film, 猫")

    card(page, "Ein Film, 猫").wait_for()
    assert offsets(sent) == list(range(0, len(CONTENT), CHUNK))
    assert page.locator("#progress li").count() == 0
    assert page.evaluate("localStorage.getItem('uploads')") == "{}"
    page.context.close()


def test_a_file_that_is_refused_says_why(chromium: Any, stack: Stack, tmp_path: Path):
    page, _ = visit(chromium, stack)
    path = tmp_path / "Damaged.gif"
    path.write_bytes(CONTENT[: CHUNK * 2])

    choose(page, path, "Damaged")

    row = page.locator("#progress li", has_text="Damaged.gif")
    assert "The file is incomplete" in row.get_by_role("alert").inner_text()
    row.get_by_role("button", name="Edit").wait_for()
    page.context.close()


def test_the_same_file_twice_is_two_uploads(chromium: Any, stack: Stack, film: Path):
    page, sent = visit(chromium, stack)
    page.get_by_label("Choose a GIF").set_input_files([film])
    page.get_by_label("Choose a GIF").set_input_files([film])
    page.get_by_role("button", name="Upload").click()

    eventually(lambda: page.locator("#gallery article", has_text="Film").count() >= 2)
    assert [request.method for request in sent].count("POST") == 2
    page.context.close()


def test_an_upload_goes_on_after_the_server_was_killed(
    chromium: Any, new_stack: Callable[..., Stack], film: Path
):
    # Given a server that dies while the third of five pieces is on its way
    stack = new_stack()
    web = stack.start_web()
    page, sent = visit(chromium, stack)
    held = hang(page, film, "Goes on")
    signal_group(web, signal.SIGKILL)
    web.wait()
    held.continue_()
    page.get_by_text("goes on where it was. Trying again automatically.").wait_for()

    # When it is back
    stack.start_web()

    # Then the page sends no piece again that the server has
    card(page, "Goes on").wait_for()
    assert sorted(set(offsets(sent))) == list(range(0, len(CONTENT), CHUNK))
    assert offsets(sent).count(0) == offsets(sent).count(CHUNK) == 1
    assert [request.method for request in sent].count("POST") == 1
    page.context.close()


#: What the browser keeps if somebody has chosen the same file thrice. The server knows the first.
THIRD = """() => {
    const [[key, { at }]] = Object.entries(JSON.parse(localStorage.uploads));
    const more = { [`${key}++`]: { url: "/api/uploads/gone", at } };
    localStorage.uploads = JSON.stringify({ ...JSON.parse(localStorage.uploads), ...more });
}"""


def test_a_page_that_was_loaded_again_goes_on(chromium: Any, stack: Stack, film: Path):
    # Given an upload of which two pieces are there when its page is closed
    page, sent = visit(chromium, stack)
    hang(page, film, "Again")
    page.evaluate(THIRD)
    page.on("dialog", lambda dialog: dialog.accept())
    page.unroute("**/api/uploads/*")
    page.reload()

    # I expect the page to say so, in a row of its own
    row = page.locator("#unfinished li", has_text="Film.gif")
    row.get_by_text("are uploaded. Choose the file again to go on.").wait_for()
    other = film.with_name("Other.gif")
    other.write_bytes(CONTENT)
    row.get_by_label("Choose Film.gif again").set_input_files(other)
    assert "That is Other.gif" in row.get_by_role("alert").inner_text()
    sent.clear()

    # When the same file is chosen there, I expect the rest to be sent, with the same title
    row.get_by_label("Choose Film.gif again").set_input_files(film)
    card(page, "Again").wait_for()
    assert page.locator("#unfinished li").count() == 0
    assert offsets(sent) == list(range(2 * CHUNK, len(CONTENT), CHUNK))
    assert "POST" not in [request.method for request in sent]
    page.context.close()


@only_in_ci("a browser; the others send a large file daily")
def test_an_unfinished_upload_is_ended(chromium: Any, stack: Stack, film: Path):
    # Given an upload that hangs, and another page beside it, which names none that is on its way
    page, sent = visit(chromium, stack)
    hang(page, film, "Ends")
    other, _ = visit(chromium, stack, page.context)
    assert other.locator("#unfinished li").count() == 0

    # When its page is closed, and somebody ends it
    page.close()
    other.reload()
    other.get_by_role("button", name="End it: the upload of Film.gif").click()

    # I expect the server to have nothing of it
    eventually(lambda: other.locator("#unfinished li").count() == 0)
    url = next(r.url for r in sent if r.method == "PATCH")
    assert stack.client.head(url, headers={"Tus-Resumable": "1.0.0"}).status_code in (404, 410)
    assert other.evaluate("localStorage.getItem('uploads')") == "{}"
    other.context.close()


@only_in_ci("a browser; the others send a large file daily")
def test_two_tabs_with_one_file_make_one_gif(chromium: Any, stack: Stack, film: Path):
    # Given an upload whose third piece hangs
    page, _ = visit(chromium, stack)
    held = hang(page, film, "Twice")

    # When another tab sends the same file, and then the first goes on
    other, sent = visit(chromium, stack, page.context)
    choose(other, film, "Twice")
    card(other, "Twice").wait_for()
    held.continue_()

    # Then both show the one GIF
    card(page, "Twice").wait_for()
    assert "POST" not in [request.method for request in sent]
    found = stack.client.get("/api/gifs", params={"q": "Twice"}).json()["items"]
    assert [gif["title"] for gif in found] == ["Twice"]
    page.context.close()
