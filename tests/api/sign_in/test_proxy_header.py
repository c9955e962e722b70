"""Who a trusted proxy says is logged in, and what others try with its header."""

import pytest

from gifster.app import accounts, tokens
from gifster.app.models import Gif, Token, User
from gifster.app.settings import Settings
from tests.api.sign_in.conftest import Browser, NewSite, new_user

PROXY, ELSEWHERE = "10.1.2.3", "10.2.0.1"
AUTH = {"proxy_header": "Remote-Email", "proxy_addresses": ["10.1.0.0/16", "fd00::7"]}


def name_at(browser: Browser, **headers: str) -> str | None:
    browser.client.headers.update({key.replace("_", "-"): value for key, value in headers.items()})
    return browser.who


def test_the_proxy_logs_people_in(new_site: NewSite, ann: User):
    browser = new_site(**AUTH).browser(PROXY)

    assert name_at(browser, remote_email="ann@example.org") == "ann"
    # For each request anew
    assert name_at(browser, remote_email="ANN@Example.org ") == "ann"
    assert browser.session is None
    assert Token.select().where(Token.kind == "session").count() == 0
    # Somebody new gets an account, once
    assert name_at(browser, remote_email="bob@example.org") == "bob"
    assert name_at(browser, remote_email="bob@example.org") == "bob"
    assert not accounts.has_password(User.get(email="bob@example.org"))
    # Nobody is nobody
    del browser.client.headers["remote-email"]
    assert browser.who is None


@pytest.mark.parametrize(
    "address", [ELSEWHERE, "127.0.0.1", "10.1.2.3.4", "", "fd00::8", "::ffff:10.2.0.1"]
)
def test_nobody_else_does(new_site: NewSite, ann: User, address: str):
    browser = new_site(**AUTH).browser(address)

    headers = {"remote_email": "ann@example.org", "x_forwarded_for": PROXY,
               "forwarded": f"for={PROXY}", "x_real_ip": PROXY}  # fmt: skip
    assert name_at(browser, **headers) is None
    assert User.select().count() == 1


@pytest.mark.parametrize("address", ["fd00::7", "::ffff:10.1.2.3"])
def test_proxies_have_addresses_of_both_kinds(new_site: NewSite, ann: User, address: str):
    assert name_at(new_site(**AUTH).browser(address), remote_email="ann@example.org") == "ann"


def test_without_the_setting_the_header_means_nothing(new_site: NewSite, ann: User):
    assert name_at(new_site().browser(PROXY), remote_email="ann@example.org") is None


def test_a_header_that_the_client_sent_too_is_refused(new_site: NewSite, ann: User):
    # Given a proxy that adds its header to the client's
    site = new_site(**AUTH)
    for pair in (["eve@example.org", "ann@example.org"], ["", "ann@example.org"]):
        browser = site.browser(PROXY)
        answer = browser.get("/", headers=[("Remote-Email", value) for value in pair])
        assert answer.status_code == 400
        assert "let the proxy replace what clients send" in answer.text
    # One that joins them
    joined = site.browser(PROXY).get(
        "/", headers={"Remote-Email": "eve@evil.example, ann@example.org"}
    )
    assert joined.status_code == 403
    # Names with _ are not the header
    other = site.browser(PROXY).get("/", headers={"Remote_Email": "ann@example.org"})
    assert "<summary><bdi>" not in other.text
    assert User.select().count() == 1


@pytest.mark.parametrize(
    "value", ["ann", "ann@intranet", "a" * 300 + "@example.org", "x y@example.org"]
)
def test_a_header_that_is_no_address_logs_nobody_in(new_site: NewSite, value: str):
    answer = new_site(**AUTH).browser(PROXY).get("/", headers={"Remote-Email": value})

    assert answer.status_code == 403
    assert "The proxy sent" in answer.text
    assert User.select().count() == 0


def test_a_header_of_bytes_is_refused(new_site: NewSite):
    browser = new_site(**AUTH).browser(PROXY)

    assert browser.get("/", headers={"Remote-Email": b"\xff@example.org"}).status_code == 400


