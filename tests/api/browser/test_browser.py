"""The pages in a real Chromium: uploads, live states, thumbnails that move; with and without
JavaScript."""

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from tests import images
from tests.api.upload_form import open_form, payload
from tests.browser import MOTION
from tests.combinations import only_in_ci
from tests.machine import eventually
from tests.stack import Stack


def moves(image: Any) -> bool:
    """Whether a picture on the page changes by itself."""
    first = image.screenshot()
    return bool(eventually(lambda: image.screenshot() != first))


def test_an_upload_appears_and_gets_ready_without_a_reload(open_page: Callable[..., Any]):
    page = open_page(**MOTION)
    page.evaluate("window.notReloaded = true")

    # When I choose a file, give it a title and upload it
    page.get_by_label("Choose a GIF").set_input_files(
        payload("cat.gif", images.gif((400, 300), [60] * 8))
    )
    page.get_by_label("Title", exact=True).fill("Wandering square")
    page.get_by_label("Tags", exact=True).fill("squares, red")
    page.get_by_role("button", name="Upload").click()

    # I expect its card, and then its thumbnail, which moves
    card = page.locator("article", has_text="Wandering square")
    card.wait_for()
    image = card.get_by_role("img", name="Wandering square")
    image.wait_for()
    page.locator("article[data-state=ready]", has_text="Wandering square").wait_for()
    assert moves(image)
    assert card.get_by_role("link", name="#squares").is_visible()
    assert page.evaluate("window.notReloaded") is True


@pytest.mark.long
def test_a_card_goes_through_all_states(
    chromium: Any, new_stack: Callable[..., Stack], tmp_path: Path
):
    # Given a page with an upload, and no worker
    stack = new_stack()
    stack.start_web()
    gif_id = stack.upload(images.noisy_gif((600, 450), 24), title="Noise").json()["id"]
    context = chromium.new_context(base_url=str(stack.client.base_url), **MOTION)
    page = context.new_page()
    page.goto("/")
    card = page.locator("article")
    assert card.get_by_role("status").inner_text() == "Waiting for a worker…"

    # When a worker starts, I expect the page to follow
    with stack.held_while_processing(gif_id):
        page.get_by_text("Making the thumbnail…").wait_for()
    # … and to show the picture before its last version is there
    page.get_by_text("Making other sizes…").wait_for()
    assert card.get_by_role("img", name="Noise").is_visible()
    # … and to lose no click on what it would replace meanwhile
    card.get_by_role("heading").get_by_role("link").hover()
    page.mouse.down()
    stack.finished(gif_id)
    for _ in range(2):  # the first look may have begun before
        with page.expect_response("**/cards"):
            pass
    page.mouse.up()
    page.wait_for_url(f"**/gifs/{gif_id}")
    page.go_back()
    eventually(lambda: card.get_by_role("status").count() == 0)
    # … and then the film, which has fewer bytes
    film = card.locator("video[aria-label=Noise]")
    eventually(lambda: film.evaluate("video => video.currentTime > 0 && !video.paused"))
    context.close()


def test_people_who_prefer_less_motion_see_the_poster(chromium: Any, stack: Stack):
    gif_id = stack.upload(images.gif((300, 200)), title="Still").json()["id"]
    versions = stack.finished(gif_id)["versions"]
    shown = {}
    for motion in ("reduce", "no-preference"):
        context = chromium.new_context(base_url=str(stack.client.base_url), reduced_motion=motion)
        page = context.new_page()
        page.goto("/")
        picture = page.get_by_role("img", name="Still").first
        picture.scroll_into_view_if_needed()
        shown[motion] = eventually(lambda: picture.evaluate("image => image.currentSrc"))  # noqa: B023
        context.close()

    assert shown["reduce"].endswith(versions["tinyposter"]["url"])
    assert shown["no-preference"].endswith(versions["tinywebp"]["url"])


@pytest.fixture(scope="module")
def heavy(stack: Stack) -> dict[str, Any]:
    """A GIF that has a film, which its page plays."""
    uploaded = stack.upload(images.noisy_gif((320, 240), 12), title="Film").json()
    done = stack.finished(uploaded["id"])
    assert "mp4" in done["versions"]
    return done


def test_a_film_plays_automatically(open_page: Callable[..., Any], heavy: dict[str, Any]):
    film = open_page(f"/gifs/{heavy['id']}", **MOTION).locator("video")

    assert film.get_attribute("aria-label") == "Film"
    eventually(lambda: film.evaluate("video => video.currentTime > 0 && !video.paused"))


def test_a_film_waits_if_less_motion_is_preferred(
    chromium: Any, stack: Stack, heavy: dict[str, Any]
):
    context = chromium.new_context(base_url=str(stack.client.base_url), reduced_motion="reduce")
    page = context.new_page()

    page.goto(f"/gifs/{heavy['id']}", wait_until="networkidle")

    film = page.locator("video")
    assert film.evaluate("video => video.paused && video.controls")
    assert film.evaluate("video => video.poster").endswith(heavy["versions"]["poster"]["url"])
    context.close()


