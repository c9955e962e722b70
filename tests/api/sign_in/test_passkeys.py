"""Passkeys, in a real Chromium with its virtual authenticator; and what somebody tries without
one."""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gifster.app.sign_in import passkeys
from gifster.app.sign_in.passkeys import domain
from tests import axe
from tests.api.sign_in.conftest import PASSWORD
from tests.combinations import only_in_ci
from tests.machine import ALL_EXAMPLES, eventually
from tests.stack import Stack

WEB = {"GIFSTER_AUTH__ANONYMOUS_UPLOADS": "false"}


class Person:
    """Somebody with a browser and an authenticator of their own."""

    def __init__(self, chromium: Any, web: Stack, name: str, *, verifies: bool = True) -> None:
        self.web, self.email = web, f"{name}@example.org"
        body = {"email": self.email, "password": PASSWORD, "name": name}
        web.client.post("/api/users", json=body)
        with sqlite3.connect(web.var / "gifster.db") as database:
            database.execute('UPDATE "user" SET confirmed_at = 1 WHERE email = ?', [self.email])
        # WebAuthn needs a name: localhost, without https.
        self.context = chromium.new_context(base_url=f"http://localhost:{web.port}")
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.cdp = self.context.new_cdp_session(self.page)
        self.cdp.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
            "hasUserVerification": verifies, "isUserVerified": verifies,
            "automaticPresenceSimulation": True,
        }  # fmt: skip
        self.authenticator = self.cdp.send(
            "WebAuthn.addVirtualAuthenticator", {"options": options}
        )["authenticatorId"]

    def log_in(self) -> None:
        self.page.goto("/login")
        self.page.get_by_label("E-mail address").fill(self.email)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in", exact=True).click()

    def log_out(self) -> None:
        self.page.goto("/logout")
        self.page.get_by_role("main").get_by_role("button", name="Log out", exact=True).click()
        self.page.get_by_role("link", name="Log in", exact=True).wait_for()

    def add_passkey(self, name: str) -> None:
        self.page.goto("/account/sign-in")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_role("button", name="Add a passkey").click()
        self.page.locator("li", has_text=name).wait_for()

    def credentials(self) -> list[dict[str, Any]]:
        found = self.cdp.send("WebAuthn.getCredentials", {"authenticatorId": self.authenticator})
        return list(found["credentials"])

    def is_logged_in(self) -> bool:
        self.page.goto("/")
        return bool(self.page.locator("summary bdi").count())


@pytest.fixture
def person(chromium: Any, web: Stack) -> Iterator[Callable[..., Person]]:
    made = []

    def make(name: str, **options: Any) -> Person:
        made.append(Person(chromium, web, name, **options))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
        assert one.errors == []


def test_a_passkey_is_the_second_factor_and_logs_in_alone(person: Callable[..., Person]):
    # Given Ann, who adds a passkey
    ann = person("ann")
    ann.log_in()
    ann.page.locator("summary bdi").wait_for()
    ann.add_passkey("My laptop")
    assert "You have no recovery codes" in ann.page.content()
    [credential] = ann.credentials()
    assert credential["rpId"] == "localhost"
    ann.log_out()

    # When she logs in with her password, I expect to be asked for it
    ann.log_in()
    ann.page.get_by_role("heading", name="One more step").wait_for()
    assert not ann.is_logged_in()
    ann.page.goto("/login/second-factor?next=/tags")
    ann.page.get_by_role("button", name="Use a passkey").click()
    ann.page.wait_for_url(f"http://localhost:{ann.web.port}/tags")
    assert ann.is_logged_in()
    ann.log_out()

    # And the passkey alone is enough, as it checks who holds the device
    ann.page.goto("/login?next=/tags")
    ann.page.get_by_role("button", name="Log in with a passkey").click()
    ann.page.wait_for_url(f"http://localhost:{ann.web.port}/tags")
    assert ann.is_logged_in()

    # When she removes it, it does not log in any more
    ann.page.goto("/account/sign-in")
    ann.page.on("dialog", lambda dialog: dialog.accept())
    ann.page.get_by_role("button", name="Remove My laptop").click()
    if ann.page.locator("dialog[open]").count():
        ann.page.locator("dialog[open]").get_by_role("button").last.click()
    eventually(lambda: ann.page.locator("li", has_text="My laptop").count() == 0)
    ann.log_out()
    ann.page.goto("/login")
    ann.page.get_by_role("button", name="Log in with a passkey").click()
    ann.page.get_by_text("This passkey does not log in here").wait_for()
    assert not ann.is_logged_in()


@only_in_ci("one more key; the first test logs in by one daily")
def test_a_security_key_that_checks_nobody_needs_the_password(person: Callable[..., Person]):
    bob = person("bob", verifies=False)
    bob.log_in()
    bob.page.locator("summary bdi").wait_for()
    bob.add_passkey("Key")
    bob.log_out()

    bob.log_in()
    bob.page.get_by_role("button", name="Use a passkey").click()
    bob.page.locator("summary bdi").wait_for()
    bob.log_out()

    bob.page.goto("/login")
    bob.page.get_by_role("button", name="Log in with a passkey").click()
    alert = bob.page.locator("[data-passkey-error]")
    alert.wait_for()
    assert not bob.is_logged_in()


