"""Logging in by a sign-in service: with a provider that is no work of ours, and who gets which
account."""

import re
from urllib.parse import quote

import httpx
import pytest

from gifster.app import accounts
from gifster.app.models import User
from gifster.app.moderation.log import ModerationEntry
from gifster.app.moderation.roles import Role, role_of
from gifster.app.sign_in import identities
from gifster.app.sign_in.tables import Identity
from tests.api.sign_in.conftest import (
    PASSWORD,
    Browser,
    NewSite,
    Site,
    begin_link,
    come_back,
    new_user,
    refused,
)
from tests.api.sign_in.service import Service


def by_the_provider(browser: Browser, path: str, subject: str, **claims: object) -> httpx.Response:
    """Log in at the mock, as a person does with its form, and come back."""
    begun = browser.get(path)
    assert begun.status_code == 303, begun.text
    url = begun.headers["location"]
    issuer = url.partition("/oauth2/")[0]
    httpx.put(f"{issuer}/users/{quote(subject)}", json=claims).raise_for_status()
    sent = httpx.post(url, data={"sub": subject})
    assert sent.status_code == 302, sent.text
    return browser.get(sent.headers["location"].removeprefix("http://localhost"))


def test_a_newcomer_logs_in_by_a_real_provider(new_site: NewSite, provider: str):
    # Given a library that takes no passwords
    site = new_site({"issuer": provider, "client_id": "gifster", "client_secret": "x",
                     "name": "Example ID"}, passwords=False)  # fmt: skip
    browser = site.browser()
    page = browser.get("/login?next=/tags").text
    assert "Log in with Example ID" in page
    assert 'type="password"' not in page

    # When somebody comes by the service
    claims = {"email": "Eve@Example.org", "email_verified": True, "name": "Eve Ω"}
    answer = by_the_provider(browser, "/login/oidc?next=/tags", "eve-1", **claims)

    # I expect that they have an account, are logged in, and are where they wanted to go
    assert (answer.status_code, answer.headers["location"]) == (303, "/tags")
    user = User.get(email="eve@example.org")
    assert browser.who == "Eve Ω"
    assert user.confirmed_at is not None
    assert not accounts.has_password(user)
    # … and that the next time they are the same user, whatever their address is then
    other = site.browser()
    by_the_provider(other, "/login/oidc", "eve-1", email="else@example.org")
    assert other.who == "Eve Ω"
    [identity] = identities.of(user)
    assert (identity.issuer, identity.subject) == (provider, "eve-1")
    assert identity.last_used_at is not None


def test_nobody_logs_in_who_was_not_let_in(new_site: NewSite, provider: str):
    browser = new_site({"issuer": provider, "client_id": "gifster"}).browser()
    url = browser.get("/login/oidc").headers["location"]

    sent = httpx.post(url, data={"action": "deny"})
    state = re.search("state=([^&]+)", url)[1]
    back = sent.headers["location"].removeprefix("http://localhost")
    if "state=" not in back:  # the mock leaves it out, which RFC 6749 does not allow
        back += f"&state={state}"

    assert refused(browser.get(back), 403, "You have not been let in there.")
    assert browser.who is None


def test_an_account_is_connected_by_an_address_that_both_know(
    new_site: NewSite, service: Service, ann: User
):
    browser = new_site(service.settings()).browser()

    assert come_back(browser, service).headers["location"] == "/"

    assert browser.who == "ann"
    assert [identity.user_id for identity in Identity.select()] == [ann.id]
    # Its password still works
    assert browser.log_in(ann.email).headers["location"] == "/"


@pytest.mark.parametrize("verified", [False, None, "false", 1, "yes", ["true"]])
def test_an_address_that_is_not_verified_leads_to_no_account(
    new_site: NewSite, service: Service, ann: User, verified: object
):
    service.claims["email_verified"] = verified
    for sign_up in (True, False):
        browser = new_site(service.settings(sign_up=sign_up)).browser()
        service.claims |= {"email": ann.email, "sub": "ann-1"}
        known = come_back(browser, service)
        assert refused(known, 403, "has not verified that your address is yours")
        # Nor to a new one, in which somebody could wait for the owner of the address; and nobody
        # learns whether there is one
        service.claims |= {"email": "new@example.org", "sub": "new"}
        assert come_back(browser, service).text == known.text
    assert Identity.select().count() == 0
    assert User.select().count() == 1