def test_the_proxy_goes_before_a_session_and_a_token_before_the_proxy(new_site: NewSite, ann: User):
    # Given a browser in which Ann has logged in by password; now Bob uses it
    new_user("bob")
    site = new_site(**AUTH)
    browser = site.with_password_of(ann, PROXY)
    assert browser.who == "ann"
    assert name_at(browser, remote_email="bob@example.org") == "bob"

    # And a program with Ann's token
    secret = tokens.create_token(ann, "t", "admin")[1]
    headers = {"Authorization": f"Bearer {secret}", "Remote-Email": "bob@example.org"}
    made = site.browser(PROXY).post("/api/tokens", json={"name": "more"}, headers=headers)
    assert made.status_code == 201
    assert Token.get(name="more").user_id == ann.id
    headers["Authorization"] = "Bearer wrong"
    assert site.browser(PROXY).get("/api/tokens", headers=headers).status_code == 401


def test_an_account_that_nobody_has_confirmed_is_given_to_its_owner(new_site: NewSite):
    """A colleague may have signed up with the address before."""
    site = new_site(**AUTH)
    colleague = site.browser()
    made = colleague.post("/signup", {"email": "ann@example.org", "password": "correct horse"})
    assert made.status_code == 303
    user = User.get(email="ann@example.org")
    secret = tokens.create_token(user, "t", "admin")[1]

    assert name_at(site.browser(PROXY), remote_email="ann@example.org") == "ann"

    assert colleague.who is None
    assert colleague.log_in("ann@example.org").status_code == 403
    bearer = {"Authorization": f"Bearer {secret}"}
    assert colleague.get("/api/tokens", headers=bearer).status_code == 401
    assert User.get_by_id(user.id).confirmed_at is not None


def test_groups_of_the_proxy(new_site: NewSite, ann: User):
    browser = new_site(**AUTH, proxy_groups_header="Remote-Groups", allowed_groups=["staff"],
                       admin_groups=["ops"]).browser(PROXY)  # fmt: skip

    def role(groups: str) -> tuple[int, bool]:
        answer = browser.get("/", headers={"Remote-Email": ann.email, "Remote-Groups": groups})
        return answer.status_code, User.get_by_id(ann.id).is_admin

    assert role("staff , ops") == (200, True)
    assert role("staff") == (200, False)
    assert role("ops") == (403, False)
    assert role("") == (403, False)
    twice = [("Remote-Email", ann.email), ("Remote-Groups", "staff"), ("Remote-Groups", "ops")]
    assert browser.get("/", headers=twice).status_code == 400


def test_a_disabled_account_is_closed_at_once(new_site: NewSite, ann: User):
    browser = new_site(**AUTH).browser(PROXY)
    assert name_at(browser, remote_email=ann.email) == "ann"

    accounts.disable(ann)

    answer = browser.get("/")
    assert (answer.status_code, "This account is disabled" in answer.text) == (403, True)


def test_members_alone_see_the_library_behind_the_proxy(new_site: NewSite, ann: User):
    site = new_site(**AUTH, read="members")

    assert site.browser(PROXY).get("/").headers["location"] == "/login"
    assert site.browser(PROXY).get("/", headers={"Remote-Email": ann.email}).status_code == 200
    stranger = {"Remote-Email": ann.email, "Accept": "*/*"}
    assert site.browser(ELSEWHERE).get("/", headers=stranger).status_code == 401
    assert site.browser(ELSEWHERE).get("/media/gifs/x/y.gif", headers=stranger).status_code == 401


def test_another_site_does_nothing_in_the_name_of_whom_the_proxy_has_logged_in(
    new_site: NewSite, ann: User, gif: bytes
):
    browser = new_site(**AUTH, anonymous_uploads=True).browser(PROXY)
    evil = {"Remote-Email": ann.email, "Origin": "https://evil.example"}

    assert browser.post("/api/tokens", json={"name": "a"}, headers=evil).status_code == 403
    # The drop-in API is open to all sites, and knows nobody
    answer = browser.post("/v1/gifs", json={}, headers=evil)
    assert answer.status_code == 403
    assert Gif.select().count() == 0


def test_people_of_the_proxy_make_tokens(new_site: NewSite, ann: User, booted: Settings):
    browser = new_site(**AUTH).browser(PROXY)
    headers = {"Remote-Email": ann.email}

    made = browser.post("/api/tokens", json={"name": "script"}, headers=headers)

    assert made.status_code == 201
    listed = browser.get("/api/tokens", headers=headers).json()["items"]
    assert [(token["name"], token["current"]) for token in listed] == [("script", False)]
