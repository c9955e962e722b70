"""The mounted jobs' page in a real Chromium, below a prefix of a WSGI and of an ASGI server."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from werkzeug.serving import WSGIRequestHandler, make_server

from gifster.jobs import Job
from tests.jobs.page.conftest import database
from tests.jobs.page.mounted import MOUNT, add, application, states
from tests.machine import ALL_EXAMPLES, eventually, free_port

__all__ = ["database"]


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@contextmanager
def serving(kind: str, app: Any) -> Iterator[str]:
    """The URL at which an application is served, by the server that its framework recommends for
    development."""
    port = free_port()
    if kind == "wsgi":
        server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet)
        run, stop = server.serve_forever, server.shutdown
    else:
        asgi = uvicorn.Server(
            uvicorn.Config(app, "127.0.0.1", port, log_level="warning", lifespan="off")
        )
        run, stop = asgi.run, lambda: setattr(asgi, "should_exit", True)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        if kind == "asgi":
            eventually(lambda: asgi.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop()
        thread.join()


@dataclass
class Site:
    """A server with the page, and browsers that look at it."""

    url: str
    browser: Any
    #: Whether the person may see the page.
    allowed: list[bool] = field(default_factory=lambda: [True])
    errors: list[str] = field(default_factory=list)
    contexts: list[Any] = field(default_factory=list)

    def open(self, query: str = "", **options: Any) -> Any:
        """The page, opened at the mount without a slash."""
        context = self.browser.new_context(base_url=self.url, **options)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(MOUNT + query)
        return page


def served_by(usual: str) -> Any:
    """A test for both kinds of servers: on one of them every day, on each where it matters."""
    kinds = ["wsgi", "asgi"] if ALL_EXAMPLES else [usual]
    return pytest.mark.parametrize("site", kinds, indirect=True)


@pytest.fixture
def site(request: pytest.FixtureRequest, database: Any, chromium: Any) -> Iterator[Site]:
    made = Site("", chromium)
    app = application(request.param, lambda request: made.allowed[0], site="Shop", home_url="/")
    with serving(request.param, app) as made.url:
        yield made
        for context in made.contexts:
            context.close()
    assert [error for error in made.errors if "status of 403" not in error] == []


@served_by("wsgi")
def test_the_page_updates_itself_and_the_keyboard_works(site: Site):
    # Given an open page
    page = site.open()
    assert page.url == f"{site.url}{MOUNT}/"
    page.evaluate("window.notReloaded = true")

    # When a job dies, I expect it to appear, with its traceback
    job_id = add("charge", "order 7", dead="LookupError: no <b>order 7</b>")
    row = page.get_by_role("region", name="Dead").get_by_role("row", name=re.compile("order 7"))
    row.wait_for()
    row.get_by_text("Error and traceback").click()
    assert "no <b>order 7</b>" in row.locator("pre").inner_text()

    # And the focus and the open traceback to stay when another one dies
    row.get_by_role("button", name="Retry").focus()
    add("charge", "order 8", dead="x")
    page.get_by_role("row", name=re.compile("order 8")).wait_for()
    assert row.locator("pre").is_visible()
    assert page.evaluate("document.activeElement.id") == f"retry-{job_id}"
    assert page.evaluate("window.notReloaded") is True

    # And the button to work
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("The job was sent to the workers.").wait_for()
    assert states()[job_id] == "waiting"
    # And the question before all are deleted to be asked once
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    page.get_by_role("button", name="Delete all").hover()
    page.mouse.down()  # it counts although the list changes while it is held
    add("charge", "order 9", dead="x")
    for _ in range(2):  # the first look may have begun before
        with page.expect_response(lambda response: True):
            pass
    page.mouse.up()
    page.get_by_text("All dead jobs were deleted.").wait_for()
    assert asked == ["Delete all dead jobs?"]


@pytest.mark.parametrize("site", ["asgi"], indirect=True)
def test_chosen_jobs_stay_chosen_while_the_list_updates_itself(site: Site):
    first, second = add("charge", 1, dead="x"), add("charge", 2, dead="x")
    page = site.open("?state=dead")
    page.get_by_label("Text").fill("cha")
    page.get_by_label(f"Choose charge {first}").check()

    add("charge", 3, dead="x")
    page.get_by_role("row", name=re.compile(r"\(3\)")).wait_for()
    assert page.get_by_label(f"Choose charge {first}").is_checked()
    assert page.get_by_label("Text").input_value() == "cha"

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete chosen").click()
    page.get_by_text("The chosen jobs were deleted.").wait_for()
    assert first not in states()
    assert second in states()


@served_by("asgi")
def test_everything_works_without_javascript(site: Site):
    found, other = add("charge", "Zoë", dead="x", queue="money"), add("greet", dead="x")
    page = site.open(java_script_enabled=False, viewport={"width": 360, "height": 800})
    queues = page.get_by_role("region", name="Queues")

    queues.get_by_role("button", name="Pause money").click()
    queues.get_by_text("paused").wait_for()
    queues.get_by_role("button", name="Resume money").click()
    page.get_by_text("The queue is running again.").wait_for()

    page.get_by_role("link", name="Show all, search Dead").click()
    page.get_by_label("Queue").select_option("money")
    page.get_by_label("Text").fill("Zoë")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("button", name="Retry these").wait_for()
    assert page.get_by_role("row", name=re.compile("greet")).count() == 0
    page.get_by_label(f"Choose charge {found}").check()
    page.get_by_role("button", name="Retry chosen").click()
    page.get_by_text("No job is like that.").wait_for()
    assert states() == {found: "waiting", other: "dead"}
    page.get_by_role("link", name="Show all").click()
    page.get_by_role("link", name="Back to all jobs").click()
    page.get_by_role("heading", name="Queues").wait_for()


@served_by("wsgi")
def test_without_javascript_the_server_asks_before_it_deletes(site: Site):
    waiting, kept = add("charge", "Zoë", queue="money"), add("greet")
    page = site.open(java_script_enabled=False, viewport={"width": 320, "height": 800})

    # With the keyboard alone: the link leads back, the button deletes
    page.get_by_role("button", name="Clear money").press("Enter")
    page.get_by_role("heading", name="Delete all waiting jobs of the queue money?").wait_for()
    page.get_by_role("link", name="Keep it").press("Enter")
    page.get_by_role("row", name=re.compile("Zoë")).wait_for()
    assert set(states()) == {waiting, kept}
    page.get_by_role("button", name="Delete these").press("Enter")
    page.get_by_role("button", name="Delete").press("Enter")
    page.get_by_text("The waiting jobs of this list were deleted.").wait_for()
    assert set(states()) == {kept}

    page.get_by_role("link", name="Back to all jobs").click()
    page.get_by_role("button", name="Delete greet").press("Enter")
    page.get_by_text("greet in the queue default").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.get_by_role("button", name="Delete").press("Enter")
    page.get_by_text("The job was deleted.").wait_for()
    assert states() == {}


@pytest.mark.parametrize("site", ["wsgi"], indirect=True)
def test_the_browser_asks_before_a_waiting_job_is_deleted(site: Site):
    kept, deleted = add("greet", 1), add("greet", 2)
    page = site.open("?state=waiting")
    answers = [False, True]
    page.on("dialog", lambda dialog: dialog.accept() if answers.pop(0) else dialog.dismiss())

    for job_id in (kept, deleted):
        page.locator(f"#delete-{job_id}").click()
    page.get_by_text("The job was deleted.").wait_for()

    assert states() == {kept: "waiting"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("site", ["wsgi"], indirect=True)
def test_text_has_contrast_and_nothing_is_wider_than_the_window(site: Site, scheme: str):
    add("charge", "a" * 300, dead="b" * 300, queue="c" * 200)
    add("greet")

    page = site.open("?state=dead", color_scheme=scheme)
    addresses = page.url, f"{MOUNT}/"
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        for address in addresses:
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CONTRASTS) >= 4.5


#: The smallest contrast of a text with the ground behind it (WCAG 2.2, 1.4.3).
CONTRASTS = """() => {
  const numbers = (color) => color.match(/[0-9.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = numbers(color).map((part) => part / 255).map(
      (part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (numbers(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const hasText = (element) => [...element.childNodes].some(
    (node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  const texts = [...document.querySelectorAll("body *")].filter(
    (element) => element.checkVisibility() && hasText(element));
  return Math.min(...texts.map((element) => {
    const pair = [light(getComputedStyle(element).color), light(ground(element))];
    return (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
  }));
}"""


@pytest.mark.parametrize("site", ["asgi"], indirect=True)
def test_the_page_says_when_its_person_is_logged_out(site: Site):
    page = site.open()

    site.allowed[0] = False

    page.get_by_text("You are not logged in any more.").wait_for()
    with Job._meta.database.connection_context():
        assert Job.select().count() == 0
