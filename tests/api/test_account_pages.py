"""The pages about accounts: one's own, those that mails lead to, and invitations. What the
databases do is tested below them (`app/test_account_mails`), so SQLite is enough here."""

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gifster import jobs
from gifster.api.app import create_app
from gifster.api.pages.account.own import FORMS
from gifster.api.root_path import below
from gifster.app import accounts, tokens
from gifster.app.accounts import invitations, mail_secrets, password_changes
from gifster.app.accounts.mail_links import link
from gifster.app.accounts.tables import Invitation
from gifster.app.models import Token, User, now
from gifster.app.settings import Settings
from gifster.app.tokens import Kind, Scope
from tests.api.site import NEW, NOTHING, OLD, Site, is_done
from tests.api.test_access import Client
from tests.app.letters import link_of, run_mail_jobs, secret_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def path_of(mail: Any) -> str:
    return httpx.URL(link_of(mail)).path


def hidden(page: str, name: str) -> str:
    """The value of a hidden field of a page."""
    return re.search(f'type="hidden" name="{name}" value="([^"]*)"', page)[1]


# Mails.


def test_a_forgotten_password_by_page(site: Site, ann: User):
    stranger = site.stranger()
    assert 'href="/forgot"' in stranger("GET", "/login").text

    # When Ann asks for a link, opens it (and some program before her), and chooses a password
    asked = stranger("POST", "/forgot", data={"email": "ann@example.org"})
    assert is_done(asked, "/forgot?sent=1")
    [mail] = run_mail_jobs(site.settings)
    stranger("GET", path_of(mail))
    page = stranger("GET", path_of(mail))
    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"
    form = {"secret": hidden(page.text, "secret"), "password": NEW}
    assert is_done(stranger("POST", "/password", data=form), "/login?done=password")

    # I expect her to log in with it
    login = stranger("POST", "/login", data={"email": "ann@example.org", "password": NEW})
    assert login.status_code == 303
    # And the link to work no more, in a second tab and from the mail
    again = stranger("POST", "/password", data=form)
    assert again.status_code == 422
    assert "it works once" in again.text
    assert stranger("GET", path_of(mail)).status_code == 422


def test_pages_say_nothing_of_who_has_an_account(site: Site, ann: User):
    stranger = site.stranger()
    for path in ("/forgot", "/confirm/again"):
        known, unknown = (
            stranger("POST", path, data={"email": address})
            for address in ("ann@example.org", "eve@example.org")
        )
        assert known.headers["location"] == unknown.headers["location"]
        assert (known.status_code, known.text) == (unknown.status_code, unknown.text)


def test_a_mail_leads_to_the_settings_address_whatever_host_a_request_names(site: Site, ann: User):
    # Given Eve, who asks for Ann's mail at an address of her own
    site.stranger()(
        "POST", "/forgot", data={"email": "ann@example.org"},
        headers={"Host": "10.6.6.6", "X-Forwarded-Host": "evil.example.org"},
    )  # fmt: skip

    [mail] = run_mail_jobs(site.settings)

    assert link_of(mail).startswith("http://127.0.0.1:8000/")
    assert "10.6.6.6" not in mail.as_string()
    assert "evil" not in mail.as_string()


@pytest.mark.parametrize("address", ["", "ann", "ann@example.org\r\nBcc: eve@example.org", "a@b@c"])
def test_what_is_no_address_gets_no_mail(site: Site, ann: User, address: str):
    answer = site.stranger()("POST", "/forgot", data={"email": address})

    assert answer.status_code == 422
    assert jobs.Job.select().count() == 0


