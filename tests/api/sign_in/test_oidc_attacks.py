"""Logging in by a sign-in service, as an attacker sees it: forged and stolen answers, browsers of
other people, addresses that lead elsewhere, and a service that is away."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from gifster.api.way_back import local_path
from gifster.app.models import User, now
from gifster.app.settings import load
from gifster.app.sign_in.tables import Identity, SignInStep
from gifster.cli.doctor import checks
from tests.api.sign_in.conftest import (
    Browser,
    NewSite,
    come_back,
    new_user,
    refused,
)
from tests.api.sign_in.service import SECRET, Service

OTHER = RSAKey.generate_key(2048, {"kid": "one"})


def nobody(browser: Browser) -> bool:
    assert browser.who is None
    assert Identity.select().count() == 0
    return True


def code_in(answer: str) -> str:
    return answer.partition("code=")[2].partition("&")[0]


def signed(alg: str, key: Any, **header: str) -> Callable[[dict[str, Any]], str]:
    return lambda claims: jwt.encode({"alg": alg, **header}, claims, key, algorithms=[alg])


def as_with_a_password(claims: dict[str, Any], password: bytes) -> str:
    """HS256, by hand: the library refuses to misuse a public key."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": "one"}, claims)
    ]
    digest = hmac.digest(password, b".".join(parts), "sha256")
    return b".".join([*parts, base64.urlsafe_b64encode(digest).rstrip(b"=")]).decode()


def unsigned(claims: dict[str, Any]) -> str:
    token = jwt.encode({"alg": "RS256"}, claims, OTHER)
    return "eyJhbGciOiJub25lIn0." + token.split(".")[1] + "."


HOUR = 3600
FORGED: dict[str, dict[str, Any]] = {
    "another issuer": {"claims": {"iss": "https://evil.example"}},
    "no issuer": {"claims": {"iss": None}},
    "for another client": {"claims": {"aud": "other"}},
    "for several, and we are not among them": {"claims": {"aud": ["a", "b"], "azp": "gifster"}},
    "for several, of another": {"claims": {"aud": ["gifster", "b"], "azp": "b"}},
    "for several, of nobody": {"claims": {"aud": ["gifster", "b"]}},
    "for nobody": {"claims": {"aud": None}},
    "of another log-in": {"claims": {"nonce": "x"}},
    "without a nonce": {"claims": {"nonce": None}},
    "expired": {"claims": {"exp": 1, "iat": 0}},
    "without an end": {"claims": {"exp": None}},
    "from the future": {"claims": {"iat": 2**33, "nbf": 2**33, "exp": 2**33 + 9}},
    "without a subject": {"claims": {"sub": None}},
    "with an empty subject": {"claims": {"sub": ""}},
    "with a long subject": {"claims": {"sub": "a" * 256}},
    "with a subject that is no text": {"claims": {"sub": 7}},
    "signed by another key": {"sign": signed("RS256", OTHER, kid="one")},
    "signed by an unknown key": {"sign": signed("RS256", OTHER, kid="other")},
    "not signed": {"sign": unsigned},
    "no token": {"sign": lambda claims: "x"},
    "no ID token": {"answer": {"id_token": None}},
    "an access token of another": {"claims": {"at_hash": "x" * 22}},
    "the UserInfo of another": {"claims": {"email": None}, "userinfo": {"sub": "eve"}},
}  # fmt: skip


@pytest.mark.parametrize("lie", FORGED.values(), ids=FORGED)
def test_a_forged_answer_logs_nobody_in(
    new_site: NewSite, service: Service, ann: User, lie: dict[str, Any]
):
    service.claims |= lie.get("claims", {})
    for name in lie.keys() - {"claims"}:
        setattr(service, name, lie[name])
    browser = new_site(service.settings()).browser()

    assert refused(come_back(browser, service), 403, "The log-in did not succeed")
    assert nobody(browser)


def test_a_public_key_is_no_shared_secret(new_site: NewSite, service: Service, ann: User):
    # Given a token that is signed with the public key, as if it were a password
    service.sign = lambda claims: as_with_a_password(claims, service.key.as_pem(private=False))
    service.metadata["id_token_signing_alg_values_supported"] = ["HS256", "none", "RS256"]
    browser = new_site(service.settings()).browser()

    assert refused(come_back(browser, service), 403, "The log-in did not succeed")
    assert nobody(browser)


