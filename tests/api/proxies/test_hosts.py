"""The hosts that Gifster answers for, and the pages that may send it forms: DNS rebinding, forged
and malformed Host headers, proxies that pass their own Host."""

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gifster.app import settings
from gifster.app.hosts import HostRules, parse_host, parse_origin
from gifster.app.settings import SettingsError, Web
from tests import images
from tests.machine import free_port
from tests.stack import Stack

#: What a newcomer has: no public address is set.
WEB: dict[str, str] = {}
GIF = images.gif()


@pytest.fixture(scope="module")
def public(web: Stack) -> Iterator[Stack]:
    """A second server over the same library, which knows its public address."""
    port = free_port()
    other = Stack(web.folder, web.environment["GIFSTER_BROKER__URL"])
    other.environment |= {
        "GIFSTER_WEB__PORT": str(port),
        "GIFSTER_WEB__PUBLIC_URL": "https://gifs.example.org",
        "GIFSTER_WEB__HOSTS": '["old.example.org", ".example.net"]',
    }
    other.client.base_url = f"http://127.0.0.1:{port}"
    other.start_web()
    yield other
    other.stop()


def get(stack: Stack, host: str, path: str = "/api/gifs") -> httpx.Response:
    return stack.client.get(path, headers={"Host": host})


def upload(stack: Stack, **headers: str) -> httpx.Response:
    return stack.client.post("/gifs", files={"image": GIF}, headers=headers)


def test_a_refused_host_gets_a_setting_with_which_log_ins_work(web: Stack):
    # Given somebody who opens http://nas.lan:8000 on another machine of the network
    answer = web.client.get("/api/gifs", headers={"Host": "nas.lan:8000"})

    # I expect the hint to be that address. With https and no port, forms would be refused
    assert "GIFSTER_WEB__PUBLIC_URL=http://nas.lan:8000)" in answer.json()["detail"]


def test_a_page_whose_name_resolves_to_us_reaches_nothing(web: Stack):
    # Given a page on evil.example, whose DNS now says 127.0.0.1: for the browser it is one site
    rebound = {"Host": "evil.example", "Origin": "http://evil.example"}

    # I expect that it can neither write nor read
    for answer in (
        upload(web, **rebound),
        upload(web, **rebound, **{"Sec-Fetch-Site": "same-origin"}),
        web.client.get("/api/gifs", headers=rebound),
        web.client.get("/static/gifster.js", headers=rebound),
    ):
        assert (answer.status_code, answer.json()["code"]) == (421, "host_not_allowed")
        assert "'evil.example'" in answer.json()["detail"]
        assert "web.public_url" in answer.json()["detail"]


def test_a_newcomer_needs_no_setting(web: Stack):
    port = web.port
    for host in ("127.0.0.1", "localhost", "LOCALHOST.", "[::1]", "192.168.1.20", "203.0.113.9"):
        assert get(web, f"{host}:{port}").status_code == 200
        same = {"Host": f"{host}:{port}", "Origin": f"http://{host}:{port}".lower()}
        assert upload(web, **same).status_code == 303


def test_probes_may_use_any_host(public: Stack):
    for path in ("/healthz", "/readyz"):
        assert get(public, "evil.example", path).status_code == 200
        assert get(public, "203.0.113.9:8000", path).status_code == 200


HOSTS = {
    "gifs.example.org": 200,
    "GIFS.Example.ORG.": 200,
    "gifs.example.org:443": 200,
    "old.example.org": 200,
    "a.b.example.net": 200,
    "example.net": 200,
    "127.0.0.1:8000": 200,
    "[::1]:8000": 200,
    "10.1.2.3:8000": 200,  # a scraper inside
    "web:8000": 200,  # a proxy that passes its own Host
    "evil.example": 421,
    "evilexample.net": 421,
    "gifs.example.org.evil.example": 421,
    "203.0.113.9": 200,
    "93.184.215.14": 421,  # a public address, where the public name is known
    "[2606:2800:21f:cb07::1]": 421,
    "gifs.example.org@evil.example": 400,
    "evil.example#gifs.example.org": 400,
    "gifs.example.org/x": 400,
    "gifs.example.org:x": 400,
    "gifs.example.org:80:80": 400,
    "::1": 400,
    "[::1": 400,
    "a..example.net": 400,
    "gïfs.example.org": 400,
    "": 400,
}