def test_no_log_has_the_secret_of_a_link(
    site: Site, ann: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    # Given a page of a mail's link that fails
    password_changes.ask_for_reset("ann@example.org")
    [mail] = run_mail_jobs(site.settings)

    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(mail_secrets, "find", fail)
    answer = site.stranger()("GET", path_of(mail))

    # I expect the log to say where, without the secret
    assert answer.status_code == 500
    assert "path=/password/{secret}" in caplog.text
    assert secret_of(mail) not in caplog.text


def test_mails_are_limited_for_who_asks_and_for_who_gets_them(
    make_site: Callable[..., Site], ann: User
):
    site = make_site(limits={"enabled": True, "mail": "7/hour", "mail_account": "2/hour"})
    stranger = site.stranger()

    def ask(address: str) -> int:
        return stranger("POST", "/forgot", data={"email": address}).status_code

    # However the address is spelt, and whether it has an account or not
    for address in ("ann@example.org", "eve@example.org"):
        spellings = (address, f" {address.upper()} ", address)
        assert [ask(spelling) for spelling in spellings][:2] == [303, 303], address
    assert ask("ann@example.org") == 429
    assert ask("bob@example.org") == 429


def test_a_new_address_by_page(site: Site, ann: User):
    browser = site.browser(ann)
    wish = {"email": "new@example.org", "present": OLD}
    assert is_done(browser("POST", "/account/email", data=wish), "/account?done=email#email")
    assert "new@example.org takes its place" in browser("GET", "/account").text
    [mail] = run_mail_jobs(site.settings)

    page = browser("GET", path_of(mail))
    assert "new@example.org" in page.text
    confirmed = browser("POST", "/confirm", data={"secret": hidden(page.text, "secret")})

    assert is_done(confirmed, "/account?done=confirmed")
    assert User.get_by_id(ann.id).email == "new@example.org"
    assert browser("POST", "/confirm", data={"secret": secret_of(mail)}).status_code == 422


def test_an_address_is_changed_with_the_password_alone(site: Site, ann: User):
    browser = site.browser(ann)

    for present in ("", "wrong horse"):
        form = {"email": "eve@example.org", "present": present}
        answer = browser("POST", "/account/email", data=form)
        assert answer.status_code == 403
        assert "That is not your password." in answer.text

    assert User.get_by_id(ann.id).new_email is None
    assert jobs.Job.select().count() == 0


def test_a_session_cannot_try_passwords_without_end(make_site: Callable[..., Site], ann: User):
    browser = make_site(limits={"enabled": True, "log_in_account": "3/hour"}).browser(ann)

    answers = [
        browser("POST", "/account/password", data={"present": f"guess {n}", "password": NEW})
        for n in range(4)
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403, 429]
    # Leaving and a new address count for the same
    form = {"present": "guess", "gifs": "keep", "email": "eve@example.org"}
    assert browser("POST", "/account/leave", data=form).status_code == 429
    assert browser("POST", "/account/email", data=form).status_code == 429


# Signing up.


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


# The account page.


def test_an_account_has_a_page(site: Site, ann: User):
    browser = site.browser(ann)

    page = browser("GET", "/account").text

    assert "Firefox on Linux" in page
    assert "from 10.0.0.1" in page
    assert "ann@example.org is not confirmed yet" in page
    assert 'href="/account"' in browser("GET", "/").text
    assert site.stranger()("GET", "/account").status_code == 401
    for scope in (Scope.READ, Scope.WRITE):
        assert site.program(ann, scope)("GET", "/account").status_code == 403


def test_numbers_have_their_plural_and_sizes_their_unit(make_site: Callable[..., Site], ann: User):
    site = make_site(limits={"enabled": True, "gifs_per_user": 1, "bytes_per_user": 1_500})
    browser = site.browser(ann)

    page = browser("GET", "/account").text
    assert "0 GIFs</a>, 0 Bytes, of 1 GIF and 1.5 kB that you may have." in page
    assert page.index(">Log out<") < page.index(">Log out everywhere<")
    assert "<legend>Your GIFs</legend>" in browser("GET", "/account/leave").text


def test_a_program_asks_for_its_account_and_renames_it(make_site: Callable[..., Site], ann: User):
    site = make_site(limits={"enabled": True, "gifs_per_user": 5, "bytes_per_user": 1_000})
    reading, full = site.program(ann, Scope.READ), site.program(ann)

    account = reading("GET", "/api/account").json()
    assert (account["email"], account["confirmed"], account["role"]) == (
        "ann@example.org", False, "member")  # fmt: skip
    assert account["used"] == {"gifs": 0, "bytes": 0}
    assert account["quota"] == {"gifs": 5, "bytes": 1_000}

    assert reading("PATCH", "/api/account", json={"name": "Eve"}).status_code == 403
    assert full("PATCH", "/api/account", json={"name": " Anna "}).json()["name"] == "Anna"
    for body, code in (({"name": ""}, "name_missing"), ({"email": "a@b.c"}, "field_unknown")):
        refused = full("PATCH", "/api/account", json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert site.stranger()("GET", "/api/account").status_code == 401
    assert User.get_by_id(ann.id).name == "Anna"


def test_a_name_is_changed_and_shown_as_text(site: Site, ann: User):
    browser = site.browser(ann)

    renamed = browser("POST", "/account/name", data={"name": "  <script>Ann\u202e  "})

    assert is_done(renamed, "/account?done=name#name")
    assert User.get_by_id(ann.id).name == "<script>Ann"
    assert "&lt;script&gt;Ann" in browser("GET", "/account").text
    for name in ("", " \u200b ", "a" * 101):
        refused = browser("POST", "/account/name", data={"name": name})
        assert refused.status_code == 422
        assert 'role="alert"' in refused.text
    assert User.get_by_id(ann.id).name == "<script>Ann"


def test_a_refusal_has_the_focus_also_without_javascript(site: Site, ann: User):
    browser = site.browser(ann)
    for form, data in (
        ("password", {"present": NEW, "password": NEW}),
        ("token", {"name": ""}),
        ("name", {"name": ""}),
        ("leave", {"gifs": "keep", "present": NEW}),
    ):
        page = browser("POST", f"/account/{form}", data=data).text
        assert len(re.findall('role="alert" tabindex="-1" autofocus>', page)) == 1, form


def test_a_password_is_changed_and_other_sessions_end(site: Site, ann: User):
    here, there = site.browser(ann), site.browser(ann)

    changed = here("POST", "/account/password", data={"present": OLD, "password": NEW})

    assert is_done(changed, "/account?done=password#password")
    assert here("GET", "/account").status_code == 200
    assert there("GET", "/account").status_code == 401
    [mail] = run_mail_jobs(site.settings)
    assert mail["Subject"] == "Your password for Gifster was changed"


def test_sessions_are_ended_one_by_one_and_all_at_once(site: Site, ann: User):
    here, there, elsewhere = site.browser(ann), site.browser(ann), site.browser(ann)
    token = site.program(ann)
    ids = re.findall('name="id" value="([^"]*)"', here("GET", "/account").text)
    mine = {one.id for one in tokens.tokens_of(ann) if one.kind == Kind.SESSION} - set(ids)
    assert len(mine) == 1  # one's own has no button

    one = next(
        one.id for one in tokens.tokens_of(ann) if one.kind == Kind.SESSION and one.id in ids
    )
    ended = here("POST", "/account/session", data={"id": one})
    assert is_done(ended, "/account?done=session#session")
    seen = [browser("GET", "/account").status_code for browser in (there, elsewhere)]
    assert sorted(seen) == [200, 401]
    here("POST", "/account/sessions", data=NOTHING)
    assert there("GET", "/account").status_code == elsewhere("GET", "/account").status_code == 401
    assert here("GET", "/account").status_code == token("GET", "/account").status_code == 200


def test_nobody_ends_the_sessions_of_others(site: Site, ann: User):
    eve = accounts.sign_up("eve@example.org", OLD)
    site.browser(ann)
    [session] = tokens.tokens_of(ann)

    for form in ("session", "revoke"):
        for token_id in (session.id, session.digest, "", "\u202e", "x" * 3_000):
            answer = site.browser(eve)("POST", f"/account/{form}", data={"id": token_id})
            assert answer.status_code == 404, token_id

    assert tokens.tokens_of(ann) == [session]


def secret_in(page: str) -> str:
    return re.search('aria-label="The new token"[^>]*>([^<]*)<', page)[1]


def test_the_form_of_a_token_works_once(site: Site, ann: User):
    browser = site.browser(ann)
    once = hidden(browser("GET", "/account").text, "once")
    form = {"name": "camera", "scope": "read", "days": "30", "once": once}

    # When a token was made, I expect its secret before all forms, with the focus
    page = browser("POST", "/account/token", data=form).text
    assert page.index(secret_in(page)) < page.index('<form action="/account/name')
    assert re.search('role="status" tabindex="-1" autofocus>This is your new token', page)

    # When the page is loaded again, I expect no second token, and no secret
    again = browser("POST", "/account/token", data=form)
    assert (again.status_code, "made its token already" in again.text) == (409, True)
    assert secret_in(page) not in again.text
    assert [one.name for one in tokens.tokens_of(ann) if one.kind == Kind.TOKEN] == ["camera"]

    # The page has a fresh form, and the same text makes a token of another user's
    other = browser("POST", "/account/token", data=form | {"once": hidden(again.text, "once")})
    assert other.status_code == 200
    eve = site.browser(accounts.sign_up("eve@example.org", OLD))
    assert eve("POST", "/account/token", data=form).status_code == 200


def test_the_address_of_a_form_leads_to_the_account(site: Site, ann: User):
    browser = site.browser(ann)
    for form in FORMS:
        assert is_done(browser("GET", f"/account/{form}"), "/account"), form


def test_a_token_is_made_shown_once_and_revoked(site: Site, ann: User):
    browser = site.browser(ann)

    form = {"name": "camera <trap>", "scope": "read", "days": "30"}
    page = browser("POST", "/account/token", data=form).text
    secret = secret_in(page)

    # It works, within its scope
    program = Client(site.app, site.loop, {"Authorization": f"Bearer {secret}"})
    assert program("GET", "/api/tokens").status_code == 200
    assert program("DELETE", "/api/tokens").status_code == 403
    # It is shown only this once
    page = browser("GET", "/account").text
    assert secret not in page
    assert "camera &lt;trap&gt;" in page
    [token] = [one for one in tokens.tokens_of(ann) if one.kind == Kind.TOKEN]
    assert 29 <= (token.expires_at - now()).days <= 30
    # And revoked
    browser("POST", "/account/revoke", data={"id": token.id})
    assert program("GET", "/api/tokens").status_code == 401


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"scope": "root"}, {"days": "31"}, {"days": "-1"}, {"days": "\u0663"}]
)
def test_a_bad_token_is_refused_with_the_page(site: Site, ann: User, wrong: dict[str, str]):
    form = {"name": "script", "scope": "read", "days": "30"} | wrong

    answer = site.browser(ann)("POST", "/account/token", data=form)

    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert {one.kind for one in tokens.tokens_of(ann)} == {Kind.SESSION}


