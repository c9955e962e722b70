"""Pages for everybody, in a real Chromium: what axe finds, the keyboard, and where the focus is."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import axe, images
from tests.api.upload_form import open_form
from tests.browser import MOTION
from tests.combinations import only_in_ci
from tests.machine import ALL_EXAMPLES, eventually
from tests.stack import Stack

SIZES = ((1280, 860), (390, 844))
#: A window's size and colour scheme: each of them every day, each with each where it matters.
LOOKS = [
    (size, scheme)
    for size, usual in zip(SIZES, ("light", "dark"), strict=True)
    for scheme in ("light", "dark")
    if ALL_EXAMPLES or scheme == usual
]
BROKEN = b"GIF89a" + bytes(40)


@pytest.fixture(scope="module")
def library(stack: Stack) -> dict[str, str]:
    """A library with pictures of several shapes, one of which fails; and a user."""
    ids = {
        title: stack.upload(content, title=title, tags="shapes, a & b").json()["id"]
        for title, content in (
            ("Wide", images.gif((600, 100), [60] * 4)),
            ("Tall", images.gif((100, 400))),
            ("שלום עולם", images.gif((320, 240))),
            ("Same", images.gif((320, 240))),
        )
    }
    damaged = bytearray(images.still("PNG"))
    at = damaged.index(b"IDAT") + 8
    damaged[at : at + 40] = bytes(40)
    ids["Failed"] = stack.upload(bytes(damaged), title="Failed").json()["id"]
    for gif_id in ids.values():
        stack.finished(gif_id)
    stack.client.post(
        "/api/users",
        json={"email": "eve@example.org", "password": "correct horse", "name": "Eve"},
    )
    bob = {"email": "bob@example.org", "password": "correct horse", "name": "Bob שלום"}
    stack.client.post("/api/users", json=bob)
    return ids


@pytest.fixture
def page(chromium: Any, stack: Stack) -> Iterator[Any]:
    context = chromium.new_context(base_url=str(stack.client.base_url), reduced_motion="reduce")
    yield context.new_page()
    context.close()


def log_in(page: Any) -> None:
    page.goto("/login")
    page.get_by_label("E-mail address").fill("eve@example.org")
    page.get_by_label("Password").fill("correct horse")
    page.get_by_label("Password").press("Enter")
    page.locator(".menu summary").wait_for()


def administer(page: Any, look: Callable[[str], None]) -> None:
    """Look for people as an admin, disable somebody, and invite somebody else."""
    for path in ("/people", "/people?q=nobody", "/invitations"):
        page.goto(path)
        look(path)
    page.get_by_role("button", name="Invite").click()
    page.get_by_label("The link").wait_for()
    look("an invitation")
    page.goto("/people?q=bob")
    page.get_by_role("link", name="Bob").click()
    look("a person")
    page.locator("#to-account ~ form input").fill("gone")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Disable the account").click()
    page.get_by_text("The account is disabled").wait_for()
    look("a disabled person")


def moderate(page: Any, stack: Stack, library: dict[str, str], look: Callable[[str], None]) -> None:
    """Report a GIF, become an admin, hide the GIF, and show it again."""
    page.goto(f"/gifs/{library['Tall']}")
    page.get_by_role("link", name="Report this GIF").click()
    look("the form of a report")
    page.get_by_role("button", name="Report").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    look("a report")
    stack.run("gifster", "admins", "add", "eve@example.org")
    page.goto("/moderation")
    look("reports")
    page.get_by_role("link", name="Tall").click()
    page.locator("#moderate > summary").click()
    look("the form of a moderator")
    page.locator("#moderate textarea").fill("It is too tall")
    page.get_by_role("button", name="Hide").click()
    page.get_by_text("A moderator has hidden this GIF").wait_for()
    look("a hidden GIF")
    for path in ("/moderation", "/moderation/hidden", "/moderation/log"):
        page.goto(path)
        look(path)
    page.goto(f"/gifs/{library['Tall']}")
    page.locator("#moderate > summary").click()
    page.locator("#moderate textarea").fill("It is not too tall")
    page.get_by_role("button", name="Show again").click()
    page.get_by_text("A moderator has hidden this GIF").wait_for(state="detached")


class Looks:
    """What axe finds in pages. Every day it tries all rules, in one colour scheme and size after
    the other. Where it matters, it tries all rules once, and those of colours and sizes in each of
    them."""

    def __init__(self, page: Any) -> None:
        self._page, self._script = page, axe.source()
        self._turns = itertools.cycle(LOOKS)
        self.found: list[str] = []

    def __call__(self, name: str) -> None:
        for (width, height), scheme in LOOKS if ALL_EXAMPLES else [next(self._turns)]:
            self._page.set_viewport_size({"width": width, "height": height})
            self._page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            all_rules = not ALL_EXAMPLES or (width, scheme) == (1280, "light")
            rules = () if all_rules else axe.BY_APPEARANCE
            self.found += [
                f"{name}, {width}, {scheme}: {barrier}"
                for barrier in axe.barriers(self._page, self._script, *rules)
            ]

    def at(self, *paths: str) -> None:
        for path in paths:
            self._page.goto(path)
            self(path)


def test_axe_finds_nothing_on_the_pages_of_everybody(page: Any, library: dict[str, str]):
    look = Looks(page)

    look.at("/", "/login", "/signup", "/gifs/gone")
    if ALL_EXAMPLES:
        look.at("/?q=shapes", "/?q=no-such-thing")
    shapes = library if ALL_EXAMPLES else ("Wide", "Failed")
    look.at(*(f"/gifs/{library[title]}" for title in shapes))
    # What lies over a picture, the form, and a refusal
    page.goto("/")
    page.locator("article h3 a").first.focus()
    look("a card with the focus")
    open_form(page)
    look("the form")
    page.goto("/login")
    page.get_by_label("E-mail address").fill("eve@example.org")
    page.get_by_label("Password").fill("wrong")
    page.get_by_label("Password").press("Enter")
    page.get_by_role("alert").wait_for()
    look("a refusal")

    assert not look.found, "\n".join(look.found)


@only_in_ci("13 pages; those of everybody are looked at daily")
def test_axe_finds_nothing_on_the_pages_of_members(page: Any, library: dict[str, str]):
    look = Looks(page)
    log_in(page)

    look("logged in")
    look.at("/forgot", "/confirm", "/account", "/account/leave", "/logout", "/mine", "/favourites",
            "/trash", "/collections", "/tags", "/api", "/?tag=a+%26+b",
            f"/gifs/{library['Wide']}/edit")  # fmt: skip

    assert not look.found, "\n".join(look.found)


@only_in_ci("twenty pages that few people see")
def test_axe_finds_nothing_on_the_pages_of_moderators_and_admins(
    page: Any, library: dict[str, str], stack: Stack
):
    look = Looks(page)
    log_in(page)

    moderate(page, stack, library, look)
    administer(page, look)

    assert not look.found, "\n".join(look.found)


def test_the_focus_is_visible_wherever_it_is(page: Any, library: dict[str, str]):
    # When I go through the gallery by the Tab key
    page.goto("/")
    seen, unseen = 0, []
    for _ in range(40):
        page.keyboard.press("Tab")
        state = page.evaluate(
            """() => {
                const focused = document.activeElement;
                if (focused === document.body) return null;
                const shown = focused.closest(".card h3") ? focused.closest(".card") : focused;
                const { outlineStyle, outlineWidth, outlineOffset } = getComputedStyle(shown);
                const far = parseFloat(outlineWidth) + parseFloat(outlineOffset);
                const at = shown.getBoundingClientRect();
                const clips = (element) => {
                    if (!element) return false;
                    const within = element.getBoundingClientRect();
                    return (getComputedStyle(element).overflow === "hidden"
                        && (at.left - far < within.left || at.right + far > within.right
                            || at.top - far < within.top || at.bottom + far > within.bottom)
                    ) || clips(element.parentElement);
                };
                return [focused.outerHTML.slice(0, 80), outlineStyle !== "none" && far > 0,
                    !clips(shown.parentElement)];
            }"""
        )
        if state is None:
            break
        seen += 1
        if not (state[1] and state[2] and eventually(lambda: opacity_of_focus(page) == "1")):
            unseen.append(state)

    # I expect to see each time where I am
    assert seen > 10
    assert unseen == [], unseen


def opacity_of_focus(page: Any) -> str:
    found: str = page.evaluate(
        "getComputedStyle(document.activeElement.closest('.about') ?? document.body).opacity"
    )
    return found


def test_the_order_on_the_screen_is_that_of_the_text(page: Any, library: dict[str, str]):
    page.goto("/")
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        places = page.evaluate(
            """[...document.querySelectorAll("#gallery article")].map((card) => {
                const { x, y } = card.getBoundingClientRect();
                return [Math.round(y), Math.round(x)];
            })"""
        )
        assert places == sorted(places)
        assert len({x for _, x in places}) == (2 if width == 390 else len(places))


def test_pictures_keep_their_shapes(page: Any, library: dict[str, str]):
    page.goto("/")
    for title, shape in (("Wide", 600 / 195), ("Tall", 100 / 200), ("שלום עולם", 320 / 240)):
        card = page.locator("article", has_text=title)
        width, height = card.evaluate("card => [card.clientWidth, card.clientHeight]")
        assert width / height == pytest.approx(shape, rel=0.03), title
    # One that is much wider than high is shown whole
    fit = "getComputedStyle(document.querySelector('.odd picture img, .odd video')).objectFit"
    assert page.evaluate(fit) == "contain"


def test_a_title_from_right_to_left_begins_at_the_right(page: Any, library: dict[str, str]):
    page.goto("/")
    title = page.locator("article h3 a", has_text="שלום")
    assert title.evaluate("link => getComputedStyle(link).direction") == "rtl"


def test_the_form_opens_and_closes_by_the_keyboard(
    open_page: Callable[..., Any], library: dict[str, str]
):
    page = open_page()
    button = page.locator("summary", has_text="Add")
    button.focus()
    page.keyboard.press("Enter")
    page.get_by_label("Title", exact=True).fill("typed")

    page.keyboard.press("Escape")

    assert not page.get_by_label("Title", exact=True).is_visible()
    assert page.evaluate("document.activeElement.localName") == "summary"
    # And what I typed is still there
    page.keyboard.press("Enter")
    assert page.get_by_label("Title", exact=True).input_value() == "typed"


SHIFTS = """window.shifts = [];
const moved = ({ node }) => node?.outerHTML?.slice(0, 80);
new PerformanceObserver((list) =>
    shifts.push(...list.getEntries().map(({ value, sources }) => [value, sources.map(moved)])))
    .observe({ type: "layout-shift", buffered: true });"""
#: How much may move while a slow machine still parses the header. A good page stays below 0.1
#: (https://web.dev/articles/cls).
MOST_SHIFT = 0.005


def test_nothing_moves_when_pictures_come(chromium: Any, stack: Stack, library: dict[str, str]):
    context = chromium.new_context(base_url=str(stack.client.base_url), **MOTION)
    context.add_init_script(SHIFTS)
    page = context.new_page()
    # Given pictures that come after the page is there
    held: list[Any] = []
    free: list[bool] = []
    page.route("**/media/**", lambda route: route.continue_() if free else held.append(route))
    page.goto("/", wait_until="domcontentloaded")
    eventually(lambda: page.evaluate("1") and len(held) >= 3)
    assert sum(value for value, _ in page.evaluate("shifts.splice(0)")) < MOST_SHIFT

    free.append(True)
    for route in held:
        route.continue_()
    page.wait_for_load_state("load")
    pictures = "[...document.querySelectorAll('.card picture img')].some((i) => i.naturalWidth > 1)"
    eventually(lambda: page.evaluate(pictures))

    assert page.evaluate("shifts") == []
    context.close()
