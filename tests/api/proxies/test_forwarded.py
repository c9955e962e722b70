"""Behind a proxy: the client's address, and its scheme and host. Only our own proxies are believed,
and only in the header that the settings name."""

import pytest
from falcon.asgi import Request
from falcon.testing import create_scope

from gifster.api.forwarded import client_address, client_network, scheme
from gifster.app.settings import Settings, Web

PROXY = "10.0.0.1"
SECRET_PLACES = ["unknown", "_hidden", "_SEVKISEK:1", "", "a lie", "999.1.1.1", "1.2.3", "[1:", '"']


def request(*headers: tuple[str, str], peer: str = PROXY, **scope: str):
    made = create_scope(headers=[*headers], host="own.example", **scope)
    return Request(made | {"client": (peer, 40_000)}, None)


def web(**changes: str) -> Web:
    return Web(trusted_proxies=["10.0.0.0/8", "fd00::/8"], **changes)


def by_x_forwarded_for(*values: str, peer: str = PROXY, **changes: str) -> str:
    headers = [("X-Forwarded-For", value) for value in values]
    return client_address(request(*headers, peer=peer), web(**changes))


def by_forwarded(*values: str) -> str:
    headers = [("Forwarded", value) for value in values]
    return client_address(request(*headers), web(client_address_header="Forwarded"))


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("6.6.6.6, 203.0.113.1", "203.0.113.1"),
        ("6.6.6.6,203.0.113.1,10.0.0.2,10.3.3.3", "203.0.113.1"),
        ("203.0.113.1:5678", "203.0.113.1"),
        ("203.0.113.1:abc", "203.0.113.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("garbage, , 203.0.113.1 , ", "203.0.113.1"),
        ("\xff\x00, 203.0.113.1", "203.0.113.1"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
    ],
)
def test_the_nearest_address_of_no_proxy_is_the_clients(value: str, address: str):
    assert by_x_forwarded_for(value) == address


def test_lines_of_one_header_count_as_one_list():
    assert by_x_forwarded_for("6.6.6.6", "203.0.113.1", "10.0.0.2") == "203.0.113.1"
    assert by_forwarded("for=6.6.6.6", "for=203.0.113.1") == "203.0.113.1"


@pytest.mark.parametrize("value", SECRET_PLACES)
def test_a_client_that_the_proxy_does_not_name_counts_as_the_proxy(value: str):
    assert by_x_forwarded_for(value) == PROXY
    assert by_x_forwarded_for(f"{value}, 203.0.113.1") == "203.0.113.1"
    assert by_forwarded(f'for="{value}"') == PROXY
    assert by_forwarded(f"for={value}") == PROXY


def test_strangers_are_not_believed():
    assert by_x_forwarded_for("6.6.6.6", peer="203.0.113.9") == "203.0.113.9"
    assert by_x_forwarded_for("6.6.6.6", peer="2001:db8::9") == "2001:db8::9"


@pytest.mark.parametrize("other", ["Forwarded", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP"])
def test_other_headers_are_not_believed(other: str):
    forged = (other, "for=6.6.6.6" if other == "Forwarded" else "6.6.6.6")
    req = request(("X-Forwarded-For", "203.0.113.1"), forged)

    assert client_address(req, web()) == "203.0.113.1"
    assert client_address(request(forged), web()) == PROXY


@pytest.mark.parametrize("name", ["X-Real-IP", "CF-Connecting-IP"])
def test_the_settings_name_the_header(name: str):
    req = request(("X-Forwarded-For", "6.6.6.6"), (name, "203.0.113.1:80"))

    assert client_address(req, web(client_address_header=name)) == "203.0.113.1"


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("for=203.0.113.1", "203.0.113.1"),
        ("For=203.0.113.1;proto=https;by=10.0.0.1", "203.0.113.1"),
        ("proto=https ; for=203.0.113.1", "203.0.113.1"),
        ('for="203.0.113.1:_port"', "203.0.113.1"),
        ('for="203.0.113.1:abc"', "203.0.113.1"),
        ("for=203.0.113.1:80", "203.0.113.1"),
        ('for="[2001:db8::1]:80"', "2001:db8::1"),
        ("for=[2001:db8::1]", "2001:db8::1"),
        ("for=6.6.6.6, for=203.0.113.1,for=10.0.0.7", "203.0.113.1"),
        # A quote that the client opens does not swallow elements that the proxy adds.
        ('for="6.6.6.6, for=203.0.113.1', "203.0.113.1"),
        ('for="6.6.6.6, for="203.0.113.1:80"', "203.0.113.1"),
        ('\\", for=203.0.113.1', "203.0.113.1"),
        ("=;=;,, for=203.0.113.1,", "203.0.113.1"),
        # A host that the client chose, which the proxy has quoted.
        (r'for=203.0.113.1;host="a, for=\"6.6.6.6"', "203.0.113.1"),
        ('for=203.0.113.1;host="a, for=6.6.6.6"', "203.0.113.1"),
        ("by=10.0.0.1", PROXY),
    ],
)
def test_forwarded_is_read_as_in_rfc_7239(value: str, address: str):
    assert by_forwarded(value) == address


@pytest.mark.parametrize(
    "value", ['"' * 8_000, "," * 8_000, 'a="' * 2_600, "; ;\t" * 2_000, "a=b;"]
)
def test_long_garbage_costs_little_and_the_end_still_counts(value: str):
    assert by_forwarded(value) == PROXY
    assert by_forwarded(f"{value}, for=203.0.113.1") == "203.0.113.1"


def test_the_scheme_is_the_connections_unless_our_proxy_says_otherwise():
    said = ("X-Forwarded-Proto", "https")

    assert scheme(request(said), web()) == "https"
    assert scheme(request(said, peer="203.0.113.9"), web()) == "http"
    assert scheme(request(("Forwarded", "for=6.6.6.6;proto=https")), web()) == "http"


def test_the_scheme_comes_from_the_proxy_that_met_the_client():
    trusting = web()
    route = ("X-Forwarded-For", "203.0.113.1, 10.0.0.2")

    assert scheme(request(route, ("X-Forwarded-Proto", "https, http")), trusting) == "https"
    appended = request(("X-Forwarded-For", "203.0.113.1"), ("X-Forwarded-Proto", "https, http"))
    assert scheme(appended, trusting) == "http"
    assert scheme(request(route, ("X-Forwarded-Proto", "HTTPS")), trusting) == "https"

    names = dict.fromkeys(("client_address_header", "client_scheme_header"), "Forwarded")
    element = 'for=203.0.113.1;proto=https;host="a.example:8443"'
    req = request(("Forwarded", f"proto=http, {element}, for=10.0.0.2;proto=http;host=inner"))
    assert scheme(req, web(**names)) == "https"


@pytest.mark.parametrize("value", ["gopher", "", "https\x00", "a/b", "a b", "x" * 300, "\xe4"])
def test_an_impossible_scheme_is_ignored(value: str):
    assert scheme(request(("X-Forwarded-Proto", value)), web()) == "http"


def test_a_peer_without_an_address_is_one_client():
    assert client_address(request(peer=""), web()) == "unknown"
    assert client_address(request(peer="a socket"), Settings().web) == "unknown"


def test_an_ipv6_client_is_its_network():
    assert client_network("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64"
    assert client_network("fe80::1%eth0") == "fe80::/64"
    assert client_network("203.0.113.1") == "203.0.113.1"
    assert client_network("unknown") == "unknown"