def test_forms_from_another_site_are_refused(site: Site, ann: User):
    browser = site.browser(ann)
    for form in ("name", "email", "password", "sessions", "token", "export", "leave"):
        answer = browser(
            "POST",
            f"/account/{form}",
            data={"name": "Eve"},
            headers={"Origin": "https://evil.example"},
        )
        assert answer.status_code == 403
    assert User.get_by_id(ann.id).name == "Ann"


def test_a_disabled_account_is_out_at_once_by_every_way(site: Site, ann: User):
    browser, program = site.browser(ann), site.program(ann)

    accounts.disable(ann)

    assert browser("GET", "/account").status_code == 401
    assert program("GET", "/api/tokens").status_code == 401
    login = site.stranger()("POST", "/login", data={"email": "ann@example.org", "password": OLD})
    assert login.status_code == 403
    assert "This account is disabled." in login.text


def test_an_account_without_a_password_is_asked_to_choose_one(site: Site, ann: User):
    User.update(password_hash="").execute()
    browser = site.browser(ann)

    page = browser("GET", "/account").text
    assert "You have no password." in page
    for path, form in (
        ("/account/leave", {"gifs": "keep", "present": ""}),
        ("/account/email", {"email": "eve@example.org", "present": ""}),
        ("/account/password", {"present": "", "password": NEW}),
    ):
        answer = browser("POST", path, data=form)
        assert (answer.status_code, "has no password" in answer.text) == (403, True), path
    assert not accounts.has_password(User.get_by_id(ann.id))