def test_keys_may_change_but_are_not_fetched_for_each_forgery(
    new_site: NewSite, service: Service, ann: User, monkeypatch: pytest.MonkeyPatch
):
    site = new_site(service.settings())
    come_back(site.browser(), service)
    # The service has a new key, of another kind
    new = ECKey.generate_key("P-256", {"kid": "two"})
    service.keys, service.sign = [service.key, new], signed("ES256", new, kid="two")
    assert refused(come_back(site.browser(), service), 403, "did not succeed")
    assert service.asked.count("/jwks") == 1  # not again within a minute

    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    come_back(browser := site.browser(), service)

    assert browser.who == "ann"
    assert service.asked.count("/jwks") == 2
    assert service.asked.count("/.well-known/openid-configuration") == 1


def test_an_answer_counts_once_and_in_the_browser_that_asked(
    new_site: NewSite, service: Service, ann: User
):
    site = new_site(service.settings())
    attacker, victim = site.browser(), site.browser()

    # Given an attacker who has begun to log in, and makes a victim open the answer: the victim
    # would be logged in as the attacker, and upload for them
    answer = service.log_in(attacker.get("/login/oidc").headers["location"])
    victim.get("/login/oidc")
    assert refused(victim.get(answer), 403, "begun in another browser")
    # … nor is a code of the attacker's good for another log-in of the victim's
    own = service.log_in(victim.get("/login/oidc").headers["location"])
    stolen = service.log_in(site.browser().get("/login/oidc").headers["location"])
    swapped = own.replace(code_in(own), code_in(stolen))
    assert refused(victim.get(swapped), 403, "did not succeed")
    assert nobody(victim)

    # The attacker's own browser takes it once, also with the cookie of before
    cookies = dict(attacker.client.cookies)
    assert attacker.get(answer).status_code == 303
    assert refused(attacker.get(answer), 403, "begun in another browser")
    for name, value in cookies.items():
        attacker.client.cookies.set(name, value)
    assert attacker.get(answer).status_code == 403


def test_an_answer_without_what_it_must_have(new_site: NewSite, service: Service):
    browser = new_site(service.settings()).browser()

    for query in ("", "?code=x", "?state=", "?state=x&code=x", "?error=access_denied",
                  "?state=a&state=b&code=x", f"?state={'a' * 5000}&code=x"):  # fmt: skip
        assert refused(browser.get(f"/login/oidc/callback{query}"), 403, "begun in another")
    state = service.log_in(browser.get("/login/oidc").headers["location"]).split("state=")[1]
    assert refused(browser.get(f"/login/oidc/callback?state={state}"), 403, "did not succeed")
    assert browser.post("/login/oidc/callback").status_code == 405
    assert SignInStep.select().count() == 0  # strangers write nothing


def test_an_answer_of_another_issuer_is_refused(new_site: NewSite, service: Service, ann: User):
    """RFC 9207."""
    browser = new_site(service.settings()).browser()

    def answer(**more: str) -> str:
        return service.log_in(browser.get("/login/oidc").headers["location"], **more)

    assert refused(browser.get(answer(iss="https://evil.example")), 403, "did not succeed")
    assert browser.get(answer(iss=service.issuer)).status_code == 303

    service.metadata["authorization_response_iss_parameter_supported"] = True
    other = new_site(service.settings()).browser()
    begun = service.log_in(other.get("/login/oidc").headers["location"])
    assert refused(other.get(begun), 403, "did not succeed")
    assert other.who is None


def test_a_code_is_of_no_use_without_its_verifier(new_site: NewSite, service: Service, ann: User):
    # Given a code that leaked, for which the attacker has a log-in of their own
    site = new_site(service.settings())
    leaked = service.log_in(site.browser().get("/login/oidc").headers["location"])
    attacker = site.browser()
    own = service.log_in(attacker.get("/login/oidc").headers["location"])

    answer = attacker.get(own.replace(code_in(own), code_in(leaked)))

    assert refused(answer, 403, "did not succeed")
    assert nobody(attacker)