def test_an_account_that_nobody_has_confirmed_waits_for_its_owner(
    new_site: NewSite, service: Service
):
    # Given an attacker who has signed up with Ann's address, and waits
    new_user("ann", confirmed=False)
    browser = new_site(service.settings()).browser()

    assert refused(come_back(browser, service), 403, "whose owner has not confirmed it")

    assert Identity.select().count() == 0
    # And with `trust_emails`, no more than that
    assert refused(come_back(new_site(service.settings(trust_emails=True)).browser(), service),
                   403, "whose owner has not confirmed it")  # fmt: skip


def test_an_address_that_somebody_else_had_before_leads_to_nothing(
    new_site: NewSite, service: Service, ann: User
):
    # Given Ann, who logs in by the service and leaves; her address goes to another person
    site = new_site(service.settings())
    come_back(site.browser(), service)
    service.claims["sub"] = "ann-2"

    browser = site.browser()
    assert refused(come_back(browser, service), 403, "belongs to another account")
    assert browser.who is None


def test_a_service_may_vouch_for_all_of_its_addresses(
    new_site: NewSite, service: Service, ann: User
):
    del service.claims["email_verified"]
    browser = new_site(service.settings(trust_emails=True)).browser()

    come_back(browser, service)

    assert browser.who == "ann"


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"email": None}, "does not send your e-mail address"),
        ({"email": ["ann@example.org"]}, "does not send your e-mail address"),
        ({"email": "ann"}, "not an e-mail address"),
        ({"email": "ann@example.org, eve@evil.example"}, "not an e-mail address"),
        ({"email": "ann@intranet"}, "not an e-mail address"),
        ({"email": "a" * 300 + "@example.org"}, "at most 254"),
    ],
)
def test_nobody_gets_an_account_without_an_address(
    new_site: NewSite, service: Service, claims: dict[str, object], text: str
):
    service.claims |= claims
    service.userinfo = {"sub": "ann-1"}

    assert refused(come_back(new_site(service.settings()).browser(), service), 403, text)
    assert User.select().count() == 0


def test_strangers_get_no_account_where_the_settings_say_so(
    new_site: NewSite, service: Service, ann: User
):
    site = new_site(service.settings(sign_up=False))
    come_back(browser := site.browser(), service)
    assert browser.who == "ann"

    service.claims |= {"email": "eve@example.org", "sub": "eve"}
    assert refused(come_back(site.browser(), service), 403, "There is no account for eve@")


def test_a_disabled_account_stays_closed(new_site: NewSite, service: Service, ann: User):
    site = new_site(service.settings())
    come_back(site.browser(), service)
    accounts.disable(ann)

    browser = site.browser()
    assert refused(come_back(browser, service), 403, "This account is disabled")
    assert browser.who is None


def test_groups_say_who_logs_in_and_what_they_are(new_site: NewSite, service: Service, ann: User):
    site = new_site(service.settings(), allowed_groups=["staff"], admin_groups=["ops"],
                    moderator_groups=["mods"])  # fmt: skip

    def role(*groups: str) -> Role:
        service.claims["groups"] = list(groups)
        assert come_back(site.browser(), service).headers["location"] == "/"
        return role_of(User.get_by_id(ann.id))

    assert role("staff") is Role.MEMBER
    assert role("staff", "ops") is Role.ADMIN
    assert role("staff", "mods", "ops") is Role.ADMIN
    assert role("staff", "mods") is Role.MODERATOR
    assert role("staff") is Role.MEMBER
    assert ModerationEntry.select().count() == 3
    for groups in (["ops"], [], None, "ops", {"staff": True}, [["staff"]], ["Staff", "staff "]):
        service.claims["groups"] = groups
        service.userinfo = {"sub": "ann-1"}
        assert refused(come_back(site.browser(), service), 403, "You are in no group")


def test_roles_stay_as_they_are_without_groups(new_site: NewSite, service: Service, ann: User):
    User.update(is_admin=True).where(User.id == ann.id).execute()
    service.claims["groups"] = ["mods"]

    come_back(new_site(service.settings(), moderator_groups=["mods"]).browser(), service)
    assert role_of(User.get_by_id(ann.id)) is Role.ADMIN
    come_back(new_site(service.settings(), admin_groups=["ops"]).browser(), service)
    assert role_of(User.get_by_id(ann.id)) is Role.MEMBER


