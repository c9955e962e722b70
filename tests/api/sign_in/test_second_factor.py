"""The second factor on the pages: set up, asked for, recovered; and what somebody tries who knows
the password."""

import re
from datetime import timedelta

import httpx
import pyotp
import pytest

from gifster.app import accounts
from gifster.app.accounts import mail_secrets
from gifster.app.accounts.mail_secrets import Purpose
from gifster.app.models import Token, User, now
from gifster.app.sign_in import codes, identities, passkeys, second_factor
from gifster.app.sign_in.identities import Person
from gifster.app.sign_in.tables import AuthenticatorApp, Identity, RecoveryCode, SignInStep
from tests.api.sign_in.conftest import (
    PASSWORD,
    Browser,
    NewSite,
    Site,
    come_back,
    new_user,
    refused,
)
from tests.api.sign_in.service import Service


@pytest.fixture(autouse=True)
def _one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the codes stands still, so that no step of 30 seconds ends within a test."""
    moment = now()
    monkeypatch.setattr(codes, "now", lambda: moment)


def set_up(browser: Browser) -> tuple[pyotp.TOTP, list[str]]:
    """Set up an authenticator app, as a person does. Returns it, and the recovery codes."""
    assert browser.post("/account/sign-in/app").headers["location"] == "/account/sign-in/app"
    page = browser.get("/account/sign-in/app").text
    assert 'src="data:image/svg+xml' in page
    secret = re.search("Key: <code>([A-Z2-7 ]+)</code>", page)[1].replace(" ", "")
    app = pyotp.TOTP(secret)
    done = browser.post("/account/sign-in/app/confirm", {"code": app.at(codes.now())})
    assert done.status_code == 200, done.text
    assert done.headers["cache-control"] == "no-store"
    return app, re.findall("<li><code>([0-9A-Z-]{19})</code></li>", done.text)


def next_code(app: pyotp.TOTP) -> str:
    """A code that was not used yet, though no time has passed: of the next step, which counts."""
    return app.at(codes.now() + timedelta(seconds=30))


def code(browser: Browser, typed: str, **fields: str) -> httpx.Response:
    return browser.post("/login/second-factor", {"code": typed} | fields)


def forget_use(user: User) -> None:
    """As if all codes that were used were older."""
    AuthenticatorApp.update(last_step=0).where(AuthenticatorApp.user == user.id).execute()


@pytest.fixture
def site(new_site: NewSite) -> Site:
    return new_site()


def test_a_password_is_not_enough(site: Site, ann: User):
    # Given Ann, who sets up an app, while another session of hers goes on
    browser, elsewhere = site.browser(), site.browser()
    elsewhere.log_in(ann.email)
    browser.log_in(ann.email)
    app, recovery = set_up(browser)
    assert len(set(recovery)) == 10
    assert browser.who == "ann"
    assert elsewhere.who is None  # it began without the second factor

    # When somebody types her password
    answer = elsewhere.log_in(ann.email, next="/tags")

    # I expect that they are asked for a code, and not logged in
    assert answer.headers["location"] == "/login/second-factor?next=/tags"
    assert elsewhere.who is None
    page = elsewhere.get(answer.headers["location"]).text
    assert 'autocomplete="one-time-code"' in page
    wrong = code(elsewhere, "000000", next="/tags")
    assert (wrong.status_code, elsewhere.who) == (403, None)
    assert 'value="/tags"' in wrong.text
    done = code(elsewhere, f" {next_code(app)[:3]} {next_code(app)[3:]} ", next="/tags")
    assert (done.status_code, done.headers["location"]) == (303, "/tags")
    assert elsewhere.who == "ann"
    assert SignInStep.select().count() == 0


def test_a_code_works_once(site: Site, ann: User):
    browser, thief = site.browser(), site.browser()
    browser.log_in(ann.email)
    app, _ = set_up(browser)

    # Given a thief who knows the password, and has seen the code that set the app up, and the next
    thief.log_in(ann.email)
    assert code(thief, app.at(codes.now())).status_code == 403
    browser.log_in(ann.email)
    seen = next_code(app)
    assert code(browser, seen).status_code == 303
    assert code(thief, seen).status_code == 403
    # Nor does an older one, whose time has not ended
    assert code(thief, app.at(codes.now() - timedelta(seconds=30))).status_code == 403
    assert thief.who is None


def test_a_recovery_code_works_once(site: Site, ann: User):
    browser = site.with_password_of(ann)
    _, recovery = set_up(browser)
    first = recovery[0].lower().replace("-", " ").replace("0", "o").replace("1", "l")

    lost = site.with_password_of(ann)
    assert code(lost, first).status_code == 303
    assert lost.who == "ann"
    assert "You have 9 recovery codes left" in lost.get("/account/sign-in").text

    again = site.with_password_of(ann)
    assert code(again, first).status_code == 403
    # New ones replace the old ones
    page = lost.post("/account/sign-in/recovery-codes").text
    assert code(again, recovery[1]).status_code == 403
    assert code(again, re.search("<code>([0-9A-Z-]{19})</code>", page)[1]).status_code == 303


def test_recovery_codes_are_their_user_s(site: Site, ann: User):
    bob = new_user("bob")
    browsers = [site.browser(), site.browser()]
    codes_of = []
    for browser, user in zip(browsers, (ann, bob), strict=True):
        browser.log_in(user.email)
        codes_of.append(set_up(browser)[1])
    stranger = site.with_password_of(bob)

    assert code(stranger, codes_of[0][0]).status_code == 403
    assert RecoveryCode.select().where(RecoveryCode.user == ann.id).count() == 10
    # Only their hashes are kept
    kept = {row.digest for row in RecoveryCode.select()}
    assert all(one.replace("-", "") not in kept for one in codes_of[0])


def test_after_five_wrong_codes_the_password_is_asked_for_again(site: Site, ann: User):
    browser = site.with_password_of(ann)
    app, recovery = set_up(browser)
    thief = site.with_password_of(ann)

    for _ in range(5):
        assert code(thief, "000000").status_code == 403

    # Not even the right one counts now, nor a recovery code
    for right in (next_code(app), recovery[0]):
        assert code(thief, right).headers["location"] == "/login"
    assert thief.who is None
    assert thief.get("/login/second-factor").headers["location"] == "/login"


def test_wrong_codes_of_an_account_are_counted_whoever_types_them(site: Site, ann: User):
    # Given no rate limits, and an attacker with many addresses who knows the password
    browser = site.with_password_of(ann)
    app, recovery = set_up(browser)
    for number in range(2):
        thief = site.with_password_of(ann, f"10.0.0.{number}")
        for _ in range(5):
            code(thief, "000000")

    # I expect that no code works for a while, not even the right one
    thief = site.with_password_of(ann, "10.0.0.7")
    refused = code(thief, next_code(app))
    assert refused.status_code == 403
    assert "Too many codes were wrong" in refused.text
    # The owner can still log in
    owner = site.with_password_of(ann)
    assert code(owner, recovery[0]).status_code == 303

    # Each further try after the pause makes it longer
    row = AuthenticatorApp.get_by_id(ann.id)
    assert row.failures == 10
    for expected in (30, 60, 120, 240, 480, 960, 1440, 1440):
        AuthenticatorApp.update(locked_until=codes.now()).execute()
        for _ in range(5):
            with pytest.raises(accounts.logging_in.Denied):
                codes.check(ann, "000000")
        left = AuthenticatorApp.get_by_id(ann.id).locked_until - codes.now()
        assert left <= timedelta(minutes=expected)
        assert left > timedelta(minutes=expected - 1)
    # A right one ends it
    AuthenticatorApp.update(locked_until=codes.now()).execute()
    codes.check(ann, next_code(app))
    assert AuthenticatorApp.get_by_id(ann.id).failures == 0


def test_a_step_is_no_session_and_no_other_s(site: Site, ann: User):
    browser = site.with_password_of(ann)
    app, _ = set_up(browser)
    waiting = site.with_password_of(ann)

    # A forged or foreign cookie is no step
    forged = site.browser()
    signed, _, signature = waiting.client.cookies["gifster_step"].rpartition(".")
    other = "B" if signature[0] == "A" else "A"  # the last letter has bits that do not count
    for value in ("x", "", f"{signed}.{other}{signature[1:]}"):
        forged.client.cookies.set("gifster_step", value, domain="localhost.local", path="/login")
        assert code(forged, next_code(app)).headers["location"] == "/login"
    # It ends with its time
    SignInStep.update(expires_at=now()).execute()
    assert code(waiting, next_code(app)).headers["location"] == "/login"
    # … and with its account
    waiting.log_in(ann.email)
    accounts.disable(ann)
    answer = code(waiting, next_code(app))
    assert answer.status_code == 403
    assert waiting.who is None


def test_a_new_password_ends_the_log_ins_with_the_former(site: Site, ann: User):
    # Given a thief who knows the password, and waits for a code; Ann chooses another password
    browser = site.with_password_of(ann)
    app, recovery = set_up(browser)
    thief = site.with_password_of(ann)
    form = {"present": PASSWORD, "password": "another horse"}
    assert browser.post("/account/password", form).status_code == 303

    for right in (next_code(app), recovery[0]):
        assert code(thief, right).headers["location"] == "/login"
    assert thief.who is None
    assert thief.log_in(ann.email, "another horse").headers["location"] == "/login/second-factor"


def test_two_requests_with_one_code_log_in_once(site: Site, ann: User):
    browser = site.with_password_of(ann)
    app, _ = set_up(browser)
    first, second = site.browser(), site.browser()
    first.log_in(ann.email)
    second.client.cookies = first.client.cookies

    assert code(first, next_code(app)).status_code == 303
    forget_use(ann)
    assert code(second, next_code(app)).headers["location"] == "/login"


def test_an_app_that_is_not_confirmed_counts_for_nothing(site: Site, ann: User):
    browser = site.with_password_of(ann)
    browser.post("/account/sign-in/app")
    assert browser.post("/account/sign-in/app/confirm", {"code": "000000"}).status_code == 403

    other = site.browser()
    assert other.log_in(ann.email).headers["location"] == "/"
    assert not second_factor.is_needed(ann)
    # A second beginning has another secret, and an app that is set up stays
    before = codes.setting_up(ann).secret
    browser.post("/account/sign-in/app")
    assert codes.setting_up(ann).secret != before
    set_up(browser)
    assert browser.post("/account/sign-in/app").status_code == 409
    assert browser.get("/account/sign-in/app").headers["location"] == "/account/sign-in"


def test_removing_the_app_removes_its_recovery_codes(site: Site, ann: User):
    browser = site.with_password_of(ann)
    set_up(browser)

    assert browser.post("/account/sign-in/app/remove").status_code == 303

    assert RecoveryCode.select().count() == 0
    assert site.browser().log_in(ann.email).headers["location"] == "/"
    assert browser.post("/account/sign-in/recovery-codes").status_code == 409


def test_an_api_token_changes_no_factor(site: Site, ann: User):
    from gifster.app import tokens

    bearer = {"Authorization": f"Bearer {tokens.create_token(ann, 't', 'admin')[1]}"}
    browser = site.browser()

    for path in ("app", "app/remove", "recovery-codes", "passkeys/options"):
        answer = browser.post(f"/account/sign-in/{path}", headers=bearer)
        assert answer.headers["location"].startswith("/login?next="), path
    assert Token.select().where(Token.kind == "session").count() == 0


def test_another_site_changes_no_factor(site: Site, ann: User):
    browser = site.with_password_of(ann)
    set_up(browser)

    for path in ("app/remove", "recovery-codes", "passkeys/options"):
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
            assert browser.post(f"/account/sign-in/{path}", headers=headers).status_code == 403
    assert codes.has_app(ann)


def test_guesses_of_a_code_count_for_the_limits_of_the_log_in(site: Site, ann: User):
    # Given somebody who knows the password: a right one must not forget the attempts before it
    browser = site.with_password_of(ann)
    set_up(browser)
    thief = site.browser("10.0.0.1")

    statuses = [thief.log_in(ann.email).status_code for _ in range(11)]

    assert statuses == [303] * 10 + [429]


def test_a_sign_in_service_has_a_second_factor_of_its_own(
    new_site: NewSite, service: Service, ann: User
):
    site = new_site(service.settings())
    browser = site.with_password_of(ann)
    set_up(browser)

    come_back(other := site.browser(), service)

    assert other.who == "ann"


@pytest.mark.parametrize("typed", ["", "0", "00000a", "\u0660" * 6, "-1", "a" * 100, "000000\t"])
def test_odd_codes_are_wrong_codes(site: Site, ann: User, typed: str):
    browser = site.with_password_of(ann)
    set_up(browser)
    thief = site.with_password_of(ann)

    assert code(thief, typed).status_code == 403
    assert thief.who is None


def test_a_code_in_full_width_digits_is_a_code(site: Site, ann: User):
    browser = site.with_password_of(ann)
    app, _ = set_up(browser)
    other = site.with_password_of(ann)
    wide = "".join(chr(0xFF10 + int(digit)) for digit in next_code(app))

    assert code(other, wide).status_code == 303


def test_a_forgotten_password_ends_all_ways_into_an_account_that_nobody_has_confirmed(
    new_site: NewSite, service: Service
):
    # Given somebody who has signed up with Bob's address, and waits for him
    bob = new_user("bob", confirmed=False)
    site = new_site(service.settings())
    eve, owner = site.browser(), site.browser()
    eve.log_in("bob@example.org")
    service.claims |= {"sub": "eve", "email": "eve@example.org"}
    answer = service.log_in(eve.get("/login/oidc?link=1").headers["location"])
    assert eve.get(answer).status_code == 200
    assert eve.post("/account/sign-in/link").status_code == 303
    # They get no second factor, but for one of an earlier release
    for path in ("app", "passkeys/options"):
        assert eve.post(f"/account/sign-in/{path}").status_code == 403
    assert "A second factor needs a confirmed address" in eve.get("/account/sign-in").text
    AuthenticatorApp.create(user=bob, secret="A" * 32, confirmed_at=now())
    assert "A new password by mail ends your second" in eve.get("/account/sign-in").text

    # When Bob chooses a password by a link in a mail
    secret = mail_secrets.make(bob, Purpose.RESET, bob.email)
    form = {"secret": secret, "password": "battery staple"}
    assert owner.post("/password", form).headers["location"] == "/login?done=password"

    # I expect him to log in with it alone, and nobody else in any way
    assert owner.log_in("bob@example.org", "battery staple").headers["location"] == "/"
    assert owner.who == "bob"
    assert Identity.select().count() == 0
    assert eve.who is None


def test_no_other_way_in_leads_around_an_address_that_must_be_confirmed(
    new_site: NewSite, service: Service, monkeypatch: pytest.MonkeyPatch
):
    # Given Bob, who linked an account of the service and has a passkey before the setting came
    bob = new_user("bob", confirmed=False)
    person = Person(service.issuer, "bob", "bob@example.net")
    site = new_site(service.settings(), confirm_emails=True)
    identities.link(bob, person, site.settings)
    monkeypatch.setattr(passkeys, "check", lambda *_: User.get_by_id(bob.id))
    service.claims = {"sub": "bob", "email": "bob@example.net", "email_verified": True}

    def by_passkey() -> httpx.Response:
        browser = site.browser()
        browser.client.headers["Accept"] = "application/json"
        browser.post("/login/passkey/options", json={})
        return browser.post("/login/passkey", json={"credential": {"id": "a"}})

    # I expect none to log him in
    assert refused(come_back(site.browser(), service), 403, "is not confirmed yet")
    assert by_passkey().json()["code"] == "email_unconfirmed"

    # … until he has opened the link
    User.update(confirmed_at=now()).where(User.id == bob.id).execute()
    come_back(browser := site.browser(), service)
    assert browser.who == "bob"
    assert by_passkey().status_code == 200