@only_in_ci("two people; the first test logs one in daily")
def test_answers_are_used_once_and_by_their_own_user(person: Callable[..., Person], web: Stack):
    """Answers that an authenticator has really given, sent by somebody else."""
    cat, dan = person("cat"), person("dan")
    for one in (cat, dan):
        one.log_in()
        one.page.locator("summary bdi").wait_for()
        one.add_passkey("Key")
        one.log_out()
    # Given an answer of Cat's, which somebody has copied, with her browser's cookies of that moment
    cat.page.goto("/login")
    sent: list[dict[str, Any]] = []
    cat.page.on("request", lambda request: sent.append(
        {"body": request.post_data, "cookie": request.all_headers().get("cookie", "")}
    ) if request.url.endswith("/login/passkey") else None)  # fmt: skip
    with cat.page.expect_response("**/login/passkey"):
        cat.page.get_by_role("button", name="Log in with a passkey").click()
    cat.page.locator("summary bdi").wait_for()
    [copy] = sent
    address = f"http://localhost:{web.port}"

    def post(body: str | None, cookie: str) -> httpx.Response:
        headers = {"Cookie": cookie, "Content-Type": "application/json"}
        return httpx.post(f"{address}/login/passkey", content=body or "", headers=headers)

    again = post(copy["body"], copy["cookie"])
    assert (again.status_code, again.json()["code"]) == (403, "passkey_expired")
    assert "gifster_session" not in again.headers.get("set-cookie", "")
    # … nor with a challenge of one's own
    with httpx.Client(base_url=address) as eve:
        eve.post("/login/passkey/options")
        jar = "; ".join(f"{name}={value}" for name, value in eve.cookies.items())
        assert post(copy["body"], jar).json()["code"] == "passkey_refused"
    # … nor as Dan's second factor
    with httpx.Client(base_url=address) as eve:
        eve.post("/login", data={"email": dan.email, "password": PASSWORD})
        options = eve.post("/login/passkey/options").json()
        assert len(options["allowCredentials"]) == 1
        jar = "; ".join(f"{name}={value}" for name, value in eve.cookies.items())
        assert "gifster_step" in jar
        assert post(copy["body"], jar).json()["code"] == "passkey_refused"


def test_a_stranger_learns_nothing_and_sends_rubbish(web: Stack):
    address = f"http://localhost:{web.port}"
    with httpx.Client(base_url=address) as eve:
        options = eve.post("/login/passkey/options").json()
        assert options["allowCredentials"] == []
        assert options["userVerification"] == "required"
        rubbish: list[tuple[Any, int]] = [
            ({}, 422), ({"credential": 3}, 422), ({"credential": {}}, 403),
            ({"credential": {"id": "ä"}}, 403), ({"credential": {"id": "a" * 5000}}, 403),
            ({"credential": {"id": ["a"]}}, 403), ([], 422),
        ]  # fmt: skip
        for body, status in rubbish:
            eve.post("/login/passkey/options")
            answer = eve.post("/login/passkey", json=body)
            assert answer.status_code == status, (body, answer.text)
        eve.post("/login/passkey", json={"credential": {}})
        answer = eve.post("/login/passkey", json={"credential": {}})
        assert answer.json()["code"] == "passkey_expired"
        elsewhere = {"Origin": "https://evil.example"}
        assert eve.post("/login/passkey/options", headers=elsewhere).status_code == 403
        assert eve.post("/account/sign-in/passkeys", json={}).status_code == 303


def test_passkeys_are_bound_to_a_name_that_browsers_trust():
    assert domain("https://gifs.example.org") == "gifs.example.org"
    assert domain("http://localhost:8000") == "localhost"
    for origin in ("http://127.0.0.1:8000", "http://[::1]:8000"):
        with pytest.raises(passkeys.Invalid) as refused:
            domain(origin)
        assert refused.value.code == "passkeys_need_a_name"
    with pytest.raises(passkeys.Invalid, match="such as http://localhost:8931 on this machine"):
        domain("http://127.0.0.1:8931")
    for origin in ("http://gifs.lan:8000", "http://notlocalhost", "http://localhost.example.org"):
        with pytest.raises(passkeys.Invalid, match=f"need https, and .* is {origin}") as refused:
            domain(origin)
        assert refused.value.code == "passkeys_need_https"
    for origin in ("http://localhost:8000", "http://gifs.localhost", "https://gifs.lan"):
        assert not passkeys.why_none(origin)
    assert "need an address with a name" in passkeys.why_none("http://127.0.0.1:8931")


@only_in_ci("four pages that change seldom")
def test_axe_finds_nothing_on_these_pages(person: Callable[..., Person]):
    fay, script, found = person("fay"), axe.source(), []
    fay.log_in()
    fay.page.locator("summary bdi").wait_for()
    fay.add_passkey("Key")

    def look(name: str) -> None:
        for scheme in ("light", "dark"):
            fay.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            rules = () if ALL_EXAMPLES or scheme == "light" else axe.BY_APPEARANCE
            found.extend(f"{name}: {b}" for b in axe.barriers(fay.page, script, *rules))

    look("how somebody logs in")
    fay.page.get_by_role("button", name="Make new ones").click()
    fay.page.get_by_role("heading", name="Recovery codes").wait_for()
    look("recovery codes")
    # In a narrow window they are in one column, each in one line, and one button copies them
    fay.page.set_viewport_size({"width": 390, "height": 800})
    boxes = [code.bounding_box() for code in fay.page.locator(".codes code").all()]
    assert len({box["x"] for box in boxes}) == 1
    assert max(box["height"] for box in boxes) < 30
    fay.page.get_by_role("button", name="Copy the codes").click()
    fay.page.locator("#told").get_by_text("Copied.", exact=True).wait_for()
    fay.page.goto("/account/sign-in")
    fay.page.get_by_role("button", name="Set up an app").click()
    fay.page.get_by_role("heading", name="Authenticator app").wait_for()
    look("an app to set up")
    fay.log_out()
    fay.log_in()
    fay.page.get_by_role("heading", name="One more step").wait_for()
    look("the second factor")
    assert found == []