ELSEWHERE = ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example",
             "/\t/evil.example", "/\n/evil.example", " //evil.example", "javascript:alert(1)",
             "evil.example", "", "/" + "a" * 3000, "/a\r\nSet-Cookie: a=b", "/\x00", "/a\\..\\b",
             "http:/evil.example", "///evil.example", "/\ud800"]  # fmt: skip


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_nobody_is_sent_to_another_site(elsewhere: str):
    assert local_path(elsewhere) == "/"


def test_the_log_in_leads_back_within_the_library_alone(
    new_site: NewSite, service: Service, ann: User
):
    browser = new_site(service.settings()).browser()

    for path, expected in (("/tags", "/tags"), ("//evil.example", "/")):
        assert come_back(browser, service, f"/login/oidc?next={path}").headers["location"] == (
            expected
        )
        assert browser.log_in(ann.email, next=path).headers["location"] == expected
        page = browser.get(f"/login?next={path}").text
        assert "evil" not in page


def test_a_log_in_begins_a_session_of_its_own(new_site: NewSite, service: Service, ann: User):
    # Given a browser into which an attacker has put their own session
    eve = new_user("eve")
    site = new_site(service.settings())
    attacker, browser = site.browser(), site.browser()
    attacker.log_in(eve.email)
    browser.client.cookies.set("gifster_session", attacker.session, domain="localhost.local")

    answer = come_back(browser, service)

    assert answer.cookies["gifster_session"] != attacker.session
    assert attacker.who is None  # it has ended, as at each log-in
    cookie = next(c for c in answer.headers.get_list("set-cookie") if "gifster_session" in c)
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Path=/"))


def test_nothing_of_the_log_in_is_shown(
    new_site: NewSite, service: Service, ann: User, caplog: pytest.LogCaptureFixture
):
    service.sign = unsigned
    answer = come_back(new_site(service.settings()).browser(), service)

    for secret in (SECRET, "code0", "eyJ"):
        assert secret not in answer.text
        assert secret not in caplog.text


# A service that is away, or another one.

BROKEN: dict[str, dict[str, Any]] = {
    "another issuer": {"issuer": "https://evil.example"},
    "a slash more": {"issuer": "…/"},
    "no issuer": {"issuer": None},
    "no keys": {"jwks_uri": None},
    "a script": {"authorization_endpoint": "javascript:alert(1)"},
}


@pytest.mark.parametrize("lie", BROKEN.values(), ids=BROKEN)
def test_a_service_that_is_another_one_is_not_used(
    new_site: NewSite, service: Service, lie: dict[str, Any]
):
    if lie.get("issuer") == "…/":
        lie = {"issuer": f"{service.issuer}/"}
    service.metadata = lie

    answer = new_site(service.settings()).browser().get("/login/oidc")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "The sign-in service cannot be used now" in answer.text
    assert "evil" not in answer.text


