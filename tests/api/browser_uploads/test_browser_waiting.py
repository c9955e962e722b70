"""Pages that wait, in a real Chromium: whatever happens meanwhile, they do not wait forever."""

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests import images
from tests.api.upload_form import payload
from tests.combinations import only_in_ci
from tests.machine import ALL_EXAMPLES, eventually, reaches, signal_group
from tests.stack import Stack

WEB: dict[str, str] = {}
SMALL = images.gif((16, 12), [50] * 2)
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


@dataclass
class Site:
    """A stack without GIFs, whose web server runs and whose workers do not yet; and a browser."""

    stack: Stack
    context: Any

    def open(self, path: str = "/") -> Any:
        page = self.context.new_page()
        page.goto(path)
        page.evaluate("window.notReloaded = true")
        return page

    def upload(self, title: str, content: bytes = SMALL) -> str:
        return self.stack.upload(content, title=title).json()["id"]

    def delete(self, gif_id: str) -> None:
        assert self.stack.client.delete(f"/api/gifs/{gif_id}").status_code == 204

    def kill_web(self) -> None:
        [web] = [process for process in self.stack.processes if "web" in process.args]
        self._kill(web)

    def empty(self) -> None:
        """Leave no worker, and no GIF, to the next test."""
        if not self.stack.answers():
            self.stack.start_web()
        for process in self.stack.processes[:]:
            if "web" not in process.args:
                self._kill(process)
        while found := self.stack.client.get("/api/gifs").json()["items"]:
            for gif in found:
                self.delete(gif["id"])

    def _kill(self, process: Any) -> None:
        signal_group(process, signal.SIGKILL)
        process.wait()
        self.stack.processes.remove(process)


@pytest.fixture
def site(chromium: Any, web: Stack) -> Iterator[Site]:
    with chromium.new_context(base_url=str(web.client.base_url)) as context:
        made = Site(web, context)
        yield made
    made.empty()


def requests_of(page: Any) -> list[str]:
    made: list[str] = []
    page.on("request", lambda request: made.append(f"{request.method} {request.url}"))
    return made


#: So many cards are more than a request of the page's names: of its script as it is where it
#: matters, of one with a smaller number every day.
AT_ONCE = 100 if ALL_EXAMPLES else 8
MANY = AT_ONCE + 10


def with_requests_for(most: int, route: Any) -> None:
    answer = route.fetch()
    script = answer.text()
    assert "AT_ONCE = 100;" in script
    route.fulfill(response=answer, body=script.replace("AT_ONCE = 100;", f"AT_ONCE = {most};"))


@pytest.mark.long
def test_all_of_many_cards_finish(site: Site):
    # Given files chosen at once, more than a request names, and no worker
    began = time.monotonic()
    if not ALL_EXAMPLES:
        site.context.route("**/cards.js", lambda route: with_requests_for(AT_ONCE, route))
    page = site.open()
    requests = requests_of(page)
    page.get_by_label("Choose a GIF").set_input_files(
        [payload(f"{number}.gif", SMALL) for number in range(MANY)]
    )
    page.get_by_role("button", name="Upload").click()
    waiting = page.locator("article[data-state=queued]")
    reaches(MANY, waiting.count)

    # When a worker starts
    site.stack.start_worker()

    # I expect each card to get its picture, without a reload
    done = page.locator("article[data-state=ready]")
    reaches(MANY, done.count)
    assert page.locator("#gallery article .blank").count() == 0
    assert page.locator("#gallery .state:not(.same)").count() == 0
    assert page.evaluate("window.notReloaded") is True
    # … with a request for each upload at most, about one each half second, and then no more
    assert sum("/api/gifs" in request for request in requests) == MANY
    asked = sum("/cards" in request for request in requests)
    assert asked <= MANY + 2 * (time.monotonic() - began)
    page.wait_for_timeout(600)  # longer than the pause between two requests
    assert sum("/cards" in request for request in requests) == asked
    assert not any("/events" in request or request.endswith("/card") for request in requests)


def test_the_card_of_a_deleted_gif_passes_the_focus_on(site: Site):
    site.upload("Stays")
    gone = site.upload("Goes")
    page = site.open()
    card = page.locator("article", has_text="Goes")
    card.get_by_role("link", name="Goes").focus()

    site.delete(gone)

    card.wait_for(state="detached")
    assert page.evaluate("document.activeElement.textContent") == "Stays"


def test_a_card_that_changes_keeps_the_focus_and_is_announced_once(site: Site):
    gif_id = site.upload("Focused")
    page = site.open()
    page.locator("article h3 a").focus()

    site.stack.start_worker()

    page.get_by_role("img", name="Focused").wait_for()
    page.locator("#told", has_text="“Focused” is ready.").wait_for(state="attached")
    focused = page.evaluate("[document.activeElement.closest('h3')?.textContent]")
    assert focused == ["Focused"]
    # A screen reader reads only that, however many cards change
    assert page.locator("article [role=status]:not([aria-live=off])").count() == 0
    site.delete(gif_id)


