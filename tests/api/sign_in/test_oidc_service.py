"""Logging in by a sign-in service that is slow, has much to say, or has keys of all kinds."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import RSAKey

from gifster.app.models import User
from gifster.app.sign_in import asking
from gifster.app.sign_in.tables import Identity
from tests.api.sign_in.conftest import NewSite, begin_link, come_back, refused
from tests.api.sign_in.service import Service

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Key:
    """A key of the service's as it writes it."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def as_dict(self, *, private: bool) -> dict[str, Any]:
        return self._values


#: Keys that a service may have beside the one that signs (RFC 7517, 5).
USELESS = {
    "of a curve that is not read": Key(kty="OKP", crv="X9", x="AAAA", kid="a"),
    "of a curve for agreements": Key(kty="OKP", crv="X448", x="AAAA", kid="a"),
    "of a curve of Brainpool": Key(kty="EC", crv="brainpoolP256r1", x="AAAA", y="AAAA", kid="a"),
    "that is damaged": Key(kty="RSA", n="", e="AQAB", kid="a"),
    "that is not whole": Key(kty="RSA", e="AQAB", kid="a"),
    "with another type in it": Key(kty="RSA", n=None, e="AQAB", kid="a"),
    "of no kind": Key(kid="a"),
    "of a newer kind": Key(kty="AKP", alg="ML-DSA-44", pub="AAAA", kid="a"),
}


@pytest.mark.parametrize("useless", USELESS.values(), ids=USELESS)
def test_a_key_that_is_of_no_use_is_in_nobodys_way(
    new_site: NewSite, service: Service, ann: User, useless: Key
):
    service.keys = [useless, service.key]  # type: ignore[list-item]
    browser = new_site(service.settings()).browser()

    come_back(browser, service)

    assert browser.who == "ann"


def test_a_key_for_encryption_signs_nothing(new_site: NewSite, service: Service, ann: User):
    # Given a service with one key for each purpose, which names none
    service.keys = [RSAKey.generate_key(2048, {"use": "enc", "kid": "enc"}), service.key]
    service.sign = lambda claims: jwt.encode({"alg": "RS256"}, claims, service.key)
    browser = new_site(service.settings()).browser()

    come_back(browser, service)

    assert browser.who == "ann"


def test_without_a_key_that_can_be_used_nobody_logs_in(
    new_site: NewSite, service: Service, ann: User
):
    service.keys = list(USELESS.values())  # type: ignore[arg-type]
    browser = new_site(service.settings()).browser()

    assert refused(come_back(browser, service), 403, "did not succeed")


@pytest.mark.parametrize("header", [{"kid": "one"}, {}], ids=["of the same name", "without one"])
def test_a_new_key_counts_also_under_the_name_of_the_former_one(
    new_site: NewSite, service: Service, ann: User, monkeypatch: pytest.MonkeyPatch, header: Any
):
    site = new_site(service.settings())
    come_back(site.browser(), service)
    new = RSAKey.generate_key(2048, {"kid": "one"})
    service.keys = [new]
    service.sign = lambda claims: jwt.encode({"alg": "RS256", **header}, claims, new)
    # Keys are not asked for again because of each forgery
    assert refused(come_back(site.browser(), service), 403, "did not succeed")
    assert service.asked.count("/jwks") == 1

    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    come_back(browser := site.browser(), service)

    assert browser.who == "ann"


@pytest.mark.parametrize("subject", ["\ud800", "a\0b", "a\r\nb"], ids=["half", "nul", "lines"])
def test_a_subject_that_no_database_keeps_is_refused(
    new_site: NewSite, service: Service, ann: User, subject: str
):
    service.claims["sub"] = subject
    service.sign = lambda claims: jws.serialize_compact(
        {"alg": "RS256", "kid": "one"}, json.dumps(claims), service.key
    )
    browser = new_site(service.settings()).browser()

    assert refused(come_back(browser, service), 403, "did not succeed")