def test_what_the_id_token_lacks_comes_from_userinfo(
    new_site: NewSite, service: Service, ann: User
):
    service.claims = {}
    service.userinfo = {"sub": "ann-1", "email": "ann@example.org", "email_verified": "true",
                        "groups": "ops"}  # fmt: skip
    browser = new_site(service.settings(), admin_groups=["ops"]).browser()

    come_back(browser, service)

    assert browser.who == "ann"
    assert User.get_by_id(ann.id).is_admin


def test_a_client_without_basic_authentication(new_site: NewSite, service: Service, ann: User):
    service.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    browser = new_site(service.settings()).browser()

    come_back(browser, service)

    assert browser.who == "ann"


def test_passwords_can_be_switched_off(new_site: NewSite, service: Service, ann: User):
    site = new_site(service.settings(), passwords=False)
    browser = site.browser()

    assert refused(browser.log_in(ann.email), 403, "takes no passwords")
    form = {"email": "eve@example.org", "password": PASSWORD}
    assert refused(browser.post("/signup", form), 403, "takes no passwords")
    answer = browser.post("/api/users", json=form)
    assert (answer.status_code, answer.json()["code"]) == (403, "passwords_off")
    assert User.select().count() == 1
    for path in ("/login/passkey/options", "/login/passkey"):
        assert browser.post(path, json={}).status_code == 404
    come_back(browser, service)
    assert browser.who == "ann"
    for path in ("app", "app/confirm", "app/remove", "recovery-codes"):
        assert browser.post(f"/account/sign-in/{path}").status_code == 404


# Linking.


def test_somebody_links_an_account_of_the_service_and_removes_the_link(
    new_site: NewSite, service: Service, ann: User
):
    # Given Ann, whose account at the service has another address, which nobody has verified
    service.claims = {"email": "private@example.net", "email_verified": False}
    site = new_site(service.settings())
    browser = site.with_password_of(ann)

    # When she links it, I expect to be asked first
    page = begin_link(browser, service)
    assert page.status_code == 200
    assert "private@example.net" in page.text
    assert Identity.select().count() == 0
    assert browser.post("/account/sign-in/link").headers["location"] == "/account/sign-in"

    # Then she logs in with it
    come_back(other := site.browser(), service)
    assert other.who == "ann"
    [identity] = identities.of(ann)
    assert "private@example.net" in browser.get("/account/sign-in").text

    # The confirmation works once
    assert browser.post("/account/sign-in/link").status_code == 403
    # Nobody else removes the link, but she does
    eve = new_user("eve")
    stranger = site.with_password_of(eve)
    path = f"/account/sign-in/links/{identity.id}/remove"
    assert stranger.post(path).status_code == 404
    assert browser.post(path).status_code == 303
    assert refused(come_back(site.browser(), service), 403, "has not verified that your address")


def test_the_last_way_in_cannot_be_removed(new_site: NewSite, service: Service):
    browser = new_site(service.settings()).browser()
    come_back(browser, service)
    [identity] = Identity.select()

    answer = browser.post(f"/account/sign-in/links/{identity.id}/remove")

    assert answer.status_code == 403
    assert "Without it you could not log in" in answer.text
    assert Identity.select().count() == 1


def test_an_identity_belongs_to_one_account(new_site: NewSite, service: Service, ann: User):
    site = new_site(service.settings())
    come_back(site.browser(), service)
    new_user("eve")
    browser = site.browser()
    browser.log_in("eve@example.org")

    begin_link(browser, service)

    assert browser.post("/account/sign-in/link").status_code == 409
    assert [identity.user_id for identity in Identity.select()] == [ann.id]


def test_a_log_in_begins_at_the_address_to_which_the_service_leads_back(
    new_site: NewSite, service: Service, ann: User
):
    # Given a library that also answers at an address of the network at home
    public = "https://gifs.example.org"
    here = new_site(service.settings())
    web = here.settings.web.model_copy(update={"public_url": public})
    site = Site(here.settings.model_copy(update={"web": web}), here.loop)
    browser = site.browser()

    # When I log in there, I expect to go to the public one first, where the cookie counts
    begun = browser.get("/login/oidc?next=/mine").headers["location"]
    assert begun == f"{public}/login/oidc?next=/mine&here=1"
    back = service.log_in(browser.get(begun).headers["location"])
    assert browser.get(public + back).headers["location"] == "/mine"

    # It goes on behind a proxy that tells neither the host nor the scheme
    again = browser.get("/login/oidc").headers["location"]
    assert again == f"{public}/login/oidc?here=1"
    passed_on = browser.get(again.removeprefix(public)).headers["location"]
    assert passed_on.startswith(f"{service.issuer}/authorize")