def test_a_page_survives_a_restart_of_the_server(site: Site):
    # Given a page that waits, and a server that dies
    site.upload("Patient")
    page = site.open()
    site.kill_web()

    # I expect the page to say that it may be out of date, as it is in a moment
    lost = page.locator("#lost", has_text="Gifster does not answer.")
    lost.wait_for()

    # And to be right again once there is a server
    site.stack.start_worker()
    site.stack.start_web()
    page.get_by_role("img", name="Patient").wait_for()
    assert lost.count() == 0
    assert page.evaluate("window.notReloaded") is True


def test_a_page_catches_up_after_a_sleep(site: Site):
    # Given a page without a network, as after a laptop's sleep, while its GIFs change
    asleep, gone = site.upload("Asleep"), site.upload("Gone")
    page = site.open()
    site.context.set_offline(True)
    site.stack.start_worker()
    site.stack.finished(asleep)
    site.delete(gone)

    site.context.set_offline(False)

    page.get_by_role("img", name="Asleep").wait_for()
    page.locator("article", has_text="Gone").wait_for(state="detached")


def test_a_hidden_tab_sends_no_requests_and_catches_up(site: Site):
    # Given a tab that is hidden while all kinds of things happen
    site.stack.start_worker()
    damaged = bytearray(images.still("PNG"))
    at = damaged.index(b"IDAT") + 8
    damaged[at : at + 40] = bytes(40)
    failed = site.upload("Failed", bytes(damaged))
    assert site.stack.finished(failed)["state"] == "failed"
    ready, gone = site.upload("Replaced"), site.upload("Gone")
    before = site.stack.finished(ready)["image"]["sha256"]
    page = site.open()
    page.locator("article", has_text="Gone").wait_for()
    page.evaluate(HIDE, True)
    requests = requests_of(page)
    for gif_id, content in ((ready, images.gif((40, 30))), (failed, SMALL)):
        files = {"image": ("b.gif", content, "image/gif")}
        assert site.stack.client.put(f"/api/gifs/{gif_id}/image", files=files).status_code == 202
        eventually(lambda gif_id=gif_id: site.stack.gif(gif_id)["state"] == "ready")
    site.delete(gone)
    assert requests == []

    # When somebody looks at it again
    page.evaluate(HIDE, False)

    # I expect it to show all present states, also of GIFs that had finished before
    page.locator("article", has_text="Gone").wait_for(state="detached")
    page.get_by_role("img", name="Failed").wait_for()
    replaced = page.locator("article", has_text="Replaced")
    eventually(lambda: replaced.get_attribute("data-image") not in (None, before))


@only_in_ci("eight tabs; the others wait in one daily")
def test_many_tabs_leave_room_for_one_more(site: Site):
    # Given more waiting tabs than a browser has connections to one server
    site.upload("Everywhere")
    tabs = [site.open() for _ in range(8)]

    # I expect another page to open all the same, and each tab to finish
    site.open("/login")
    site.stack.start_worker()
    for tab in tabs:
        tab.get_by_role("img", name="Everywhere").wait_for()


def test_the_page_of_a_gif_follows_without_a_reload(site: Site):
    gif_id = site.upload("Alone")
    page = site.open(f"/gifs/{gif_id}")
    page.get_by_role("button", name="Delete").focus()
    site.kill_web()
    page.locator("#lost", has_text="Gifster does not answer.").wait_for()
    site.stack.start_worker()
    site.stack.start_web()

    page.locator("video[aria-label=Alone]").wait_for()
    assert page.evaluate("window.notReloaded") is True
    assert page.evaluate("document.activeElement.textContent") == "Delete"

    # And it says so when the GIF is gone
    site.delete(gif_id)
    page.evaluate(HIDE, True)
    page.evaluate(HIDE, False)
    page.get_by_role("alert").get_by_text(f"There is no GIF {gif_id}.").wait_for()


def test_an_answer_that_never_comes_does_not_stop_the_page(site: Site):
    # Given a connection that has died silently
    site.upload("Through")
    page = site.context.new_page()
    page.clock.install()
    never: list[Any] = []

    def hold(route: Any) -> None:
        never.append(route)

    page.route("**/cards", hold, times=1)
    page.goto("/")
    eventually(lambda: page.evaluate("1") and never)
    site.stack.start_worker()

    # When its time is over
    page.clock.fast_forward(25_000)

    # I expect the page to ask again
    def shown() -> bool:
        page.clock.fast_forward(1000)
        return page.get_by_role("img", name="Through").count() == 1

    eventually(shown)