@pytest.mark.parametrize("odd", ["\ud800@example.org", "a\0@example.org", "a" * 5_000])
def test_an_odd_name_or_address_keeps_nobody_out(
    new_site: NewSite, service: Service, ann: User, odd: str
):
    site = new_site(service.settings())
    come_back(site.browser(), service)
    service.sign = lambda claims: jws.serialize_compact(
        {"alg": "RS256", "kid": "one"}, json.dumps(claims), service.key
    )
    # Given somebody of whom the service now says something odd
    service.claims |= {"email": odd, "name": odd}
    come_back(browser := site.browser(), service)
    assert browser.who == "ann"

    # Then another account of theirs is linked, too
    service.claims["sub"] = "ann-2"
    assert '<strong dir="auto">ann-2</strong>' in begin_link(browser, service).text
    assert browser.post("/account/sign-in/link").status_code == 303
    assert Identity.select().where(Identity.user == ann).count() == 2


@pytest.mark.parametrize("place", ["http://[::1", "http:///a", "http://a:99999/", "http://\ud800/"])
def test_an_address_that_is_none_is_not_gone_to(new_site: NewSite, service: Service, place: str):
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        service.metadata = {name: place}
        browser = new_site(service.settings()).browser()

        assert refused(browser.get("/login/oidc"), 503, "cannot be used now")


@pytest.mark.parametrize(
    "methods",
    [None, ["client_secret_basic"], ["client_secret_basic", "client_secret_post"]],
    ids=["not told", "by header", "by header or form"],
)
def test_a_secret_may_have_any_character(
    new_site: NewSite, service: Service, ann: User, methods: list[str] | None
):
    service.secret = "q+/Z%20=:ü€"
    service.metadata = {"token_endpoint_auth_methods_supported": methods}
    browser = new_site(service.settings()).browser()

    come_back(browser, service)

    assert browser.who == "ann"


def test_an_outage_of_the_service_is_no_attempt_of_anybodys(
    new_site: NewSite, service: Service, ann: User
):
    # Given a team behind one address, whose log-ins end when the service is away
    site = new_site(service.settings())
    service.metadata = {"token_endpoint": "http://127.0.0.1:1/token"}
    for _ in range(21):
        assert refused(come_back(site.browser(), service), 503, "cannot be used now")

    # I expect them to log in when it is back
    service.metadata = {}
    site = new_site(service.settings())
    come_back(browser := site.browser(), service)
    assert browser.who == "ann"


@contextmanager
def answering(send: Callable[[socket.socket], None]) -> Iterator[str]:
    """The issuer of a service that answers one request so."""

    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            try:
                send(connection)
            except OSError:
                gone.set()

    server, gone = socket.create_server(("127.0.0.1", 0)), threading.Event()
    thread = threading.Thread(target=answer)
    thread.start()
    with server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()
    assert gone.is_set()  # the library has gone first


def trickle(connection: socket.socket, begin: bytes, piece: bytes) -> None:
    """Twenty seconds of an answer of which each piece comes soon."""
    connection.sendall(begin)
    for _ in range(400):
        threading.Event().wait(0.05)
        connection.sendall(piece)


def send_slow_head(connection: socket.socket) -> None:
    trickle(connection, b"HTTP/1.1 200 OK\r\nX: ", b"y")


def send_slow_body(connection: socket.socket) -> None:
    trickle(connection, HEAD + b"Content-Length: 400\r\n\r\n", b" ")


def send_slow_body_without_a_length(connection: socket.socket) -> None:
    trickle(connection, HEAD + b"\r\n", b" ")


def send_much(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"\r\n")
    for _ in range(100):
        connection.sendall(b" " * 1_000_000)


@pytest.mark.parametrize(
    "send", [send_slow_head, send_slow_body, send_slow_body_without_a_length, send_much]
)
def test_an_answer_is_over_in_time(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch, send: Callable[[socket.socket], None]
):
    monkeypatch.setattr(asking, "TIMEOUT_S", 1)
    with answering(send) as issuer:
        browser = new_site({"issuer": issuer, "client_id": "gifster"}).browser()

        assert refused(browser.get("/login/oidc"), 503, "cannot be used now")


def test_a_proxy_that_is_long_in_connecting_is_not_waited_for(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(asking, "TIMEOUT_S", 1)
    with answering(send_slow_head) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        issuer = "https://accounts.example.org"
        browser = new_site({"issuer": issuer, "client_id": "gifster"}).browser()

        assert refused(browser.get("/login/oidc"), 503, "cannot be used now")
