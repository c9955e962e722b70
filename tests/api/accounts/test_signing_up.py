"""Signing up by page and by the API: confirmed addresses, a closed library, and invitations. What
the databases do is tested below them (`app/accounts`), so SQLite is enough here."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gifster.app import accounts
from gifster.app.accounts import invitations
from gifster.app.accounts.tables import Invitation
from gifster.app.models import Token, User, now
from gifster.app.tokens import Scope
from tests.api.site import Site, hidden, is_done
from tests.app.accounts.conftest import OLD
from tests.app.letters import path_of, run_mail_jobs
from tests.combinations import on_sqlite

pytestmark = on_sqlite


def test_where_addresses_must_be_confirmed_people_log_in_afterwards(make_site: Callable[..., Site]):
    site = make_site(confirm_emails=True)
    stranger, form = site.stranger(), {"email": "ann@example.org", "password": OLD}

    signed_up = stranger("POST", "/signup", data=form)
    assert is_done(signed_up, "/confirm?sent=1")
    assert "set-cookie" not in signed_up.headers
    refused = stranger("POST", "/login", data=form)
    assert refused.status_code == 403
    assert 'href="/confirm"' in refused.text

    [mail] = run_mail_jobs(site.settings)
    page = stranger("GET", path_of(mail)).text
    assert "If somebody else has entered your address, close this page" in page
    confirmed = stranger("POST", "/confirm", data={"secret": hidden(page, "secret")})
    assert is_done(confirmed, "/login?done=confirmed")
    assert stranger("POST", "/login", data=form).status_code == 303


def test_where_addresses_must_be_confirmed_nobody_learns_who_has_an_account(
    make_site: Callable[..., Site], ann: User
):
    site = make_site(confirm_emails=True)
    stranger = site.stranger()

    def answers(address: str) -> tuple[Any, ...]:
        form = {"email": address, "password": OLD, "name": "N"}
        page = stranger("POST", "/signup", data=form)
        made = stranger("POST", "/api/users", json=form)
        assert re.fullmatch("[0-9A-Za-z]{12}", made.json()["id"])
        told = made.json() | {"id": "", "email": ""}
        return page.status_code, page.headers["location"], page.text, made.status_code, told

    # Given an address that has an account, one of which nobody knows that, and a new one
    User.update(confirmed_at=now()).execute()
    accounts.sign_up("bob@example.org", OLD)
    run_mail_jobs(site.settings)
    first = answers("ann@example.org")
    assert first == answers("bob@example.org") == answers("eve@example.org")

    # I expect each owner to hear of it, and nobody to have another account
    mails = [(mail["To"], mail["Subject"]) for mail in run_mail_jobs(site.settings)]
    assert ("ann@example.org", "Your address has an account at Gifster already") in mails
    assert ("bob@example.org", "Confirm your address for Gifster") in mails
    assert ("eve@example.org", "Welcome to Gifster") in mails
    assert User.select().count() == 3
    for bad in ({"email": "ann"}, {"email": "ann@example.org", "password": "short"}):
        assert stranger("POST", "/signup", data={"password": OLD} | bad).status_code == 422


def test_where_addresses_must_be_confirmed_programs_get_no_token(make_site: Callable[..., Site]):
    stranger = make_site(confirm_emails=True).stranger()

    made = stranger("POST", "/api/users", json={"email": "ann@example.org", "password": OLD})

    assert (made.status_code, made.json()["token"]) == (201, None)
    assert Token.select().count() == 0


@pytest.mark.parametrize(
    ("mode", "code", "says"),
    [
        ("invite", "invitation_needed", "You need an invitation"),
        ("closed", "sign_up_closed", "Nobody can sign up here"),
    ],
)
def test_where_sign_up_is_closed_no_way_leads_in(
    make_site: Callable[..., Site], mode: str, code: str, says: str
):
    stranger = make_site(sign_up=mode).stranger()
    form = {"email": "eve@example.org", "password": OLD}

    page = stranger("GET", "/signup").text
    assert says in page
    assert 'name="password"' not in page
    for data in (form, form | {"invitation": ""}, form | {"invitation": "x" * 43}):
        assert stranger("POST", "/signup", data=data).status_code == 403
    answer = stranger("POST", "/api/users", json=form)
    assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert User.select().count() == 0
    assert 'href="/signup"' not in stranger("GET", "/").text


def test_an_admin_invites_by_page(make_site: Callable[..., Site], ann: User):
    site = make_site(sign_up="invite")
    User.update(is_admin=True).execute()
    admin, stranger = site.browser(ann), site.stranger()

    # A link that is shown once
    form = {"email": "", "days": "7", "once": hidden(admin("GET", "/invitations").text, "once")}
    page = admin("POST", "/invitations", data=form).text
    link = re.search(">(http[^<]*/invitation/[^<]*)<", page)[1]
    assert link not in admin("GET", "/invitations").text
    # A page that is loaded again makes no second one
    again = admin("POST", "/invitations", data=form)
    assert (again.status_code, "has made its invitation already" in again.text) == (409, True)
    assert Invitation.select().count() == 1
    secret = hidden(stranger("GET", httpx.URL(link).path).text, "invitation")
    form = {"email": "bob@example.org", "password": OLD, "invitation": secret, "name": "<b>Bob"}
    # A refused form keeps the invitation
    refused = stranger("POST", "/signup", data=form | {"password": "short"})
    assert hidden(refused.text, "invitation") == secret
    assert stranger("POST", "/signup", data=form).status_code == 303
    assert "used by <bdi>&lt;b&gt;Bob</bdi>" in admin("GET", "/invitations").text
    gone = stranger("GET", httpx.URL(link).path)
    assert gone.status_code == 403
    assert "used already" in gone.text

    assert "logged in as ann@example.org" in admin("GET", httpx.URL(link).path).text

    # And one by mail, but none for somebody who has an account
    taken = admin("POST", "/invitations", data={"email": "Bob@Example.org", "days": "1"})
    assert (taken.status_code, "bob@example.org has an account already" in taken.text) == (
        409,
        True,
    )
    sent = admin("POST", "/invitations", data={"email": "eve@example.org", "days": "1"})
    assert is_done(sent, "/invitations?done=sent")
    [mail] = [one for one in run_mail_jobs(site.settings) if one["To"] == "eve@example.org"]
    page = stranger("GET", path_of(mail)).text
    assert 'value="eve@example.org"' in page
    [waiting] = Invitation.select().where(Invitation.used_at.is_null())
    revoked = admin("POST", "/invitations/revoke", data={"id": waiting.id})
    assert is_done(revoked, "/invitations?done=revoked")
    assert stranger("GET", path_of(mail)).status_code == 403


def test_only_admins_invite(site: Site, ann: User):
    User.create(email="root@example.org", name="Root", password_hash="", is_admin=True)
    User.update(is_moderator=True).where(User.id == ann.id).execute()
    root = User.get(User.is_admin)
    for client in (site.browser(ann), site.program(root, Scope.WRITE)):
        assert client("GET", "/invitations").status_code == 403
        form = {"email": "", "days": "7", "id": "x"}
        assert client("POST", "/invitations", data=form).status_code == 403
        assert client("POST", "/invitations/revoke", data=form).status_code == 403
    assert site.stranger()("GET", "/invitations").status_code == 401
    assert Invitation.select().count() == 0


def test_an_invitation_by_the_api(make_site: Callable[..., Site]):
    site = make_site(sign_up="invite")
    _, link = invitations.invite(None, site.settings.web)
    wish = {"email": "bob@example.org", "password": OLD, "invitation": link.rpartition("/")[2]}

    assert site.stranger()("POST", "/api/users", json=wish).json()["token"]
    again = site.stranger()("POST", "/api/users", json=wish | {"email": "eve@example.org"})
    assert again.json()["code"] == "invitation_invalid"


def test_who_has_used_an_invitation_is_told_one_thing(make_site: Callable[..., Site], ann: User):
    site = make_site(sign_up="invite")
    made, link = invitations.invite(None, site.settings.web)
    Invitation.update(used_at=now(), used_by=ann).where(Invitation.id == made.id).execute()
    path = link[link.index("/invitation/") :]

    by_ann, by_stranger = site.browser(ann)("GET", path).text, site.stranger()("GET", path).text
    assert "You have an account already, and are logged in as ann@example.org." in by_ann
    assert 'role="alert"' not in by_ann
    assert "This invitation was used already. If you have used it, log in." in by_stranger
    assert "You have an account already" not in by_stranger
    # Another one says since when, or that its link is none
    Invitation.update(used_at=None, expires_at=now() - timedelta(days=1)).execute()
    assert "This invitation was good until" in site.stranger()("GET", path).text
    assert "its link is not whole" in site.stranger()("GET", path[:-1]).text