def test_where_nobody_has_a_password_no_page_asks_for_one(
    make_site: Callable[..., Site], ann: User
):
    User.update(password_hash="").execute()
    site = make_site(passwords=False)
    browser, stranger = site.browser(ann), site.stranger()

    page = browser("GET", "/account").text
    assert 'type="password"' not in page
    assert "/forgot" not in page
    for method, path in (("GET", "/forgot"), ("POST", "/forgot"), ("POST", "/password"),
                         ("GET", "/password/secret"), ("POST", "/account/password"),
                         ("POST", "/account/email")):  # fmt: skip
        answer = (browser if "account" in path else stranger)(
            method, path, **({"data": {"email": "eve@example.org"}} if method == "POST" else {})
        )
        assert answer.status_code == 404, path

    # One leaves with one's address
    for address, status in (("eve@example.org", 403), (" Ann@example.org", 303)):
        form = {"gifs": "keep", "email": address}
        assert browser("POST", "/account/leave", data=form).status_code == status


def test_a_library_below_a_path_has_its_account_pages_there(booted: Settings, ann: User):
    web = booted.web.model_copy(update={"root_path": "/gifs"})
    settings = booted.model_copy(update={"web": web})
    with asyncio.Runner() as runner:
        site = Site(settings, below(create_app(settings), "/gifs"), runner.get_loop())
        browser, stranger = site.browser(ann), site.stranger()
        pages = [browser("GET", f"/gifs/account{path}").text for path in ("", "/leave")]
        pages += [stranger("GET", f"/gifs{path}").text for path in ("/forgot", "/confirm")]
        renamed = browser("POST", "/gifs/account/name", data={"name": "Anna"})

    for page in pages:
        leads = re.findall('(?:href|action|src)="(/[^"]*)"', page)
        assert [path for path in leads if not path.startswith("/gifs/")] == []
    assert is_done(renamed, "/gifs/account?done=name#name")
    assert link(web, "/confirm/", "s").startswith("http://127.0.0.1:8000/gifs/confirm/")


def test_without_passwords_nobody_leaves_by_a_token_or_in_a_browser_that_was_left_alone(
    make_site: Callable[..., Site], ann: User
):
    site = make_site(passwords=False)
    form = {"gifs": "delete", "email": ann.email}
    browser, program = site.browser(ann), site.program(ann)

    Token.update(created_at=now() - timedelta(minutes=20)).execute()

    assert is_done(program("POST", "/account/leave", data=form), "/login?next=/account/leave")
    answer = browser("POST", "/account/leave", data=form)
    assert is_done(answer, "/login?again=1&next=/account/leave")
    assert User.get_by_id(ann.id).disabled_at is None
    assert is_done(site.browser(ann)("POST", "/account/leave", data=form), "/login?done=left")
