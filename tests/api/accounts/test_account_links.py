"""The pages that mails lead to, and those that ask for a mail. What the databases do is tested
below them (`app/accounts`), so SQLite is enough here."""

from collections.abc import Callable

import pytest

from gifster import jobs
from gifster.app.accounts import mail_secrets, password_changes
from gifster.app.models import User
from tests.api.site import Site, hidden, is_done
from tests.app.accounts.conftest import NEW, OLD
from tests.app.letters import link_of, path_of, run_mail_jobs, secret_of
from tests.combinations import on_sqlite

pytestmark = on_sqlite


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