def test_a_browser_that_cannot_play_films_shows_the_picture(
    chromium: Any, stack: Stack, heavy: dict[str, Any]
):
    context = chromium.new_context(base_url=str(stack.client.base_url), **MOTION)
    context.add_init_script("HTMLVideoElement.prototype.canPlayType = () => ''")
    page = context.new_page()

    page.goto(f"/gifs/{heavy['id']}")

    picture = page.get_by_role("img", name="Film")
    eventually(lambda: picture.evaluate("image => image.naturalWidth") == 320)
    assert page.locator("video").count() == 0
    # As WebP, which is smaller than the GIF
    source = picture.evaluate("image => image.currentSrc")
    assert source.endswith(heavy["versions"]["webp"]["url"])
    context.close()


def test_that_picture_has_a_play_button(chromium: Any, stack: Stack, heavy: dict[str, Any]):
    context = chromium.new_context(base_url=str(stack.client.base_url), reduced_motion="reduce")
    context.add_init_script("HTMLVideoElement.prototype.canPlayType = () => ''")
    page = context.new_page()
    page.goto(f"/gifs/{heavy['id']}")
    picture = page.get_by_role("img", name="Film")

    def shows(version: str) -> bool:
        source = picture.evaluate("image => image.currentSrc")
        return bool(source.endswith(heavy["versions"][version]["url"]))

    eventually(lambda: shows("poster"))
    page.get_by_role("button", name="Play Film").click()
    eventually(lambda: shows("webp"))
    context.close()


def test_a_poster_has_a_play_button(chromium: Any, stack: Stack):
    gif_id = stack.upload(images.gif((300, 200), [60] * 8), title="Asked").json()["id"]
    versions = stack.finished(gif_id)["versions"]
    context = chromium.new_context(base_url=str(stack.client.base_url), reduced_motion="reduce")
    page = context.new_page()
    page.goto("/?q=Asked")
    picture = page.get_by_role("img", name="Asked")

    def shows(version: str) -> bool:
        source = picture.evaluate("image => image.currentSrc")
        return bool(source.endswith(versions[version]["url"]))

    eventually(lambda: shows("tinyposter"))
    button = page.get_by_role("button", name="Play Asked")
    button.focus()
    page.keyboard.press("Enter")
    eventually(lambda: shows("tinywebp"))
    assert button.get_attribute("aria-pressed") == "true"
    assert moves(picture)

    page.keyboard.press("Enter")
    eventually(lambda: shows("tinyposter"))
    context.close()


@pytest.fixture(scope="module")
def pan(stack: Stack) -> dict[str, Any]:
    """A GIF that moves over a picture with many colours, which is much smaller as a film."""
    spots = PIL.Image.frombytes("RGB", (16, 9), random.Random(1).randbytes(432))
    scene = spots.resize((480, 270), PIL.Image.Resampling.BICUBIC)
    views = [scene.crop((at, 0, at + 320, 240)) for at in range(0, 160, 10)]
    content = io.BytesIO()
    views[0].save(content, "GIF", save_all=True, append_images=views[1:], duration=50, loop=0)
    return stack.finished(stack.upload(content.getvalue(), title="Small film").json()["id"])


def test_a_card_plays_a_film_only_while_it_is_in_view(
    chromium: Any, stack: Stack, pan: dict[str, Any]
):
    context = chromium.new_context(base_url=str(stack.client.base_url), **MOTION)
    page = context.new_page()
    page.set_viewport_size({"width": 800, "height": 600})
    page.goto("/?q=Small+film")
    film = page.locator("video[aria-label='Small film']")

    eventually(lambda: film.evaluate("video => video.currentTime > 0 && !video.paused"))
    assert film.evaluate("video => video.src").endswith(pan["versions"]["tinymp4"]["url"])
    # Out of view
    page.evaluate("document.querySelector('.gallery').style.marginTop = '3000px'")
    eventually(lambda: film.evaluate("video => video.paused"))
    film.scroll_into_view_if_needed()
    eventually(lambda: film.evaluate("video => !video.paused"))
    context.close()


def test_a_card_with_a_film_waits_for_its_button_if_less_motion_is_preferred(
    chromium: Any, stack: Stack, pan: dict[str, Any]
):
    context = chromium.new_context(base_url=str(stack.client.base_url), reduced_motion="reduce")
    page = context.new_page()
    page.goto("/?q=Small+film", wait_until="networkidle")
    film = page.locator("video[aria-label='Small film']")
    assert film.evaluate("video => video.paused && video.currentTime === 0")
    assert film.evaluate("video => video.poster").endswith(pan["versions"]["tinyposter"]["url"])

    button = page.get_by_role("button", name="Play Small film")
    button.focus()
    page.keyboard.press("Enter")
    eventually(lambda: film.evaluate("video => video.currentTime > 0 && !video.paused"))
    assert button.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Enter")
    eventually(lambda: film.evaluate("video => video.paused && video.currentTime === 0"))
    context.close()


