"""Linking an account of a sign-in service, as an attacker would like it to go."""

import uuid

from gifster.app.models import User
from gifster.app.sign_in.tables import Identity
from tests.api.sign_in.conftest import (
    NewSite,
    begin_link,
    new_user,
    refused,
)
from tests.api.sign_in.service import Service


def test_no_other_site_links_the_attacker_s_account(new_site: NewSite, service: Service, ann: User):
    # Given Ann, who is logged in, and an attacker who makes her browser go to the service, where
    # the attacker has logged her in as themselves
    service.claims = {"email": "eve@evil.example", "sub": "eve", "email_verified": True}
    site = new_site(service.settings())
    browser = site.with_password_of(ann)

    page = begin_link(browser, service)

    # I expect that nothing is linked before she says so, on a page of ours
    assert page.status_code == 200
    assert "eve@evil.example" in page.text
    assert Identity.select().count() == 0
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert browser.post("/account/sign-in/link", headers=headers).status_code == 403
    assert Identity.select().count() == 0


def test_somebody_in_hundreds_of_groups_links_their_account(
    new_site: NewSite, service: Service, ann: User
):
    # Given a service that names groups by ids, as Entra does, up to two hundred of them
    service.claims |= {"groups": ["staff", *(str(uuid.uuid4()) for _ in range(199))]}
    browser = new_site(service.settings(), allowed_groups=["staff"]).with_password_of(ann)

    page = begin_link(browser, service)

    # I expect a cookie that browsers keep (RFC 6265, 6.1), and it to be enough
    assert max(map(len, page.headers.get_list("set-cookie"))) < 4096
    assert browser.post("/account/sign-in/link").status_code == 303
    assert Identity.get().user == ann


def test_an_attempt_to_link_belongs_to_its_session(new_site: NewSite, service: Service, ann: User):
    # Given an attacker's attempt, whose cookie got into the browser of somebody else
    new_user("eve")
    site = new_site(service.settings())
    attacker, victim = site.browser(), site.browser()
    attacker.log_in("eve@example.org")
    victim.log_in(ann.email)
    answer = service.log_in(attacker.get("/login/oidc?link=1").headers["location"])
    for cookie in attacker.client.cookies.jar:
        if cookie.name.startswith("gifster_oidc"):
            victim.client.cookies.jar.set_cookie(cookie)

    assert refused(victim.get(answer), 403, "You have logged out meanwhile")
    assert Identity.select().count() == 0

    # … nor the page that asks
    answer = service.log_in(attacker.get("/login/oidc?link=1").headers["location"])
    assert attacker.get(answer).status_code == 200
    for cookie in attacker.client.cookies.jar:
        if cookie.name.startswith("gifster_link"):
            victim.client.cookies.jar.set_cookie(cookie)
    assert victim.post("/account/sign-in/link").status_code == 403
    assert Identity.select().count() == 0


def test_an_attempt_to_link_belongs_to_the_user_whom_the_proxy_has_logged_in(
    new_site: NewSite, service: Service, ann: User
):
    # Given somebody who begins to link their account of the service
    new_user("eve")
    auth = {"proxy_header": "Remote-Email", "proxy_addresses": ["10.1.0.0/16"]}
    browser = new_site(service.settings(), **auth).browser("10.1.2.3")
    browser.client.headers["Remote-Email"] = "eve@example.org"
    answer = service.log_in(browser.get("/login/oidc?link=1").headers["location"])

    # When Ann logs in at the proxy with the same browser, I expect nothing to be linked to hers
    browser.client.headers["Remote-Email"] = ann.email
    assert refused(browser.get(answer), 403, "You have logged out meanwhile")

    # … nor by the page that asks
    browser.client.headers["Remote-Email"] = "eve@example.org"
    answer = service.log_in(browser.get("/login/oidc?link=1").headers["location"])
    assert browser.get(answer).status_code == 200
    browser.client.headers["Remote-Email"] = ann.email
    assert browser.post("/account/sign-in/link").status_code == 403
    assert Identity.select().count() == 0


def test_strangers_link_nothing(new_site: NewSite, service: Service):
    browser = new_site(service.settings()).browser()

    assert browser.get("/login/oidc?link=1").headers["location"].startswith("/login?next=")
    assert browser.post("/account/sign-in/link").headers["location"].startswith("/login?next=")
    assert browser.get("/account/sign-in").headers["location"].startswith("/login?next=")