def test_the_doctor_asks_the_service(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    here = load()

    def said(**keys: str) -> str:
        oidc = here.oidc.model_copy(update=service.settings() | keys)
        return dict(checks(here.model_copy(update={"oidc": oidc})))["oidc"]()

    assert said() == f"{service.issuer} answers"
    with pytest.raises(RuntimeError, match=r"it calls itself 'http://127.*set oidc.issuer to that"):
        said(issuer=f"{service.issuer}/")
    with pytest.raises(RuntimeError, match=r"cannot be used: .*refused"):
        said(issuer="http://127.0.0.1:9")
    service.metadata, service.userinfo = {"jwks_uri": f"{service.issuer}/userinfo"}, {"sub": "ann"}
    with pytest.raises(RuntimeError, match="cannot be used: its keys cannot be used: 'keys'"):
        said()
    service.metadata, service.keys = {}, []
    with pytest.raises(RuntimeError, match="the service has no key that can be used here"):
        said()
    assert "oidc" not in dict(checks(here))


def test_a_service_that_is_away_leaves_the_other_ways(new_site: NewSite, ann: User):
    site = new_site({"issuer": "http://127.0.0.1:9", "client_id": "gifster"})
    browser = site.browser()

    answer = browser.get("/login/oidc")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    browser.log_in(ann.email)
    assert browser.who == "ann"


def test_a_library_without_a_service_has_no_such_pages(new_site: NewSite):
    browser = new_site().browser()

    for path in ("/login/oidc", "/login/oidc/callback?state=a"):
        assert browser.get(path).status_code in (403, 404)
    assert "/login/oidc" not in browser.get("/login").text


def test_attempts_are_counted_by_address(new_site: NewSite, service: Service):
    site = new_site(service.settings())
    statuses = [site.browser().get("/login/oidc/callback").status_code for _ in range(22)]

    assert statuses.count(429) == 2
    assert site.browser("10.0.0.9").get("/login/oidc").status_code == 303


def test_a_browser_keeps_few_attempts(new_site: NewSite, service: Service):
    browser = new_site(service.settings()).browser()

    for _ in range(12):
        browser.get("/login/oidc")
        kept = [name for name in browser.client.cookies if name.startswith("gifster_oidc")]
        assert len(kept) <= 7


def test_a_change_of_the_ways_in_needs_a_new_log_in(new_site: NewSite, service: Service, ann: User):
    """So a session that leaked, or a browser that was left alone, is no way in for good."""
    from datetime import timedelta

    from gifster.app.models import Token

    browser = new_site(service.settings()).browser()
    browser.log_in(ann.email)
    Token.update(created_at=now() - timedelta(minutes=16)).execute()

    for path in ("app", "app/confirm", "app/remove", "recovery-codes", "link", "passkeys",
                 "passkeys/options", "passkeys/x/remove", "links/x/remove"):  # fmt: skip
        answer = browser.post(f"/account/sign-in/{path}")
        assert answer.headers["location"] == "/login?again=1&next=/account/sign-in", path
    again = browser.get("/login/oidc?link=1").headers["location"]
    page = browser.get(again).text
    assert "Log in once more" in page
    # The service is told to ask, too
    assert "again=1" in page
    asked = browser.get("/login/oidc?again=1").headers["location"]
    assert "prompt=login" in asked
    assert "max_age=900" in asked


def is_fresh(browser: Browser) -> bool:
    answer = browser.get("/login/oidc?link=1")
    assert answer.status_code == 303
    return "again=1" not in answer.headers["location"]


@pytest.mark.parametrize("ago", [None, 3600, -3600, "now"])
def test_a_log_in_without_a_question_is_no_new_log_in(
    new_site: NewSite, service: Service, ago: int | str | None
):
    # Given a service where somebody is logged in for an hour, or that does not say for how long
    service.claims["auth_time"] = int(time.time()) - ago if isinstance(ago, int) else ago
    browser = new_site(service.settings()).browser()

    if ago == "now":
        assert refused(come_back(browser, service), 403, "did not succeed")
        return
    assert come_back(browser, service).status_code == 303

    # I expect a session that does not change how its user logs in
    assert browser.who
    assert not is_fresh(browser)
    # … until they have logged in there once more
    service.claims["auth_time"] = int(time.time())
    assert come_back(browser, service, "/login/oidc?again=1").status_code == 303
    assert is_fresh(browser)


def test_a_service_that_does_not_ask_again_is_not_believed(new_site: NewSite, service: Service):
    """Somebody at a browser that was left alone can take `prompt` out of the address."""
    browser = new_site(service.settings()).browser()
    for auth_time in (None, int(time.time()) - 3600):
        service.claims["auth_time"] = auth_time
        assert come_back(browser, service).status_code == 303
        session = browser.session
        answer = come_back(browser, service, "/login/oidc?again=1")
        assert refused(answer, 403, "has not asked you to log in once more")
        assert browser.session == session
        assert not is_fresh(browser)

    # One that tells nobody is believed, as nothing else is left
    service.claims["auth_time"] = None
    service.metadata = {"claims_supported": ["sub", "email"]}
    other = new_site(service.settings()).browser()
    assert come_back(other, service, "/login/oidc?again=1").status_code == 303
    assert is_fresh(other)