def test_a_blurred_placeholder_is_there_until_the_picture_comes(chromium: Any, stack: Stack):
    stack.finished(stack.upload(images.gif((300, 200)), title="Later").json()["id"])
    context = chromium.new_context(base_url=str(stack.client.base_url), **MOTION)
    context.add_init_script("HTMLVideoElement.prototype.canPlayType = () => ''")
    page = context.new_page()
    page.route("**/media/**", lambda route: None)  # it never comes

    page.goto("/?q=Later", wait_until="domcontentloaded")

    blurred = page.locator("article img.blurred")
    eventually(lambda: blurred.evaluate("image => image.naturalWidth") == 32)
    # in the place of the picture
    place = "image => JSON.stringify(image.getBoundingClientRect())"
    picture = page.get_by_role("img", name="Later")
    assert blurred.evaluate(place) == picture.evaluate(place)

    # And the same on its own page, whatever its aspect ratio is
    page.goto(page.locator("article a").first.get_attribute("href"), wait_until="domcontentloaded")
    place = (
        "image => { const b = image.getBoundingClientRect(); return [b.x, b.y, b.width, b.height] }"
    )
    blurred, picture = page.locator(".whole img.blurred"), page.locator(".whole picture img")
    eventually(lambda: blurred.evaluate(place) == picture.evaluate(place))
    # under the picture
    on_top = """image => { const { x, y, width, height } = image.getBoundingClientRect();
        return document.elementFromPoint(x + width / 2, y + height / 2) === image; }"""
    assert picture.evaluate(on_top)
    context.close()


def test_an_upload_links_to_its_copy_and_its_near_duplicates(
    open_page: Callable[..., Any], stack: Stack
):
    content = images.gif((211, 113), [70] * 5)
    first = stack.finished(stack.upload(content, title="First").json()["id"])
    page = open_page()

    page.get_by_label("Choose a GIF").set_input_files(payload("Again.gif", content))
    page.get_by_role("button", name="Upload").click()

    page.locator("article[data-state=ready]", has_text="Again").wait_for()
    page.get_by_role("link", name="in the library already").first.click()
    page.wait_for_url(f"**/gifs/{first['id']}")
    # Its page shows its near duplicates
    page.locator(".similar article", has_text="Again").wait_for()


def test_each_of_several_files_gets_a_card(open_page: Callable[..., Any]):
    page = open_page()

    page.get_by_label("Choose a GIF").set_input_files(
        [payload(f"Batch {number}.gif", images.gif()) for number in range(3)]
    )
    page.get_by_role("button", name="Upload").click()

    for number in range(3):
        page.get_by_role("img", name=f"Batch {number}").wait_for()


def test_a_refusal_stands_beside_the_name_of_the_file(open_page: Callable[..., Any]):
    page = open_page()

    page.get_by_label("Choose a GIF").set_input_files(payload("notes.gif", b"Hello, a text." * 9))
    page.get_by_role("button", name="Upload").click()

    row = page.locator("#progress li", has_text="notes.gif")
    row.get_by_role("alert").wait_for()
    assert "The file must be one of these types: AVIF, BMP, GIF, " in row.inner_text()


def test_the_page_of_a_gif_shows_it_and_deletes_it(open_page: Callable[..., Any], stack: Stack):
    done = stack.finished(stack.upload(images.gif((300, 200), [60] * 6), title="Mine").json()["id"])
    page = open_page(f"/gifs/{done['id']}", **MOTION)
    assert moves(page.locator("video[aria-label=Mine]"))
    assert "300 × 200 pixels" in page.inner_text("dl")
    assert "6 frames, 0.36 s, forever" in page.inner_text("dl")

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()

    page.wait_for_url("**/")
    assert page.get_by_text("Mine", exact=True).count() == 0


def test_everything_works_without_javascript(open_page: Callable[..., Any]):
    page = open_page(java_script_enabled=False)

    open_form(page)
    page.get_by_label("Choose a GIF").set_input_files(payload("Plain.gif", images.gif()))
    page.get_by_role("button", name="Upload").click()

    page.get_by_role("heading", name="Plain").wait_for()
    # Nothing plays it, but it has controls
    page.locator("video[aria-label=Plain][controls]").wait_for()


def test_the_page_shows_who_is_logged_in_after_a_sign_up(open_page: Callable[..., Any]):
    page = open_page("/signup")

    page.get_by_label("E-mail address").fill("browser@example.org")
    page.get_by_label("Name").fill("Brow Ser")
    page.get_by_label("Password").fill("correct horse")
    page.get_by_label("Password").press("Enter")

    page.get_by_text("Brow Ser").click()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Log in").wait_for()


@pytest.mark.parametrize(
    "width", [360, pytest.param(1280, marks=only_in_ci("the narrow one is tried daily"))]
)
def test_no_page_is_wider_than_its_window(open_page: Callable[..., Any], stack: Stack, width: int):
    gif_id = stack.finished(
        stack.upload(images.gif((600, 100)), title="W" * 200, tags="a" * 50).json()["id"]
    )["id"]
    page = open_page(viewport={"width": width, "height": 800})
    for path in ("/", f"/gifs/{gif_id}", "/signup", "/login", "/?q=nothing"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
