"""The pages about one's own account. What the databases do is tested below them (`app/accounts`),
so SQLite is enough here."""

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta

from gifster.api.app import create_app
from gifster.api.pages.account.own import FORMS
from gifster.api.root_path import below
from gifster.app import accounts
from gifster.app.accounts.mail_links import link
from gifster.app.models import Token, User, now
from gifster.app.settings import Settings
from gifster.app.tokens import Scope
from tests.api.site import Site, is_done
from tests.app.accounts.conftest import NEW, OLD
from tests.app.letters import run_mail_jobs
from tests.combinations import on_sqlite

pytestmark = on_sqlite


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


def test_the_address_of_a_form_leads_to_the_account(site: Site, ann: User):
    browser = site.browser(ann)
    for form in FORMS:
        assert is_done(browser("GET", f"/account/{form}"), "/account"), form


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