@pytest.mark.parametrize(("host", "status"), HOSTS.items())
def test_which_hosts_are_ours(public: Stack, host: str, status: int):
    answer = raw(public, f"GET /api/gifs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")

    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:300]


def test_a_request_has_one_host(public: Stack):
    ours, theirs = "Host: gifs.example.org\r\n", "Host: evil.example\r\n"
    for hosts in (ours + theirs, theirs + ours, ours + ours, ""):
        answer = raw(public, f"GET /api/gifs HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")

    # HTTP/1.0 has no Host, and no browser speaks it.
    assert b" 200 " in raw(public, "GET /api/gifs HTTP/1.0\r\n\r\n")[:20]


def raw(stack: Stack, request: str) -> bytes:
    with socket.create_connection(("127.0.0.1", stack.client.base_url.port), 10) as connection:
        connection.sendall(request.encode("latin1"))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


FORMS: dict[str, tuple[dict[str, str], int]] = {
    "of the public site": (
        {"Host": "gifs.example.org", "Origin": "https://gifs.example.org"}, 303),
    "behind a proxy that passes its own Host": (
        {"Host": "127.0.0.1:8000", "Origin": "https://gifs.example.org"}, 303),
    "on the machine itself": (
        {"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:8000"}, 303),
    "with the port spelt out": (
        {"Host": "gifs.example.org:443", "Origin": "https://gifs.example.org"}, 303),
    "of a program, which says nothing": ({"Host": "gifs.example.org"}, 303),
    "of the site without https": (
        {"Host": "gifs.example.org", "Origin": "http://gifs.example.org"}, 403),
    "of another port": (
        {"Host": "gifs.example.org", "Origin": "https://gifs.example.org:8443"}, 403),
    "of another site": (
        {"Host": "gifs.example.org", "Origin": "https://evil.example"}, 403),
    "of another server on this machine": (
        {"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:3000"}, 403),
    "of nowhere": ({"Host": "gifs.example.org", "Origin": "null"}, 403),
    "of an origin with user information": (
        {"Host": "gifs.example.org", "Origin": "https://gifs.example.org@evil.example"}, 403),
    "of a broken origin": ({"Host": "gifs.example.org", "Origin": "http://[::1"}, 403),
    "of an empty origin": ({"Host": "gifs.example.org", "Origin": ""}, 303),
    "of another site, as the browser says": (
        {"Host": "gifs.example.org", "Origin": "https://gifs.example.org",
         "Sec-Fetch-Site": "same-site"}, 403),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "status"), FORMS.values(), ids=FORMS)
def test_forms(public: Stack, headers: dict[str, str], status: int):
    answer = upload(public, **headers)

    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "cross_site"


def test_a_form_whose_host_a_proxy_has_replaced_gets_the_setting_that_mends_it(web: Stack):
    # Given nginx with a bare `proxy_pass`, and no public address
    behind = {"Host": "127.0.0.1:8000", "Origin": "https://gifs.example.org"}

    # With TLS the browser itself says that the form is the library's own
    assert upload(web, **behind, **{"Sec-Fetch-Site": "same-origin"}).status_code == 303
    # Without TLS nothing tells it from a form of another site, so somebody has to say the address
    refused = upload(web, **behind | {"Origin": "http://gifs.lan:8080"})
    assert refused.status_code == 403
    assert "GIFSTER_WEB__PUBLIC_URL=http://gifs.lan:8080" in refused.json()["detail"]
    assert "proxy_set_header Host $http_host" in refused.json()["detail"]
    # But a browser that knows gets no advice
    known = upload(web, **behind, **{"Sec-Fetch-Site": "cross-site"})
    assert known.json()["detail"] == "A page of another site sent this request."


