"""Edits by HTTP and on the pages: on upload, by PATCH, and by the form of a GIF's page."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests import images
from tests.machine import eventually
from tests.stack import Stack
from tests.videos import video

GIF = images.gif(size=(120, 90), durations=[100] * 10)
EDIT = {
    "start": 0.2,
    "end": 0.6,
    "fps": None,
    "crop": {"x": 30, "y": 0, "width": 60, "height": 90},
}
MERGE = {"content-type": "application/merge-patch+json"}


def size(version: dict[str, Any]) -> tuple[int, int]:
    return version["width"], version["height"]


def patch(stack: Stack, gif_id: str, edit: object, **options: Any) -> Any:
    body = json.dumps({"edit": edit})
    headers = {"content-type": "application/json"} | options.pop("headers", {})
    return stack.client.patch(f"/api/gifs/{gif_id}", content=body, headers=headers)


@pytest.fixture(scope="module")
def gif_id(stack: Stack) -> str:
    return str(stack.upload(GIF).json()["id"])


def test_an_edit_on_upload_and_later(stack: Stack):
    # When I upload a GIF with an edit
    answer = stack.upload(GIF, start="0.2", end="0.6", crop="30,0,60,90", fps="")
    assert answer.status_code == 202
    assert answer.json()["edit"] == EDIT
    gif_id = answer.json()["id"]

    # Then its versions show that part, and the original all of it
    done = stack.finished(gif_id)
    assert (done["state"], done["edit"]) == ("ready", EDIT)
    assert (size(done["image"]), done["image"]["duration_ms"]) == ((120, 90), 1000)
    assert stack.client.get(done["image"]["url"]).content == GIF
    for name in ("thumb", "tinywebp", "tinymp4", "tinygif", "preview", "webp", "mp4", "full"):
        assert size(done["versions"][name]) == (60, 90), name
    thumb = stack.client.get(done["versions"]["thumb"]["url"]).content
    assert sum(images.timing(thumb)[0]) == 400

    # When I change a part of the edit, and then remove it
    changed = patch(stack, gif_id, {"fps": 5, "crop": None}, headers=MERGE).json()
    assert changed["edit"] == EDIT | {"fps": 5, "crop": None}
    assert changed["state"] == "processing"
    assert changed["versions"] == done["versions"]
    again = stack.finished(gif_id)
    assert size(again["versions"]["thumb"]) == (120, 90)
    thumb = stack.client.get(again["versions"]["thumb"]["url"]).content
    assert images.timing(thumb)[0] == [200, 200]

    assert patch(stack, gif_id, None).json()["edit"] is None
    whole = stack.finished(gif_id)
    thumb = stack.client.get(whole["versions"]["thumb"]["url"]).content
    assert sum(images.timing(thumb)[0]) == 1000
    # And the former versions are gone
    eventually(lambda: stack.client.get(done["versions"]["thumb"]["url"]).status_code == 404)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"end": "1.5"}, "end is 1.5 s, and the picture ends at 1 s."),
        ({"start": "0.6", "end": "0.2"}, "start is 0.6 s, and end is 0.2 s"),
        ({"crop": "100,0,60,90"}, "crop is 60×90 pixels at 100, 0"),
        ({"fps": "61"}, "fps is 61: use 1 to 60."),
        ({"start": "nan"}, "start is 'nan': write a number"),
    ],
)
def test_an_upload_with_an_edit_that_does_not_fit_is_refused(
    stack: Stack, fields: dict[str, str], said: str
):
    answer = stack.upload(GIF, **fields)

    assert (answer.status_code, answer.json()["code"]) == (422, "edit_invalid")
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    "edit",
    ["x", [], {"begin": 1}, {"start": -1}, {"crop": {"x": 0}}, {"end": 2}, {"fps": True},
     {"start": 1e308}, {"start": 10**300}, {"crop": {"x": 2**63, "y": 0, "width": 1, "height": 1}}],
)  # fmt: skip
@pytest.mark.parametrize("headers", [{}, MERGE])
def test_a_patch_with_an_edit_that_does_not_fit_is_refused(
    stack: Stack, gif_id: str, headers: dict[str, str], edit: object
):
    answer = patch(stack, gif_id, edit, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (422, "edit_invalid")


def test_other_changes_leave_the_edit(stack: Stack):
    gif_id = stack.upload(GIF, fps="5").json()["id"]

    answer = stack.client.patch(f"/api/gifs/{gif_id}", json={"title": "Slow"})

    assert (answer.json()["title"], answer.json()["edit"]["fps"]) == ("Slow", 5)


def test_a_replacement_drops_the_edit(stack: Stack):
    gif_id = stack.upload(GIF, fps="5").json()["id"]
    stack.finished(gif_id)

    answer = stack.client.put(f"/api/gifs/{gif_id}/image", files={"image": ("b.gif", GIF)})

    assert answer.json()["edit"] is None


def test_the_form_of_a_page_edits(stack: Stack):
    gif_id = stack.upload(GIF, title="Square").json()["id"]
    stack.finished(gif_id)
    page = stack.client.get(f"/gifs/{gif_id}").text
    assert f'action="/gifs/{gif_id}/edit"' in page

    refused = stack.client.post(
        f"/gifs/{gif_id}/edit", data={"end": "7"}, headers={"accept": "text/html"}
    )
    assert refused.status_code == 422
    assert "end is 7 s, and the picture ends at 1 s." in refused.text
    assert 'value="7"' in refused.text
    assert 'class="whole"' in refused.text  # whose moments "Start here" and "End here" take

    sent = {"start": "0.2", "end": "0.6", "fps": "", "crop": "30,0,60,90"}
    assert stack.client.post(f"/gifs/{gif_id}/edit", data=sent).status_code == 303
    done = stack.finished(gif_id)
    assert done["edit"] == EDIT
    assert size(done["versions"]["thumb"]) == (60, 90)
    assert 'value="30,0,60,90"' in stack.client.get(f"/gifs/{gif_id}/edit").text
    page = stack.client.get(f"/gifs/{gif_id}").text
    assert "0.2 s to 0.6 s; 60 × 90 pixels, 30 from the left and 0 from the top" in page
    assert "<dt>Original</dt>" in page

    assert stack.client.post(f"/gifs/{gif_id}/edit", data=sent | {"remove": "1"}).status_code == 303
    assert stack.finished(gif_id)["edit"] is None


def test_the_form_of_an_upload_edits(stack: Stack):
    data = {"title": "Cut", "crop": "0,0,400,90"}
    headers = {"accept": "text/html", "sec-fetch-mode": "navigate"}
    refused = stack.client.post(
        "/gifs", data=data, files={"image": ("c.gif", GIF)}, headers=headers
    )

    assert refused.status_code == 422
    assert "crop is 400×90 pixels" in refused.text
    assert 'value="0,0,400,90"' in refused.text


def test_a_box_is_drawn_with_the_pointer_and_the_keyboard(
    open_page: Callable[..., Any], stack: Stack
):
    # Given a page that has changed twice, as when its GIF became ready
    gif_id = stack.upload(images.gif((200, 100)), title="Drawn").json()["id"]
    stack.finished(gif_id)
    page = open_page(f"/gifs/{gif_id}")
    for _ in range(2):
        page.evaluate(
            "import(document.querySelector('script[src$=\"/gifster.js\"]').src.replace("
            "/gifster.js$/, 'cards.js')).then((cards) => cards.showPage())"
        )
    page.get_by_text("Trim and crop").click()
    field = page.get_by_label("Crop (x, y, width, height in pixels)")
    stage = page.locator(".stage")
    stage.locator("img").evaluate("image => image.decode()")
    place = stage.bounding_box()

    # With the pointer
    scale = place["width"] / 200
    page.mouse.move(place["x"] + 20 * scale, place["y"] + 10 * scale)
    page.mouse.down()
    page.mouse.move(place["x"] + 120 * scale, place["y"] + 90 * scale)
    page.mouse.up()
    x, y, width, height = map(int, field.input_value().split(","))
    assert max(abs(x - 20), abs(y - 10), abs(width - 100), abs(height - 80)) <= 2

    # With the keyboard
    field.fill("20,10,100,80")
    box = page.locator(".stage .box")
    box.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    assert field.input_value() == "22,10,100,78"
    assert box.get_attribute("aria-label") == "Crop: 100 by 78 pixels at 22, 10"
    page.keyboard.press("Escape")
    assert field.input_value() == ""
    page.get_by_role("button", name="Add a box").click()
    assert field.input_value() == "20,10,160,80"

    # And is sent
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url(f"**/gifs/{gif_id}")
    assert size(stack.finished(gif_id)["versions"]["thumb"]) == (160, 80)


def test_start_and_end_are_taken_from_the_player(open_page: Callable[..., Any], stack: Stack):
    gif_id = stack.upload(video(frames_each=20, format="webm"), title="Film").json()["id"]
    stack.finished(gif_id)
    page = open_page(f"/gifs/{gif_id}")
    page.get_by_text("Trim and crop").click()
    slider = page.get_by_label("Moment (seconds)")
    film = page.locator(".stage video")
    eventually(lambda: film.evaluate("video => video.readyState >= 1"))

    for moment, name in (("1.2", "Start here"), ("1.8", "End here")):
        slider.fill(moment)
        eventually(lambda: film.evaluate("video => video.currentTime") == float(moment))  # noqa: B023
        page.get_by_role("button", name=name).click()

    assert page.get_by_label("Start (seconds)").input_value() == "1.20"
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url(f"**/gifs/{gif_id}")
    assert stack.finished(gif_id)["edit"] == {"start": 1.2, "end": 1.8, "fps": None, "crop": None}
