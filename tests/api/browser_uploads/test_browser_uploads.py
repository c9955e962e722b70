"""Uploads from the gallery in a real Chromium: many files, refusals, and connections that break."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import images
from tests.api.upload_form import open_form, payload
from tests.combinations import only_in_ci
from tests.machine import eventually, signal_group
from tests.stack import Stack


def choose(page: Any, *files: Any) -> None:
    page.get_by_label("Choose a GIF").set_input_files(list(files))
    page.get_by_role("button", name="Upload").click()


def card(page: Any, title: str) -> Any:
    return page.locator("#gallery article", has_text=title)


def test_refusals_stay_until_they_are_dismissed(open_page: Callable[..., Any]):
    # Given a file that was refused
    page = open_page()
    choose(page, payload("poem.gif", b"Hello, a text." * 9))
    refused = page.locator("#progress li", has_text="poem.gif")
    refused.get_by_role("alert").wait_for()

    # When others are uploaded after it
    choose(page, payload("Good.gif", images.gif()), payload("story.gif", b"Hello" * 99))
    card(page, "Good").wait_for()
    more = page.locator("#progress li", has_text="story.gif")
    more.get_by_role("alert").wait_for()

    # I expect it to be there still, until I dismiss it
    assert "The file must be one of these types" in refused.get_by_role("alert").inner_text()
    refused.get_by_role("button", name="Dismiss: poem.gif").click()
    refused.wait_for(state="detached")
    focused = page.evaluate("document.activeElement.ariaLabel")
    assert focused == "Dismiss: story.gif"
    # The same bytes would be refused again, so there is no button to try again
    assert more.get_by_role("button").all_inner_texts() == ["Edit", "Dismiss"]


def test_what_was_typed_for_a_refused_file_goes_to_another_one(open_page: Callable[..., Any]):
    # Given a file that is refused, with a title and tags
    page = open_page()
    open_form(page)
    page.get_by_label("Title", exact=True).fill("A long thought")
    page.get_by_label("Tags", exact=True).fill("thoughts")
    choose(page, payload("essay.gif", b"Hello, a text." * 9))
    row = page.locator("#progress li", has_text="essay.gif")

    # When I correct it, I expect what I typed without the file, which I choose anew
    row.get_by_role("button", name="Edit: essay.gif").click()
    assert page.get_by_label("Title", exact=True).input_value() == "A long thought"
    assert page.get_by_label("Tags", exact=True).input_value() == "thoughts"
    assert page.locator("#chosen li").count() == 0
    assert page.evaluate("document.activeElement.id") == "image"
    choose(page, payload("essay.gif", images.gif((67, 20))))
    card(page, "A long thought").wait_for()


def test_a_file_that_is_too_large_stays_in_the_form(open_page: Callable[..., Any]):
    page = open_page()
    page.evaluate("document.getElementById('image').dataset.maxBytes = 1048576")
    open_form(page)
    page.get_by_label("Title", exact=True).fill("Huge")
    choose(page, payload("huge.gif", bytes(1048577)))

    page.locator("#chosen").get_by_text("The file is larger than 1 MiB. Remove it.").wait_for()
    assert page.get_by_label("Title", exact=True).input_value() == "Huge"
    assert page.locator("#progress li").count() == 0
    assert page.evaluate("document.activeElement.ariaLabel") == "Remove huge.gif"

    # Without it, the others go
    page.get_by_role("button", name="Remove huge.gif").click()
    choose(page, payload("small.gif", images.gif((68, 20))))
    card(page, "Huge").wait_for()


def test_every_field_of_the_form_is_sent_and_no_other(open_page: Callable[..., Any]):
    # Given a form to which an extension of the browser adds a field
    page = open_page()
    page.wait_for_load_state("networkidle")
    page.evaluate(
        "document.querySelector('#upload .fields').insertAdjacentHTML("
        """'afterbegin', '<input name="credit" value="Muybridge">')"""
    )
    sent: list[bytes] = []
    page.route("**/api/gifs", lambda route: (sent.append(route.request.post_data_buffer),
                                             route.continue_()))  # fmt: skip

    # When I upload one file, and then two
    open_form(page)
    page.get_by_text("Details", exact=True).click()
    page.get_by_label("Rating").select_option("pg-13")
    page.get_by_label("Title", exact=True).fill("One title")
    choose(page, payload("one.gif", images.gif()))
    eventually(lambda: page.wait_for_timeout(50) or len(sent) == 1)
    open_form(page)
    page.get_by_label("Rating").select_option("pg-13")
    choose(page, payload("two.gif", images.gif()), payload("three.gif", images.gif()))
    eventually(lambda: page.wait_for_timeout(50) or len(sent) == 3)

    # I expect each of our fields with each of them, and the title with the one
    assert all(b"pg-13" in body and b"Muybridge" not in body for body in sent)
    assert [b"One title" in body for body in sent] == [True, False, False]


#: Keeps all that the page announces.
HEAR = """window.heard = []; new MutationObserver(() => heard.push(told.textContent))
    .observe(told, { childList: true })"""


@only_in_ci("a browser; the form changes seldom, and others use it daily")
def test_only_a_few_files_are_on_their_way_at_a_time(open_page: Callable[..., Any]):
    page = open_page()
    page.evaluate(HEAR)
    held: list[Any] = []
    free: list[bool] = []
    page.route("**/api/gifs", lambda route: route.continue_() if free else held.append(route))
    choose(page, *[payload(f"One of {number}.gif", images.gif()) for number in range(20)])

    summed = page.locator("#sum")
    summed.get_by_text("0 of 20 files uploaded").wait_for()
    eventually(lambda: page.evaluate("1") and len(held) == 3)
    assert page.locator("#progress li").count() == 3
    free.append(True)
    for route in held:
        route.continue_()
    eventually(lambda: page.locator("#gallery article", has_text="One of").count() == 20)
    summed.wait_for(state="hidden")
    # The workers' progress is announced there, too
    eventually(lambda: "20 of 20 files uploaded." in page.evaluate("heard"))


def test_a_lost_connection_makes_the_queue_wait(chromium: Any, stack: Stack):
    # Given a connection that is lost while files go up
    context = chromium.new_context(base_url=str(stack.client.base_url))
    page = context.new_page()
    page.goto("/")
    context.set_offline(True)
    choose(page, *[payload(f"Kept {number}.gif", images.gif()) for number in range(9)])

    # I expect no file to be refused
    page.get_by_text("Trying again automatically.").first.wait_for()
    assert page.get_by_role("alert").count() == 0

    # And all files to go up as soon as the connection is back
    context.set_offline(False)
    eventually(lambda: page.locator("#gallery article", has_text="Kept").count() == 9)
    assert page.locator("#progress li").count() == 0
    context.close()


@only_in_ci("a browser; the form changes seldom, and others use it daily")
def test_a_busy_server_gets_the_time_it_asks_for(chromium: Any, stack: Stack):
    context = chromium.new_context(base_url=str(stack.client.base_url))
    page = context.new_page()
    page.goto("/")
    tries: list[str] = []

    def busy(route: Any) -> None:
        tries.append(route.request.url)
        detail = '{"detail": "Too many uploads for now."}'
        route.fulfill(status=429, headers={"Retry-After": "1"}, body=detail)

    page.route("**/api/gifs", busy, times=2)
    choose(page, payload("Later.gif", images.gif()))

    page.get_by_text("Too many uploads for now. Trying again automatically.").wait_for()
    card(page, "Later").wait_for()
    assert len(tries) == 2
    context.close()


@only_in_ci("a browser; a lost connection is tried daily")
def test_a_person_decides_about_an_upload_whose_answer_was_lost(
    chromium: Any, new_stack: Callable[..., Stack]
):
    # Given a server that dies between an upload and its answer
    stack = new_stack()
    web = stack.start_web()
    context = chromium.new_context(base_url=str(stack.client.base_url))
    page = context.new_page()
    page.goto("/")
    signal_group(web, signal.SIGSTOP)
    choose(page, payload("Unsure.gif", images.gif()))
    eventually(lambda: page.locator("#progress progress").evaluate("bar => bar.value") == 1)
    signal_group(web, signal.SIGKILL)
    web.wait()

    # I expect the page to say that it does not know
    row = page.locator("#progress li", has_text="Unsure.gif")
    row.get_by_role("alert", name="").get_by_text("Check whether the GIF is there").wait_for()

    # And to try again when I press the button
    stack.start_web()
    row.get_by_role("button", name="Try again").click()
    card(page, "Unsure").wait_for()
    assert page.locator("#progress li").count() == 0
    context.close()


def test_a_file_that_is_gone_is_not_taken_for_a_lost_connection(
    chromium: Any, stack: Stack, tmp_path: Path
):
    context = chromium.new_context(base_url=str(stack.client.base_url))
    page = context.new_page()
    page.goto("/")
    chosen = tmp_path / "Moved.gif"
    chosen.write_bytes(images.gif())
    page.get_by_label("Choose a GIF").set_input_files(chosen)
    chosen.unlink()
    page.get_by_role("button", name="Upload").click()

    row = page.locator("#progress li", has_text="Moved.gif")
    row.get_by_text("The file cannot be read any more. Choose it again.").wait_for()
    context.close()


def test_an_upload_without_progress_is_given_up(chromium: Any, stack: Stack):
    # Given a connection that has died silently
    context = chromium.new_context(base_url=str(stack.client.base_url))
    page = context.new_page()
    page.clock.install()
    page.goto("/")
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/api/gifs", hold, times=1)
    choose(page, payload("Still.gif", images.gif()))
    eventually(lambda: page.evaluate("1") and held)

    page.clock.fast_forward(125_000)

    page.locator("#progress li").get_by_text("The connection was lost").wait_for()
    context.close()


@only_in_ci("a browser; the form changes seldom, and others use it daily")
def test_leaving_during_uploads_asks_first(open_page: Callable[..., Any]):
    page = open_page()
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/api/gifs", hold)
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    choose(page, payload("Going.gif", images.gif()))
    eventually(lambda: page.evaluate("1") and held)

    page.get_by_role("link", name="Log in").click()
    eventually(lambda: page.evaluate("1") and asked == ["beforeunload"])

    # And no more once they are there
    held[0].continue_()
    card(page, "Going").wait_for()
    page.get_by_role("link", name="Log in").click()
    page.wait_for_url("**/login")
    assert asked == ["beforeunload"]


@only_in_ci("a browser; the form changes seldom, and others use it daily")
def test_bad_tags_are_found_before_any_upload(open_page: Callable[..., Any]):
    page = open_page()
    sent: list[str] = []
    page.on("request", lambda request: request.url.endswith("/gifs") and sent.append(request.url))
    page.get_by_label("Choose a GIF").set_input_files(payload("Tagged.gif", images.gif()))
    tags = page.get_by_label("Tags", exact=True)

    for wrong, reason in (
        (", ".join(f"t{number}" for number in range(21)), "Give at most 20 tags."),
        ("a" * 51, "A tag has at most 50 characters."),
    ):
        tags.fill(wrong)
        page.get_by_role("button", name="Upload").click()
        assert tags.evaluate("tags => tags.validationMessage") == reason
    assert sent == []

    tags.fill("fine")
    page.get_by_role("button", name="Upload").click()
    card(page, "Tagged").wait_for()


def test_each_of_several_files_has_a_title_and_tags_of_its_own(open_page: Callable[..., Any]):
    # Given two chosen files, and one of which I think better
    page = open_page()
    page.get_by_label("Choose a GIF").set_input_files(payload("one.gif", images.gif((30, 20))))
    assert page.get_by_label("Title", exact=True).is_visible()
    page.get_by_label("Choose a GIF").set_input_files(
        [payload("two.gif", images.gif((40, 20))), payload("unwanted.gif", images.gif((50, 20)))]
    )
    page.get_by_role("button", name="Remove unwanted.gif").click()

    # When I describe each, and both
    assert not page.get_by_label("Title", exact=True).is_visible()
    page.get_by_label("Title of one.gif").fill("First of two")
    page.get_by_label("Tags of one.gif").fill("first")
    page.get_by_label("Title of two.gif").fill("Second of two")
    page.get_by_label("Tags of all").fill("both")
    page.get_by_role("button", name="Upload").click()

    # I expect them to be there as I said
    for title, tags in (("First of two", ["#both", "#first"]), ("Second of two", ["#both"])):
        page.locator("#gallery article[data-state=ready]", has_text=title).wait_for()
        assert card(page, title).locator(".tags a").all_inner_texts() == tags
    assert card(page, "unwanted").count() == 0


def test_a_file_that_is_in_the_library_already_says_so_before_it_is_sent(
    open_page: Callable[..., Any], stack: Stack
):
    content = images.gif((77, 33))
    known = stack.finished(stack.upload(content, title="Known").json()["id"])
    page = open_page()

    page.get_by_label("Choose a GIF").set_input_files(
        [payload("again.gif", content), payload("new.gif", images.gif((78, 33)))]
    )

    said = page.locator("#chosen li", has_text="again.gif").get_by_role("status")
    said.get_by_role("link", name="Known").wait_for()
    assert "in the library already" in said.inner_text()
    assert said.get_by_role("link").get_attribute("href") == f"/gifs/{known['id']}"
    assert not page.locator("#chosen li", has_text="new.gif").get_by_role("status").is_visible()
    # Nothing has been sent
    page.get_by_role("button", name="Remove again.gif").click()
    assert page.locator("#chosen li").count() == 1
    page.on("dialog", lambda dialog: dialog.accept())


DROP = """([kind, name, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/gif" }));
    const how = { bubbles: true, cancelable: true };
    const event = kind === "paste" ? new ClipboardEvent("paste", { ...how, clipboardData: data })
        : new DragEvent(kind, { ...how, dataTransfer: data });
    document.querySelector("footer").dispatchEvent(event);
}"""


def test_files_come_in_by_a_drop_anywhere_and_from_the_clipboard(open_page: Callable[..., Any]):
    page = open_page("/?q=nothing-like-it")
    content = list(images.gif((60, 20)))

    page.evaluate(DROP, ["dragover", "dropped.gif", content])
    assert page.evaluate("document.documentElement.classList.contains('dropping')")
    page.evaluate(DROP, ["drop", "dropped.gif", content])
    page.evaluate(DROP, ["paste", "pasted.gif", content])

    assert page.locator("#chosen li b").all_inner_texts() == ["dropped.gif", "pasted.gif"]
    page.get_by_label("Title of pasted.gif").fill("Pasted")
    page.get_by_role("button", name="Upload").click()
    # These are the results of a search, where a new GIF has no place
    row = page.locator("#progress li", has_text="pasted.gif")
    row.get_by_role("link", name="Show it").click()
    page.get_by_role("heading", name="Pasted").wait_for()


def test_a_link_of_the_page_that_slips_is_no_upload(open_page: Callable[..., Any], stack: Stack):
    stack.finished(stack.upload(images.gif((83, 31)), title="Slippery").json()["id"])
    page = open_page()
    box = card(page, "Slippery").get_by_role("link", name="Slippery").first.bounding_box()

    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 40, box["y"] + 40, steps=4)
    page.mouse.up()

    assert page.locator("[name=remote_image_url]").input_value() == ""
    assert page.locator("#add[open]").count() == 0
    # And the next one, from elsewhere, is one
    page.mouse.move(5, 5)
    page.evaluate(DROP, ["drop", "dropped.gif", list(images.gif((60, 20)))])
    assert page.locator("#chosen li b").all_inner_texts() == ["dropped.gif"]


PASTE = """([text]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(9)], "cells.png", { type: "image/png" }));
    if (text) data.setData("text/plain", text);
    const how = { bubbles: true, cancelable: true, clipboardData: data };
    const event = new ClipboardEvent("paste", how);
    return document.querySelector("[name=title]").dispatchEvent(event);
}"""


def test_a_text_is_pasted_into_its_field_although_a_picture_comes_with_it(
    open_page: Callable[..., Any],
):
    page = open_page()
    open_form(page)

    assert page.evaluate(PASTE, ["A title of a spreadsheet"])  # the browser's own way
    assert page.locator("#chosen li").count() == 0
    assert not page.evaluate(PASTE, [""])
    assert page.locator("#chosen li b").all_inner_texts() == ["cells.png"]


@only_in_ci("a browser; test_browser_details.py logs people out daily")
def test_who_is_logged_out_meanwhile_logs_in_elsewhere_and_tries_again(chromium: Any, stack: Stack):
    # Given a session that ends before an upload
    with chromium.new_context(base_url=str(stack.client.base_url)) as context:
        page = context.new_page()
        page.goto("/")
        refusal = '{"code": "sign_in_first", "detail": "Log in first, or send an API token."}'
        page.route("**/api/gifs", lambda route: route.fulfill(status=401, body=refusal), times=1)
        choose(page, payload("patient.gif", images.gif((61, 23))))

        # I expect to read what people do, and a link that leaves the page as it is
        row = page.locator("#progress li", has_text="patient.gif")
        alert = row.get_by_role("alert")
        assert alert.inner_text() == "Log in first (in a new tab), then try again."
        with context.expect_page() as opened:
            alert.get_by_role("link").click()
        opened.value.get_by_role("heading", name="Log in").wait_for()

        # And the upload to succeed afterwards
        row.get_by_role("button", name="Try again: patient.gif").click()
        card(page, "patient").wait_for()


def test_what_is_typed_is_not_lost(chromium: Any, stack: Stack):
    # Given a title that I have typed
    context = chromium.new_context(base_url=str(stack.client.base_url))
    page = context.new_page()
    page.goto("/")
    open_form(page)
    page.get_by_label("Title", exact=True).fill("A thought of my own")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))

    # When I click a link by mistake, I expect to be asked
    page.get_by_role("link", name="Log in").click()
    eventually(lambda: page.evaluate("1") and asked == ["beforeunload"])
    assert page.get_by_label("Title", exact=True).input_value() == "A thought of my own"

    # And when the upload is refused for one of its fields, I expect all of them back
    refusal = '{"code": "title_invalid", "detail": "The title is odd."}'
    page.route("**/api/gifs", lambda route: route.fulfill(status=422, body=refusal), times=1)
    page.get_by_label("Tags", exact=True).fill("thoughts")
    choose(page, payload("thought.gif", images.gif((65, 20))))
    row = page.locator("#progress li", has_text="thought.gif")
    row.get_by_text("The title is odd.").wait_for()
    row.get_by_role("button", name="Edit: thought.gif").click()
    assert page.get_by_label("Title", exact=True).input_value() == "A thought of my own"
    assert page.get_by_label("Tags", exact=True).input_value() == "thoughts"
    page.get_by_role("button", name="Upload").click()
    card(page, "A thought of my own").wait_for()
    context.close()