def test_a_session_is_for_https_where_the_public_address_is(public: Stack, web: Stack):
    form = {"email": "tls@example.org", "password": "correct horse"}

    assert "Secure" in public.client.post("/signup", data=form).headers["set-cookie"]
    assert "Secure" not in web.client.post("/login", data=form).headers["set-cookie"]
    web.client.cookies.clear()


def test_a_host_is_read_as_in_rfc_3986():
    assert parse_host("Example.ORG.:80") == ("example.org", 80)
    assert parse_host("[2001:DB8::1]:") == ("2001:db8::1", None)
    for wrong in ("[1.2.3.4]", "[::1%25eth0]", "a b", "a,b", "x" * 254, "a:99999", "a:٣"):
        with pytest.raises(ValueError, match="host"):
            parse_host(wrong)


def test_an_origin_has_its_scheme_s_port():
    assert parse_origin("https://example.org") == ("https", "example.org", 443)
    assert parse_origin("http://[::1]:8000") == ("http", "::1", 8000)
    for wrong in ("null", "example.org", "http://", "http://a/b", "http://a?b", "file://a"):
        with pytest.raises(ValueError, match="origin"):
            parse_origin(wrong)


def rules_of(web: Web) -> HostRules:
    return HostRules(web.public_url, web.hosts)


def test_a_name_of_another_script_is_compared_as_the_browser_sends_it():
    rules = rules_of(Web(public_url="https://gïfs.example"))

    assert rules.allow("xn--gfs-zma.example")


def test_this_machine_s_own_names_are_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "nas.home.example")
    rules = rules_of(Web())

    assert rules.allow("nas.home.example")
    assert rules.allow("nas.local")
    assert rules.allow("nas")
    assert not rules.allow("other.local")
    assert not rules.allow("home.example")


def test_a_star_turns_the_list_off():
    assert rules_of(Web(hosts=["*"])).allow("evil.example")


def test_a_network_may_be_listed():
    rules = rules_of(Web(public_url="https://a.example", hosts=["93.184.215.0/24"]))

    assert rules.allow("93.184.215.14")
    assert not rules.allow("93.184.216.14")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PUBLIC_URL", "gifs.example.org"),
        ("PUBLIC_URL", "ftp://gifs.example.org"),
        ("PUBLIC_URL", "https://gifs.example.org/gifs"),
        ("PUBLIC_URL", "https://user@gifs.example.org"),
        ("PUBLIC_URL", "https://"),
        ("ROOT_PATH", "gifs"),
        ("ROOT_PATH", "/gifs?"),
        ("ROOT_PATH", "/gifs//cats"),
        ("ROOT_PATH", "/gifs/.."),
        ("ROOT_PATH", "/gifs;Domain=evil.example"),
        ("ROOT_PATH", "/gïfs"),
        ("HOSTS", '["https://gifs.example.org"]'),
        ("HOSTS", '["gifs.example.org:8000"]'),
        ("HOSTS", '["*.example.org"]'),
    ],
)
def test_a_wrong_address_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, key: str, value: Any
):
    monkeypatch.setenv(f"GIFSTER_WEB__{key}", value)

    with pytest.raises(SettingsError, match=rf"web\.{key.lower()}.*must be"):
        settings.load()


def test_a_slash_at_the_end_of_the_public_address_does_no_harm():
    assert Web(public_url="https://Gifs.example.org/").public_url == "https://gifs.example.org"
    assert Web(root_path="/").root_path == ""
    web = Web(public_url="https://gifs.example.org", root_path="/team/gifs/")
    assert (web.root_path, web.home) == ("/team/gifs", "https://gifs.example.org/team/gifs")
